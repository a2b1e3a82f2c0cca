// SPDX-License-Identifier: GPL-2.0-only
//! Why a file that someone named has no symbols to give.

use std::path::{Path, PathBuf};

/// A file of symbols that cannot be used; one line that names the file, the part, and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct SymbolError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl SymbolError {
    /// `why`, of the file at `path`.
    pub fn new(path: &Path, why: impl Into<String>) -> SymbolError {
        SymbolError { path: path.to_owned(), why: why.into() }
    }
}
