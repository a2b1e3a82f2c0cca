// SPDX-License-Identifier: GPL-2.0-only
//! The cache of images in the user's cache folder: images under the name of their SHA-256 sum, and
//! an index that says which source gave which image.
//!
//! Readers need no lock: files appear whole, by a rename. Writers take turns by a lock file.

mod prune;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CorpusError;
use super::names::Sha256Sum;
use super::source::Architecture;
pub use prune::Pruned;
pub use writer::{Incoming, Writer};

const SCHEMA: u32 = 1;

/// What the index knows of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The package that holds the image.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The suite that it came from, or the registry where that has no suites: `crates`.
    pub suite: String,
    /// The architecture that it is for.
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

    /// What the index says, by the key of the source that gave each image.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn records(&self) -> Result<BTreeMap<String, Record>, CorpusError> {
        self.read_index()
    }

    /// What has become of the image of a record: its file is read and its sum computed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn state(&self, record: &Record) -> Result<State, CorpusError> {
        let path = self.image_path(&record.sha256);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Gone),
            Err(error) => return Err(CorpusError::cache("read", &path)(error)),
        };
        let sum = sum_of(file).map_err(CorpusError::cache("read", &path))?;
        let sound = sum == record.sha256;
        Ok(if sound { State::Sound(path) } else { State::Corrupt { path, sum } })
    }

    /// The image that the index has under `key`, its file checked against its sum. A file that is
    /// gone or damaged counts as not cached.
    ///
    /// # Errors
    /// The index or the image cannot be read.
    pub fn lookup(&self, key: &str) -> Result<Option<(PathBuf, Record)>, CorpusError> {
        self.find(|other, _| key == other)
    }

    /// The first sound image of those that `wanted` accepts by key and record.
    ///
    /// # Errors
    /// The index or an image cannot be read.
    pub fn find(
        &self,
        wanted: impl Fn(&str, &Record) -> bool,
    ) -> Result<Option<(PathBuf, Record)>, CorpusError> {
        for (key, record) in self.read_index()? {
            if wanted(&key, &record)
                && let State::Sound(path) = self.state(&record)?
            {
                return Ok(Some((path, record)));
            }
        }
        Ok(None)
    }
}

/// What has become of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The file is there and has its sum.
    Sound(PathBuf),
    /// The file has another sum.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The sum that it has.
        sum: Sha256Sum,
    },
    /// The file is not there.
    Gone,
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
