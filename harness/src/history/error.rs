// SPDX-License-Identifier: GPL-2.0-only
//! Why a history cannot be used.

use std::path::Path;

use rusqlite::ErrorCode;

/// A history that cannot be used. The message is one line that names the file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct HistoryError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a history.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read or made.
    #[error("{0}")]
    Io(std::io::Error),
    /// It is something else.
    #[error("expected a history of relocheck, found {0}")]
    NotHistory(&'static str),
    /// A newer relocheck wrote it.
    #[error("the history has version {found}, this relocheck knows versions up to {known}")]
    Newer {
        /// Its version.
        found: i32,
        /// The newest one that is known.
        known: i32,
    },
    /// Someone else has been writing for too long.
    #[error("the history is locked by another process")]
    Locked,
    /// It must not be written.
    #[error("the history is read-only")]
    ReadOnly,
    /// Its content is broken.
    #[error("the history is damaged: {0}")]
    Damaged(String),
    /// The run has no place in a history.
    #[error("not recorded: {0}")]
    Unsuitable(String),
}

impl HistoryError {
    /// `problem` of the file at `path`.
    pub fn new(path: &Path, problem: impl Into<Problem>) -> HistoryError {
        HistoryError { path: path.display().to_string(), problem: problem.into() }
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Problem {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Problem::NotHistory("no SQLite database"),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Problem::Locked,
            Some(ErrorCode::ReadOnly) => Problem::ReadOnly,
            Some(ErrorCode::TooBig) => Problem::Unsuitable("a text of more than 1 MiB".into()),
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure,
            ) => Problem::Io(std::io::Error::other(line(&error))),
            _ => Problem::Damaged(line(&error)),
        }
    }
}

fn line(error: &rusqlite::Error) -> String {
    error.to_string().replace('\n', " ")
}
