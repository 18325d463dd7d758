//! `peerage key`, and the key file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use peerage::NodeKey;
use serde_json::json;

use crate::output::{Failure, Output};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key and writes it to a new file that only its owner may read.
    New {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Shows the identity that a key file proves. Never the key.
    Show {
        /// The file.
        file: PathBuf,
    },
}

pub(crate) fn run(output: &Output, command: KeyCommand) -> Result<(), Failure> {
    let (key, file) = match command {
        KeyCommand::New { file } => {
            let key = generate()?;
            store(&file, &key)?;
            output.text(format!("made a new key in {}", file.display()));
            (key, file)
        }
        KeyCommand::Show { file } => {
            let key =
                load(&file)?.ok_or_else(|| Failure::usage(format!("no key file at {}", file.display())))?;
            (key, file)
        }
    };
    let id = key.id().to_string();
    output.line(format!("node id {id}"), &json!({ "id": id, "file": file.display().to_string() }));
    Ok(())
}

/// Draws a new key.
pub(crate) fn generate() -> Result<NodeKey, Failure> {
    loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Failure::failed(format!("the system gave no randomness: {error}")))?;
        // Out of range once in 2^128 draws.
        if let Ok(key) = NodeKey::from_bytes(bytes) {
            return Ok(key);
        }
    }
}

/// Reads a key file; `None` if there is none.
pub(crate) fn load(file: &Path) -> Result<Option<NodeKey>, Failure> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::usage(format!("cannot read key file {}: {error}", file.display())));
        }
    };
    let key = text.trim().parse();
    key.map(Some).map_err(|error| Failure::usage(format!("key file {}: {error}", file.display())))
}

/// Writes a key to a file that does not exist yet: whole, or not at all.
pub(crate) fn store(file: &Path, key: &NodeKey) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let why = match error.kind() {
            io::ErrorKind::AlreadyExists => "it exists already".to_owned(),
            _ => error.to_string(),
        };
        Failure::usage(format!("cannot write key file {}: {why}", file.display()))
    };
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}.tmp", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = write_private(&draft, key).and_then(|()| fs::hard_link(&draft, file));
    // The draft goes in any case; if that fails it is a private file that says what it is.
    let _ = fs::remove_file(&draft);
    written.map_err(failed)
}

fn write_private(file: &Path, key: &NodeKey) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(file)?;
    let hex: String = key.to_secret_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(out, "{hex}")?;
    out.sync_all()
}
