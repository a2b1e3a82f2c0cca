// SPDX-License-Identifier: GPL-2.0-only
//! Makes the cache smaller: removes images that nothing refers to any more, and what processes
//! that were killed left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::writer::INCOMING;
use super::{Record, Writer};
use crate::corpus::CorpusError;
use crate::corpus::names::Sha256Sum;

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The files, and folders of broken-off downloads, with their sizes in bytes, sorted.
    pub files: Vec<(PathBuf, u64)>,
}

impl Pruned {
    /// How many of them are images.
    pub fn images(&self) -> usize {
        self.files.iter().filter(|(path, _)| sum(path).is_some()).count()
    }

    /// The size of all of them, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }
}

/// The sum that a file's name stands for.
fn sum(path: &Path) -> Option<Sha256Sum> {
    Sha256Sum::try_from(path.file_name()?.to_str()?.to_owned()).ok()
}

impl Writer<'_> {
    /// Forgets all records that `keep` does not accept by key and record, and removes the images
    /// that no record is left of and whose sums are not among `pins`. With `dry_run` nothing changes.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub fn prune(
        &self,
        keep: impl Fn(&str, &Record) -> bool,
        pins: &BTreeSet<&str>,
        dry_run: bool,
    ) -> Result<Pruned, CorpusError> {
        let mut records = self.cache.records()?;
        records.retain(|key, record| keep(key, record));
        let mut kept = pins.clone();
        kept.extend(records.values().map(|record| record.sha256.as_str()));

        let left = |name: &str| name.starts_with(INCOMING);
        let unused = |name: &str| {
            Sha256Sum::try_from(name.to_owned()).is_ok_and(|sum| !kept.contains(sum.as_str()))
        };
        let mut pruned = Pruned::default();
        for (path, name) in listing(&self.cache.root().join("images"))? {
            if left(&name) || unused(&name) {
                let size =
                    fs::symlink_metadata(&path).map_err(CorpusError::cache("read", &path))?;
                pruned.files.push((path, size.len()));
            }
        }
        for (path, _) in listing(&self.downloads())? {
            let size = size_below(&path).map_err(CorpusError::cache("read", &path))?;
            pruned.files.push((path, size));
        }
        pruned.files.sort();
        if dry_run {
            return Ok(pruned);
        }
        // The index first: it never names a file that is not there.
        self.change_index(|images| images.retain(|key, record| keep(key, record)))?;
        for (path, _) in &pruned.files {
            let removed =
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.map_err(CorpusError::cache("remove", path))?;
        }
        Ok(pruned)
    }
}

/// What is in a folder, with names; nothing where there is no such folder.
fn listing(folder: &Path) -> Result<Vec<(PathBuf, String)>, CorpusError> {
    let read = || CorpusError::cache("read", folder);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read()(error)),
    };
    let named = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (entry.path(), name)
    };
    entries.map(|entry| entry.map(named).map_err(read())).collect()
}

/// The size of a file, or of all files in a folder, in bytes. Links are not followed.
fn size_below(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size_below(&entry?.path())).sum()
}
