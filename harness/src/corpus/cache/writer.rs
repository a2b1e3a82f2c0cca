// SPDX-License-Identifier: GPL-2.0-only
//! Changes to the cache, by one process at a time.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{Cache, Index, Record, SCHEMA};
use crate::corpus::CorpusError;
use crate::corpus::names::Sha256Sum;

/// The prefix of files that are being written.
pub(super) const INCOMING: &str = ".incoming-";

impl Cache {
    /// Creates the folder and takes the writers' lock, which ends with the value. `waits` is
    /// called first if another process has it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn writer(&self, waits: impl FnOnce()) -> Result<Writer<'_>, CorpusError> {
        let images = self.root.join("images");
        fs::create_dir_all(&images).map_err(CorpusError::cache("create", &images))?;
        let path = self.root.join("lock");
        let lock = File::create(&path).map_err(CorpusError::cache("create", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waits();
                lock.lock().map_err(CorpusError::cache("lock", &path))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(CorpusError::cache("lock", &path)(error));
            }
        }
        Ok(Writer { cache: self, _lock: lock, index: Mutex::new(()) })
    }
}

/// The right to change the cache.
pub struct Writer<'a> {
    pub(super) cache: &'a Cache,
    _lock: File,
    index: Mutex<()>,
}

impl Writer<'_> {
    /// The folder for package files on their way.
    pub fn downloads(&self) -> PathBuf {
        self.cache.root.join("downloads")
    }

    /// A file in the cache for an image that is still to come; dropped unless it is stored.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn incoming(&self) -> Result<Incoming, CorpusError> {
        let folder = self.cache.root.join("images");
        let file = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempfile_in(&folder)
            .map_err(CorpusError::cache("write in", &folder))?;
        Ok(Incoming { file, hasher: Sha256::new() })
    }

    /// Puts an image under its sum and enters it in the index, in this order: the index never
    /// names a file that is not there. Returns the image's path.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub fn store(
        &self,
        image: Incoming,
        key: &str,
        record: &Record,
    ) -> Result<PathBuf, CorpusError> {
        let path = self.cache.image_path(&record.sha256);
        let write = || CorpusError::cache("write", &path);
        image.file.as_file().sync_all().map_err(write())?;
        image.file.persist(&path).map_err(|error| write()(error.error))?;
        self.enter(key, record)?;
        Ok(path)
    }

    /// Enters an image that is in the cache under one more key.
    ///
    /// # Errors
    /// The index cannot be read or written.
    pub fn enter(&self, key: &str, record: &Record) -> Result<(), CorpusError> {
        self.change_index(|images| {
            images.insert(key.to_owned(), record.clone());
        })
    }

    pub(super) fn change_index(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Record>),
    ) -> Result<(), CorpusError> {
        let _turn = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let mut images = self.cache.read_index()?;
        change(&mut images);
        self.write_index(images)
    }

    fn write_index(&self, images: BTreeMap<String, Record>) -> Result<(), CorpusError> {
        let path = self.cache.index_path();
        let write = || CorpusError::cache("write", &path);
        let mut file = NamedTempFile::new_in(&self.cache.root).map_err(write())?;
        serde_json::to_writer_pretty(&mut file, &Index { schema: SCHEMA, images })
            .map_err(|error| write()(error.into()))?;
        file.write_all(b"\n").map_err(write())?;
        file.as_file().sync_all().map_err(write())?;
        file.persist(&path).map_err(|error| write()(error.error))?;
        Ok(())
    }
}

/// An image on its way into the cache.
pub struct Incoming {
    file: NamedTempFile,
    hasher: Sha256,
}

impl Incoming {
    /// The sum of what was written so far.
    pub fn sum(&self) -> Sha256Sum {
        Sha256Sum::of(self.hasher.clone())
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
