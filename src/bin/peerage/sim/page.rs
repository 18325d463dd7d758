//! The file that a report is written to.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
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
        match is_ours(&file) {
            Ok(true) => {}
            Ok(false) => return Err(cannot("its index.html is something else".into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(format!("its index.html: {error}"))),
        }
        Ok(Self { file })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Puts the whole report there at once, so that neither two runs nor a full disk leave a part of one.
    pub(super) fn write(&self, report: &str) -> Result<(), Failure> {
        let part = self.file.with_extension(format!("{}.part", std::process::id()));
        let written = fs::write(&part, report).and_then(|()| fs::rename(&part, &self.file));
        written.map_err(|error| {
            // Nobody has a use for a part, and it may not even be there.
            let _ = fs::remove_file(&part);
            Failure::failed(format!("cannot write {}: {error}", self.file.display()))
        })
    }
}

/// Whether it is a report of ours, which says so near its begin.
fn is_ours(page: &Path) -> io::Result<bool> {
    // What is no file may have no end, or wait for somebody who writes to it.
    if !fs::metadata(page)?.is_file() {
        return Ok(false);
    }
    let mut begin = Vec::new();
    File::open(page)?.take(1024).read_to_end(&mut begin)?;
    Ok(begin.windows(GENERATOR.len()).any(|part| part == GENERATOR.as_bytes()))
}
