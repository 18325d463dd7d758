//! The file that a report is written to.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::report::GENERATOR;
use crate::output::Failure;

/// A place for a report, of which it is known that nothing else is there.
#[derive(Debug)]
pub(super) struct Page {
    file: PathBuf,
}

impl Page {
    /// Makes the folder if it is missing. An earlier report in it is to be replaced, and nothing else.
    pub(super) fn prepare(folder: &Path) -> Result<Self, Failure> {
        let cannot =
            |why: String| Failure::usage(format!("cannot write a report to {}: {why}", folder.display()));
        fs::create_dir_all(folder).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => cannot("it is no folder".into()),
            _ => cannot(error.to_string()),
        })?;
        let file = folder.join("index.html");
        match fs::read(&file) {
            Ok(there) if is_ours(&there) => {}
            Ok(_) => return Err(cannot("its index.html is something else".into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(format!("its index.html: {error}"))),
        }
        Ok(Self { file })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn write(&self, report: &str) -> Result<(), Failure> {
        let cannot = |error| Failure::failed(format!("cannot write {}: {error}", self.file.display()));
        fs::write(&self.file, report).map_err(cannot)
    }
}

fn is_ours(page: &[u8]) -> bool {
    page.windows(GENERATOR.len()).take(1024).any(|part| part == GENERATOR.as_bytes())
}
