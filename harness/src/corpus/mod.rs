// SPDX-License-Identifier: GPL-2.0-only
//! Real kernels by name: a manifest says which there are, a cache holds their images.
//!
//! ```no_run
//! use relocheck::corpus::{Corpus, Progress};
//!
//! let corpus = Corpus::open(None)?;
//! let entries = corpus.set("default")?;
//! for (name, result) in corpus.fetch(&entries, &Progress::to_stderr())? {
//!     println!("{name}: {}", result?.image.path.display());
//! }
//! # Ok::<(), relocheck::corpus::CorpusError>(())
//! ```
//! Only [`Corpus::fetch`] and [`build`] use the network.

mod apt;
mod archive;
pub mod build;
mod cache;
mod cargo;
mod error;
mod fetch;
mod manifest;
mod names;
mod progress;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

pub use archive::ArchiveError;
pub use cache::{Cache, Pruned, Record, State};
pub use error::CorpusError;
use fetch::Fetch;
pub use fetch::{Fetched, How};
pub use manifest::{Entry, Manifest};
pub use names::{MemberPath, Name, Sha256Sum};
pub use progress::{Progress, Task};
pub use source::{Architecture, DebianSource, PackageName, RegistrySource, Source};

/// The suite that stands for the release of this machine.
const HOST: &str = "host";

/// A manifest together with the user's cache of its images.
pub struct Corpus {
    manifest: Manifest,
    cache: Cache,
    host: Option<String>,
}

/// An image in the cache, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CachedImage {
    /// The entry that it is the image of.
    pub entry: String,
    /// The image file. It does not change: a newer image gets another file.
    pub path: PathBuf,
    /// What the cache's index says of it.
    #[serde(flatten)]
    pub record: Record,
}

impl Corpus {
    /// Opens the corpus of a manifest file, or of the built-in manifest, with the user's cache.
    /// Nothing is created and nothing fetched.
    ///
    /// # Errors
    /// The manifest is unusable, or there is no folder for caches.
    pub fn open(manifest: Option<&Path>) -> Result<Corpus, CorpusError> {
        Ok(Corpus {
            manifest: Manifest::load(manifest)?,
            cache: Cache::of_user()?,
            host: apt::codename(),
        })
    }

    /// The entries of a set, in the order in which it names them.
    ///
    /// # Errors
    /// The manifest has no such set.
    pub fn set(&self, name: &str) -> Result<Vec<&Entry>, CorpusError> {
        self.manifest.set(name).ok_or_else(|| CorpusError::UnknownSet {
            name: name.to_owned(),
            known: self.manifest.set_names().join(", "),
        })
    }

    /// The entry of that name.
    ///
    /// # Errors
    /// The manifest has no such entry.
    pub fn entry(&self, name: &str) -> Result<&Entry, CorpusError> {
        self.manifest.entry(name).ok_or_else(|| CorpusError::UnknownEntry(name.to_owned()))
    }

    /// The image of an entry, if the cache has it and the file is sound (its sum is computed). An
    /// entry with a pin has the image of that sum, whichever source gave it.
    ///
    /// # Errors
    /// The cache cannot be read, or the entry has no suite on this machine.
    pub fn cached(&self, entry: &Entry) -> Result<Option<CachedImage>, CorpusError> {
        for key in self.keys(entry)? {
            if let Some(image) = self.cached_at(entry, &key)? {
                return Ok(Some(image));
            }
        }
        let Some(pin) = &entry.sha256 else { return Ok(None) };
        Ok(self.cache.find(|_, record| record.sha256 == *pin)?.map(named(entry)))
    }

