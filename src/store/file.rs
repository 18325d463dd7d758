//! The file: who owns it, whether it is ours, and how it is opened.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::schema;
use crate::peer::StoreError;

/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Length of SQLite's header.
const HEADER_BYTES: usize = 100;

/// What the log is cut back to after a checkpoint, in bytes.
const KEPT_LOG_BYTES: u32 = 4 << 20;

/// A file that is ours alone. The lock ends with the process, however it ends.
#[derive(Debug)]
pub(super) struct Owned {
    path: PathBuf,
    lock: File,
}

impl Owned {
    /// Takes the file `path`, and makes it if there is none.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let path = real(path)?;
        // Nothing is put beside what cannot be a store.
        let lock = match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => return Err(fault(&path, "is a directory; name a file in it")),
            Ok(meta) if !meta.is_file() => return Err(fault(&path, "is no file; name one")),
            _ => lock(&path)?,
        };
        match fs::metadata(&path) {
            Ok(_) => inspect(&path)?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => create(&path)?,
            Err(why) => return Err(fault(&path, format_args!("cannot be read: {why}"))),
        }
        Ok(Self { path, lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for writing, and brings it up to the present version.
    pub(super) fn open(&self, busy_timeout: Duration) -> Result<Connection, StoreError> {
        let failed = |why| self.failed("cannot be opened", &why);
        let mut connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
        connection.busy_timeout(busy_timeout).map_err(failed)?;
        // A file that turns out to be damaged, or of a newer version, is left as it is, its log beside it.
        let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(keep_log, true).map_err(failed)?;
        let version = schema::version(&connection).map_err(failed)?;
        judge(&self.path, version)?;
        if version < schema::VERSION {
            schema::migrate(&mut connection).map_err(failed)?;
        }
        if let Some(table) = schema::missing_table(&connection).map_err(failed)? {
            return Err(fault(
                &self.path,
                format_args!("has no table `{table}`; move it away, and a new one is made"),
            ));
        }
        self.tune(&connection)?;
        // SQLite opens its log at the first read after the mode was set, and only who has it open removes it when
        // closing: that must not be a reader, who may not.
        schema::version(&connection).map_err(failed)?;
        connection.set_db_config(keep_log, false).map_err(failed)?;
        Ok(connection)
    }

    /// Opens it for reading, beside the connection that writes.
    pub(super) fn open_to_read(&self, busy_timeout: Duration) -> Result<Connection, StoreError> {
        let connection = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let ready =
            connection.and_then(|connection| connection.busy_timeout(busy_timeout).map(|()| connection));
        ready.map_err(|why| self.failed("cannot be read", &why))
    }

    /// What SQLite complains of, and what to do.
    pub(super) fn failed(&self, what: &str, why: &Error) -> StoreError {
        let remedy = match why.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "; another program has locked it, let that end its transaction"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "; it is damaged: move it away, and a new one is made (`sqlite3 FILE .recover` may save rows)"
            }
            Some(ErrorCode::DiskFull) => "; make room on the disk",
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                "; the file and its directory must be writable"
            }
            _ => "",
        };
        fault(&self.path, format_args!("{what}: {why}{remedy}"))
    }

    /// What to say when there is no more time to wait for it.
    pub(super) fn late(&self) -> StoreError {
        fault(&self.path, "was not written in time")
    }

    fn tune(&self, connection: &Connection) -> Result<(), StoreError> {
        let failed = |why| self.failed("cannot be opened", &why);
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .map_err(failed)?;
        if mode != "wal" {
            return Err(fault(&self.path, "cannot have a write-ahead log there; put it on a local disk"));
        }
        // Of a process that is killed, every commit survives. Of a machine that loses power, the last ones may not:
        // the file stays whole, and what is lost is what the node learns again. A commit then waits for no disk.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        connection.pragma_update(None, "journal_size_limit", KEPT_LOG_BYTES).map_err(failed)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Closing alone is not enough: a process that is being started at this moment has a copy of the handle.
        let _ = self.lock.unlock();
    }
}

fn fault(path: &Path, what: impl std::fmt::Display) -> StoreError {
    StoreError::new(format!("`{}` {what}", path.display()))
}

