// SPDX-License-Identifier: GPL-2.0-only
//! Folders of the cache that appear whole, by a rename, and go.

use std::fs;
use std::io;
use std::path::Path;

use super::BuildError;

/// The prefix of folders whose content is not whole yet.
pub const INCOMING: &str = ".incoming-";

/// Removes a folder, which need not be there.
pub fn remove(folder: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BuildError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Removes the folders in `parent` that never became whole.
pub fn remove_incoming(parent: &Path) -> Result<(), BuildError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BuildError::file("read", parent)(error)),
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}
