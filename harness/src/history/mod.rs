// SPDX-License-Identifier: GPL-2.0-only
//! What earlier runs of a campaign found: an SQLite file that grows by one row a night and some for each image.
//!
//! It knows days, not times of day: the day is the campaign's own. It can be lost without losing a report.

mod error;
mod past;
mod record;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

pub use error::{HistoryError, Problem};
pub use past::{Failing, Past, Run, Since};
pub use record::Recorded;

/// Version of the tables, kept as `user_version` (sqlite.org, "PRAGMA user_version").
const VERSION: i32 = 1;
/// Tells our files from other SQLite databases: `application_id`, "rlck".
const APPLICATION: i32 = 0x726c_636b;
const SCHEMA: &str = include_str!("schema.sql");
/// How long another process may keep the file locked.
const PATIENCE: Duration =
    if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };
/// The longest text in bytes: a damaged file must not make us allocate what it says.
const LONGEST: i32 = 1 << 20;

/// A history that is open.
pub struct History {
    path: PathBuf,
    connection: Connection,
}

impl History {
    /// Opens the history at `path`, or begins one.
    ///
    /// # Errors
    /// The file cannot be read or made, is no history, is damaged or of a newer version, or is locked for seconds.
    pub fn open(path: &Path) -> Result<History, HistoryError> {
        History::with(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Opens a history that is there already, to read it only.
    ///
    /// # Errors
    /// As for [`History::open`]; the file has to be there.
    pub fn read(path: &Path) -> Result<History, HistoryError> {
        History::with(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn with(path: &Path, flags: OpenFlags) -> Result<History, HistoryError> {
        let failed = |problem: Problem| HistoryError::new(path, problem);
        match std::fs::metadata(path) {
            Ok(file) if !file.is_file() => return Err(failed(Problem::NotHistory("no file"))),
            Err(error) if !flags.contains(OpenFlags::SQLITE_OPEN_CREATE) => {
                return Err(failed(Problem::Io(error)));
            }
            _ => {}
        }
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let mut connection = connection.map_err(|error| failed(error.into()))?;
        prepare(&mut connection).map_err(failed)?;
        Ok(History { path: path.to_owned(), connection })
    }

    /// Names the file in an error.
    fn named<T>(&self, result: Result<T, impl Into<Problem>>) -> Result<T, HistoryError> {
        result.map_err(|error| HistoryError::new(&self.path, error))
    }
}

/// Makes sure that the file has our tables and nothing else, such as a view that never ends; an empty one is given them.
fn prepare(connection: &mut Connection) -> Result<(), Problem> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    if is_empty(connection)? && !connection.is_readonly("main")? {
        // Another process may be doing the same.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if is_empty(&transaction)? {
            create(&transaction)?;
        }
        transaction.commit()?;
    }
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if application != APPLICATION {
        return Err(Problem::NotHistory("another SQLite database"));
    }
    if version > VERSION {
        return Err(Problem::Newer { found: version, known: VERSION });
    }
    let model = Connection::open_in_memory()?;
    create(&model)?;
    if objects(connection)? != objects(&model)? {
        return Err(Problem::Damaged("its tables are not those of a history".into()));
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(Problem::Damaged(found.replace('\n', " "))),
    }
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// Whether nothing was ever written to it.
fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let count: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(count == 0 && version == 0)
}

/// Tables and whatever else is defined.
fn objects(connection: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

#[cfg(test)]
mod tests;