    /// Brings the images of `entries` up to date, several at a time, and returns a result for each
    /// in the same order. Where a source cannot be asked, the cache's image serves
    /// ([`How::Unchecked`]).
    ///
    /// # Errors
    /// The cache cannot be written. What concerns one entry only is in that entry's result.
    #[expect(
        clippy::type_complexity,
        reason = "a name would only hide that it is a list of results"
    )]
    pub fn fetch(
        &self,
        entries: &[&Entry],
        progress: &Progress,
    ) -> Result<Vec<(String, Result<Fetched, CorpusError>)>, CorpusError> {
        let results = Fetch::new(self, progress, entries)?.run(entries)?;
        Ok(entries.iter().map(|entry| entry.name.to_string()).zip(results).collect())
    }

    /// What has become of the images of `entries`: every file is read and its sum computed.
    /// [`State::Gone`] also stands for what never was in the cache.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn verify<'a>(&self, entries: &[&'a Entry]) -> Result<Vec<(&'a Name, State)>, CorpusError> {
        let records = self.cache.records()?;
        let mut of_entries = Vec::with_capacity(entries.len());
        for entry in entries {
            of_entries.push((&entry.name, self.record(entry, &records)?));
        }
        let sums: BTreeMap<&str, &Record> = of_entries
            .iter()
            .filter_map(|(_, record)| record.map(|record| (record.sha256.as_str(), record)))
            .collect();
        let states = sums
            .into_par_iter()
            .map(|(sum, record)| Ok((sum, self.cache.state(record)?)))
            .collect::<Result<BTreeMap<&str, State>, CorpusError>>()?;
        let state = |record: Option<&Record>| {
            let state = record.and_then(|record| states.get(record.sha256.as_str()));
            state.cloned().unwrap_or(State::Gone)
        };
        Ok(of_entries.into_iter().map(|(name, record)| (name, state(record))).collect())
    }

    /// Removes the images of the cache that no entry of the manifest refers to any more, and what
    /// fetches that were killed left there. With `dry_run` nothing changes.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub fn prune(&self, dry_run: bool, progress: &Progress) -> Result<Pruned, CorpusError> {
        let mut keys: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        let mut pins = BTreeSet::new();
        for entry in self.manifest.entries() {
            // An entry for another machine's release refers to nothing in this machine's cache.
            for key in self.keys(entry).unwrap_or_default() {
                keys.entry(key).or_default().push(entry);
            }
            pins.extend(entry.sha256.as_ref().map(Sha256Sum::as_str));
        }
        let keep = |key: &str, record: &Record| {
            let referring = keys.get(key).map(Vec::as_slice).unwrap_or_default();
            pins.contains(record.sha256.as_str())
                || referring.iter().any(|entry| entry.accepts(&record.sha256))
        };
        let writer = self.cache.writer(|| {
            progress.note("another relocheck is fetching: waiting for it to end");
        })?;
        writer.prune(keep, &pins, dry_run)
    }

    /// The record of an entry, whatever has become of its file.
    fn record<'a>(
        &self,
        entry: &Entry,
        records: &'a BTreeMap<String, Record>,
    ) -> Result<Option<&'a Record>, CorpusError> {
        let keys = self.keys(entry)?;
        let accepted = |record: &&Record| entry.accepts(&record.sha256);
        let by_key = keys.iter().filter_map(|key| records.get(key)).find(accepted);
        let by_pin =
            || records.values().find(|record| Some(&record.sha256) == entry.sha256.as_ref());
        Ok(by_key.or_else(by_pin))
    }

    /// The index's keys of what an entry may mean on this machine, the preferred one first.
    fn keys(&self, entry: &Entry) -> Result<Vec<String>, CorpusError> {
        match &entry.source {
            Source::Debian(source) => {
                Ok(self.suites(source)?.iter().map(|suite| source.key(suite)).collect())
            }
            Source::Crate(source) => Ok(vec![source.key(cargo::REGISTRY)]),
        }
    }

    /// The suites that a source means on this machine, each once.
    fn suites(&self, source: &DebianSource) -> Result<Vec<String>, CorpusError> {
        let mut suites: Vec<String> = Vec::new();
        for suite in &source.suites {
            let suite = match suite.as_str() {
                HOST => self.host.as_deref(),
                named => Some(named),
            };
            if let Some(suite) = suite.filter(|suite| !suites.iter().any(|known| known == suite)) {
                suites.push(suite.to_owned());
            }
        }
        if suites.is_empty() { Err(CorpusError::NotDebian) } else { Ok(suites) }
    }

    fn cached_at(&self, entry: &Entry, key: &str) -> Result<Option<CachedImage>, CorpusError> {
        let found = self.cache.lookup(key)?.map(named(entry));
        Ok(found.filter(|image| entry.accepts(&image.record.sha256)))
    }
}

fn named(entry: &Entry) -> impl FnOnce((PathBuf, Record)) -> CachedImage + use<> {
    let entry = entry.name.to_string();
    |(path, record)| CachedImage { entry, path, record }
}
