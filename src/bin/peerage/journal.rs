//! The journals that `node` and `devnet` write.

use std::path::Path;

use peerage::observe::journal::{Journal, Limits, Status, create};
use peerage::router::Builder;
use serde_json::json;

use crate::output::{Failure, Output};

/// Has the node that is being built keep a journal in a new file.
pub(crate) fn begin(builder: &mut Builder, file: &Path) -> Result<Journal, Failure> {
    let made = create(file, Limits::default());
    let (recorder, journal) = made.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "it exists already".to_owned(),
            _ => error.to_string(),
        };
        Failure::usage(format!("cannot write the journal {}: {why}", file.display()))
    })?;
    builder.record_inputs(recorder);
    Ok(journal)
}

/// Removes the journal of a node that was not built, if it was to have one.
pub(crate) fn discard(journal: Option<Journal>, file: Option<&Path>) {
    let (Some(journal), Some(file)) = (journal, file) else { return };
    // Its recorder is gone, so that this waits until nothing is written any more.
    drop(journal);
    // What went wrong with the node is told; an empty journal that cannot be removed harms nobody.
    let _ = std::fs::remove_file(file);
}

/// Says what became of a journal, or of several in sum.
pub(crate) fn show(output: &Output, status: &Status) {
    let Status { recorded, missed, shortfall } = status;
    let gap = shortfall.as_ref().map(|why| format!("; {missed} more came after it had ended: {why}"));
    output.line(
        format!("journal        {recorded} inputs{}", gap.unwrap_or_default()),
        &json!({
            "event": "recorded", "inputs": recorded, "missed": missed,
            "shortfall": shortfall.as_ref().map(ToString::to_string),
        }),
    );
}