/// Nothing in the file is trusted to run, and its name is only a name.
fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// The path without links, so that one file has one lock.
fn real(path: &Path) -> Result<PathBuf, StoreError> {
    match fs::canonicalize(path) {
        Ok(real) => return Ok(real),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(fault(path, format_args!("cannot be read: {why}"))),
    }
    let name = path.file_name().ok_or_else(|| fault(path, "names no file"))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let real = fs::canonicalize(directory);
    let real = real.map_err(|why| fault(path, format_args!("has no directory to be in; make it: {why}")))?;
    Ok(real.join(name))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Locks a file beside the store: SQLite's own locks come and go with each transaction, so that an operator's shell
/// can read while the node runs, and would let two nodes write by turns.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut options = private();
    let lock = options.create(true).truncate(false).open(beside(path, "-lock"));
    let lock = lock.map_err(|why| fault(path, format_args!("cannot be locked: {why}")))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(fault(path, "is in use by another node; stop it, or give this one a file of its own"))
        }
        Err(TryLockError::Error(why)) => Err(fault(path, format_args!("cannot be locked: {why}"))),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes an empty store under another name, and gives it its own when it is whole: at no moment is there a file that
/// the next start would not know.
fn create(path: &Path) -> Result<(), StoreError> {
    let new = beside(path, "-new");
    let failed = |why: &dyn std::fmt::Display| fault(path, format_args!("cannot be made: {why}"));
    match fs::remove_file(&new) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(failed(&why)),
        _ => {}
    }
    // SQLite gives the files that it makes beside this one the same permissions.
    private().create_new(true).open(&new).map_err(|why| failed(&why))?;
    let fill = || -> rusqlite::Result<()> {
        let mut connection = connect(&new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        schema::migrate(&mut connection)?;
        connection.close().map_err(|(_, why)| why)
    };
    fill().map_err(|why| failed(&why))?;
    // A log that is left of a file that was taken away belongs to that file.
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(beside(path, suffix)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(failed(&why)),
            _ => {}
        }
    }
    fs::rename(&new, path).map_err(|why| failed(&why))
}

/// Looks at the header before SQLite does, which would take an empty file for a new one, and would write to a file
/// of anybody's.
fn inspect(path: &Path) -> Result<(), StoreError> {
    let unreadable = |why| fault(path, format_args!("cannot be read: {why}"));
    let mut file = File::open(path).map_err(unreadable)?;
    let len = file.metadata().map_err(unreadable)?.len();
    let mut header = Vec::with_capacity(HEADER_BYTES);
    file.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(unreadable)?;
    if header.is_empty() {
        return Err(fault(path, "is empty; remove it, and a new one is made"));
    }
    if !header.starts_with(MAGIC) || header.len() < HEADER_BYTES {
        return Err(fault(path, "is no SQLite file; name another, or move it away and a new one is made"));
    }
    let number = |at: usize| header[at..at + 4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    let application = number(68);
    if application != schema::APPLICATION_ID {
        let what = format_args!(
            "belongs to another program (its application id is {application:#010x}, ours {:#010x}); name another file",
            schema::APPLICATION_ID
        );
        return Err(fault(path, what));
    }
    judge(path, number(60))?;
    let page = match u32::from(header[16]) << 8 | u32::from(header[17]) {
        1 => 65536,
        bytes => bytes,
    };
    let needed = u64::from(page) * u64::from(number(28));
    // While there is a log, pages may still be only in it.
    let logged = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if len < needed && number(24) == number(92) && !logged {
        let what = format_args!(
            "is truncated to {len} of {needed} bytes; bring back a copy, or move it away and a new one is made"
        );
        return Err(fault(path, what));
    }
    Ok(())
}

fn judge(path: &Path, version: u32) -> Result<(), StoreError> {
    if version > schema::VERSION {
        let ours = schema::VERSION;
        let what = format_args!(
            "is of version {version}, and this program knows versions up to {ours}; run the newer program again, or \
             name another file"
        );
        return Err(fault(path, what));
    }
    Ok(())
}
