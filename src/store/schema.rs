//! The tables, their versions, and how an older file becomes a new one.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Marks a file as ours: `Peer` in ASCII.
pub(super) const APPLICATION_ID: u32 = 0x5065_6572;

/// The version that this code reads and writes.
pub(super) const VERSION: u32 = 2;

/// The tables that must be there.
const TABLES: [&str; 3] = ["peers", "addresses", "bans"];

/// What leads from each version to the next; a new file goes through all of them.
///
/// Each table is clustered by its key, so that the file is read in one pass, without a search for each peer. Nothing here is
/// ever changed: a new version is a new step at the end, and [`VERSION`] with it. SQLite keeps a comment on a column that is
/// added only if it stands before the semicolon.
const STEPS: [&str; VERSION as usize] = [
    "CREATE TABLE peers (
        id TEXT NOT NULL PRIMARY KEY,       -- the public key, 128 hex digits
        failures INTEGER NOT NULL,          -- in a row
        incompatible INTEGER NOT NULL       -- 1: of another network, or useless
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE addresses (
        peer TEXT NOT NULL,                 -- peers.id
        position INTEGER NOT NULL,          -- from 0, the oldest
        url TEXT NOT NULL,
        source TEXT NOT NULL,               -- operator, discovery, gossip:ID
        failures INTEGER NOT NULL,          -- in a row
        PRIMARY KEY (peer, position)
    ) STRICT, WITHOUT ROWID;",
    "ALTER TABLE peers ADD COLUMN hold_until INTEGER /* ms since 1970 */;
    ALTER TABLE peers ADD COLUMN hold_why TEXT /* cooldown, backoff, busy, incompatible, ourselves, seed_rest */;
    ALTER TABLE peers ADD COLUMN bad_points INTEGER /* as of bad_since */;
    ALTER TABLE peers ADD COLUMN bad_since INTEGER /* ms since 1970 */;
    ALTER TABLE peers ADD COLUMN good_points INTEGER /* as of good_since */;
    ALTER TABLE peers ADD COLUMN good_since INTEGER /* ms since 1970 */;
    ALTER TABLE peers ADD COLUMN uptime_ms INTEGER NOT NULL DEFAULT 0 /* of all connections that have ended */;
    ALTER TABLE peers ADD COLUMN latency_us INTEGER /* smoothed; NULL: never measured */;
    ALTER TABLE peers ADD COLUMN offers TEXT /* NULL: never met */;
    CREATE TABLE bans (
        target TEXT NOT NULL PRIMARY KEY,   -- a peers.id, or a range as 192.0.2.0/24
        until INTEGER,                      -- ms since 1970; NULL: until it is lifted
        why TEXT NOT NULL,                  -- operator, misbehaved
        detail TEXT NOT NULL                -- the operator's words, or what it did
    ) STRICT, WITHOUT ROWID;",
];

/// The version of the file.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a file of an earlier version, 0 if it is empty, up to [`VERSION`]: as a whole, or not at all.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = version(&transaction)?;
    if from == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    for step in STEPS.iter().skip(from as usize) {
        transaction.execute_batch(step)?;
    }
    if from < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// The first of our tables that is missing, or is something else than a plain table.
pub(super) fn missing_table(connection: &Connection) -> rusqlite::Result<Option<&'static str>> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 AND rootpage > 0";
    let mut find = connection.prepare(sql)?;
    for table in TABLES {
        if find.query_row([table], |_| Ok(())).optional()?.is_none() {
            return Ok(Some(table));
        }
    }
    Ok(None)
}
