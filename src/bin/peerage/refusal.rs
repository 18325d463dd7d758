//! Arguments that cannot be used, in one sentence.

use std::error::Error as _;
use std::process::ExitCode;

use clap::Error;
use clap::error::{ContextKind, ErrorKind};

use crate::output::{Failure, Output};

/// Ends the process as `error` asks: with help on request, else with what is wrong and exit code 2.
pub(crate) fn exit(error: &Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    let help = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !json,
        _ => false,
    };
    if help {
        // Whoever asked may be gone, as with `| head`.
        let _ = error.print();
        return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let failure = Failure::usage(sentence(error));
    Output::new(json).failure(&failure);
    ExitCode::from(failure.code())
}

fn sentence(error: &Error) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string);
    match (error.kind(), context(ContextKind::InvalidArg), error.source()) {
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ..) => {
            "a command is missing: devnet, node, replay, sim, probe or key".into()
        }
        (ErrorKind::ValueValidation, Some(argument), Some(why)) => format!("{argument}: {why}"),
        _ => {
            // The rest of the text is usage, which `--help` shows.
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
            format!("{}; --help shows what there is", words.join(" "))
        }
    }
}
