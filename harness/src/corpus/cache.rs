// SPDX-License-Identifier: GPL-2.0-only
//! The cache of images in the user's cache folder: images under the name of their SHA-256 sum, and
//! an index that says which source gave which image.
//!
//! Readers need no lock: files appear whole, by a rename. Writers take turns by a lock file.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::CorpusError;
use super::manifest::{Architecture, Sha256Sum};

const SCHEMA: u32 = 1;

/// What the index knows of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The package that holds the image.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The suite that it came from.
    pub suite: String,
    /// The package's architecture.
    pub architecture: Architecture,
    /// The image's path in the package.
    pub member: String,
    /// The image's size in bytes.
    pub size: u64,
    /// The image's sum, which is also its file name.
    pub sha256: Sha256Sum,
    /// The package file's sum.
    pub package_sha256: Sha256Sum,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Index {
    schema: u32,
    images: BTreeMap<String, Record>,
}

/// The cache folder. Opening it creates nothing.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in the user's cache folder: `relocheck` below `$XDG_CACHE_HOME` or `~/.cache`.
    ///
    /// # Errors
    /// Neither variable says where that is.
    pub fn of_user() -> Result<Cache, CorpusError> {
        // The XDG base directory specification: a relative path is to be ignored.
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .ok_or(CorpusError::NoCacheFolder)?;
        Ok(Cache::at(base.join("relocheck")))
    }

    /// The cache in this folder.
    pub fn at(root: PathBuf) -> Cache {
        Cache { root }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn image_path(&self, sum: &Sha256Sum) -> PathBuf {
        self.root.join("images").join(sum.as_str())
    }

    /// The image with this SHA-256 sum, 64 digits in lower case, if it is there. Its content is not looked at.
    pub fn by_sum(&self, sum: &str) -> Option<PathBuf> {
        let sum = Sha256Sum::try_from(sum.to_owned()).ok()?;
        Some(self.image_path(&sum)).filter(|path| path.is_file())
    }

    fn read_index(&self) -> Result<BTreeMap<String, Record>, CorpusError> {
        let path = self.index_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(CorpusError::cache("read", &path)(error)),
        };
        let index: Index = serde_json::from_slice(&text).map_err(|error| CorpusError::Index {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        if index.schema != SCHEMA {
            let problem = format!("schema {}, this relocheck reads {SCHEMA}", index.schema);
            return Err(CorpusError::Index { path, problem });
        }
        Ok(index.images)
    }

    /// The image that the index has under `key`, its file checked against its sum. A file that is
    /// gone or damaged counts as not cached.
    ///
    /// # Errors
    /// The index or the image cannot be read.
    pub fn lookup(&self, key: &str) -> Result<Option<(PathBuf, Record)>, CorpusError> {
        let Some(record) = self.read_index()?.remove(key) else { return Ok(None) };
        let path = self.image_path(&record.sha256);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CorpusError::cache("read", &path)(error)),
        };
        let sum = sum_of(file).map_err(CorpusError::cache("read", &path))?;
        Ok((sum == record.sha256).then_some((path, record)))
    }

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
    cache: &'a Cache,
    _lock: File,
    index: Mutex<()>,
}

impl Writer<'_> {
    /// A file in the cache for an image that is still to come; dropped unless it is stored.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn incoming(&self) -> Result<Incoming, CorpusError> {
        let folder = self.cache.root.join("images");
        let file = tempfile::Builder::new()
            .prefix(".incoming-")
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

        let _turn = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let mut images = self.cache.read_index()?;
        images.insert(key.to_owned(), record.clone());
        self.write_index(images)?;
        Ok(path)
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

/// The sum of everything that `reader` gives.
///
/// # Errors
/// The reader's own.
pub fn sum_of(mut reader: impl Read) -> io::Result<Sha256Sum> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(Sha256Sum::of(hasher)),
            Ok(read) => hasher.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(writer: &Writer<'_>, key: &str, content: &[u8]) -> (PathBuf, Record) {
        let mut incoming = writer.incoming().unwrap();
        incoming.write_all(content).unwrap();
        let record = Record {
            package: String::from("linux-image-1"),
            version: String::from("1-1"),
            suite: String::from("sid"),
            architecture: Architecture::Amd64,
            member: String::from("boot/vmlinuz-1"),
            size: content.len() as u64,
            sha256: incoming.sum(),
            package_sha256: sum_of(b"deb".as_slice()).unwrap(),
        };
        let path = writer.store(incoming, key, &record).unwrap();
        (path, record)
    }

    #[test]
    fn a_stored_image_is_found_again_under_its_sum() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("relocheck"));
        assert_eq!(cache.lookup("a").unwrap(), None);
        let stored = store(&cache.writer(|| ()).unwrap(), "a", b"kernel");
        assert_eq!(
            stored.1.sha256.as_str(),
            "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c"
        );
        assert!(stored.0.ends_with(stored.1.sha256.as_str()));
        assert_eq!(cache.lookup("a").unwrap(), Some(stored));
        assert_eq!(cache.lookup("b").unwrap(), None);
    }

    #[test]
    fn an_image_that_is_not_stored_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned());
        let writer = cache.writer(|| ()).unwrap();
        let mut incoming = writer.incoming().unwrap();
        incoming.write_all(b"half a ker").unwrap();
        drop(incoming);
        assert_eq!(fs::read_dir(folder.path().join("images")).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_or_missing_image_counts_as_not_cached() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned());
        let (path, _) = store(&cache.writer(|| ()).unwrap(), "a", b"kernel");
        fs::write(&path, b"kernal").unwrap();
        assert_eq!(cache.lookup("a").unwrap(), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(cache.lookup("a").unwrap(), None);
    }

    #[test]
    fn a_damaged_index_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned());
        for text in ["{", r#"{"schema": 9, "images": {}}"#] {
            fs::write(folder.path().join("index.json"), text).unwrap();
            let error = cache.lookup("a").unwrap_err().to_string();
            assert!(error.contains("index.json") && error.contains("remove"), "{error}");
        }
    }

    #[test]
    fn writers_take_turns_and_lose_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..8 {
                        // A writer of its own for each round, like that many processes.
                        let writer = cache.writer(|| ()).unwrap();
                        store(&writer, &format!("{thread}-{round}"), &[thread, round]);
                    }
                });
            }
            for _ in 0..64 {
                cache.lookup("0-0").unwrap();
            }
        });
        assert_eq!(cache.read_index().unwrap().len(), 32);
    }
}
