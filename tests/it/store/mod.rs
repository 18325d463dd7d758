//! The store of peers in an SQLite file: what it keeps, what it refuses, and what it survives.

mod corpus;
mod drive;
mod files;
mod kill;
mod rows;
mod writing;

use std::path::{Path, PathBuf};

use peerage::store::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

use drive::{lazy, scratch};

/// A directory, and the path of a store in it.
fn place() -> (TempDir, PathBuf) {
    let directory = scratch();
    let path = directory.path().join("peers.db");
    (directory, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, lazy()).unwrap()
}

/// Why the file is refused.
fn refusal(path: &Path) -> String {
    SqliteStore::open(path, lazy()).unwrap_err().to_string()
}

/// What an operator does in the shell.
fn shell(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

fn ask<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> T {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}
