// SPDX-License-Identifier: GPL-2.0-only
//! Brings entries of the corpus up to date: asks their source, downloads what changed, keeps the
//! cache's image where the source cannot be asked.

mod crates;
mod debian;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::apt::{Download, Suite};
use super::archive::{ArchiveError, Member};
use super::cache::{Incoming, Record, Writer};
use super::manifest::Entry;
use super::names::Sha256Sum;
use super::progress::Progress;
use super::source::{Architecture, DebianSource, Source};
use super::{CachedImage, Corpus, CorpusError};

/// Downloads at a time: enough to hide a mirror's latency, few enough to be a polite client.
const PARALLEL: usize = 4;

/// An entry's image, and how sure it is that it is the newest.
#[derive(Debug)]
pub struct Fetched {
    /// The image in the cache.
    pub image: CachedImage,
    /// How it came to be there.
    pub how: How,
}

/// How an image came to be in the cache.
#[derive(Debug)]
pub enum How {
    /// It was there, and the source has nothing newer.
    Current,
    /// Its package, of so many bytes, was downloaded just now.
    Downloaded(u64),
    /// Another entry has it from the very same package.
    Shared,
    /// It was there; why the source could not be asked for a newer one.
    Unchecked(CorpusError),
}

/// Whose turn it is with a package file, and the file if it will be needed again.
type Turn = Arc<Mutex<Option<Download>>>;

type Asked = Arc<OnceLock<Result<Suite, Arc<CorpusError>>>>;

/// One fetch of several entries: each suite is asked once, whoever comes first, and each package
/// downloaded once.
pub(super) struct Fetch<'a> {
    corpus: &'a Corpus,
    writer: Writer<'a>,
    progress: &'a Progress,
    /// Names of the Debian packages that entries ask for.
    packages: BTreeSet<&'a str>,
    suites: Mutex<BTreeMap<(String, Architecture), Asked>>,
    /// A turn for each package file, by its sum or name.
    turns: Mutex<BTreeMap<String, Turn>>,
    /// Names of the Debian packages that several entries of this fetch take files out of.
    again: BTreeSet<&'a str>,
}

/// What there is to say of an image that is taken out of a package.
struct Origin<'a> {
    /// The index's key.
    key: String,
    package: &'a str,
    version: &'a str,
    suite: &'a str,
    architecture: Architecture,
    package_sha256: Sha256Sum,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        corpus: &'a Corpus,
        progress: &'a Progress,
        entries: &[&'a Entry],
    ) -> Result<Fetch<'a>, CorpusError> {
        let writer = corpus.cache.writer(|| {
            progress.note("another relocheck is fetching: waiting for it to end");
        })?;
        let mut named = BTreeSet::new();
        let again = entries.iter().filter_map(|entry| match &entry.source {
            Source::Debian(DebianSource { file: Some(_), package, .. }) => Some(package.as_str()),
            _ => None,
        });
        let again = again.filter(|package| !named.insert(*package)).collect();
        let packages = corpus.manifest.entries().iter().filter_map(|entry| match &entry.source {
            Source::Debian(source) => Some(source.package.as_str()),
            Source::Crate(_) => None,
        });
        Ok(Fetch {
            corpus,
            writer,
            progress,
            packages: packages.collect(),
            suites: Mutex::default(),
            turns: Mutex::default(),
            again,
        })
    }

    /// Fetches all entries, and returns as many results in the same order.
    ///
    /// # Errors
    /// What is left of earlier downloads cannot be removed.
    pub(super) fn run(
        &self,
        entries: &[&Entry],
    ) -> Result<Vec<Result<Fetched, CorpusError>>, CorpusError> {
        self.progress.begin(entries.len());
        let all = || {
            let fetch = |entry: &&Entry| {
                let result = self.entry(entry);
                self.progress.finished();
                result
            };
            entries.par_iter().map(fetch).collect()
        };
        let results = match rayon::ThreadPoolBuilder::new().num_threads(PARALLEL).build() {
            Ok(pool) => pool.install(all),
            Err(_) => all(),
        };
        self.progress.end();
        self.remove_downloads()?;
        Ok(results)
    }

    fn entry(&self, entry: &Entry) -> Result<Fetched, CorpusError> {
        let task = self.progress.task(entry.name.as_str());
        if entry.sha256.is_some() {
            // A pinned image never changes: there is nothing to ask.
            if let Some(image) = self.corpus.cached(entry)? {
                return Ok(Fetched { image, how: How::Current });
            }
        }
        match &entry.source {
            Source::Debian(source) => self.debian(entry, source, &task),
            Source::Crate(source) => self.crates(entry, source, &task),
        }
    }

    /// The folder for the download of a package file; what an earlier fetch, that was killed, has
    /// of it is there.
    fn download_folder(&self, name: &str) -> Result<PathBuf, CorpusError> {
        let folder = self.writer.downloads().join(name);
        fs::create_dir_all(&folder).map_err(CorpusError::cache("create", &folder))?;
        Ok(folder)
    }

    fn turn(&self, package: &str) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(package.to_owned()).or_default())
    }

    /// Removes downloads that are no longer needed, and those that no entry of this fetch had a use
    /// for. One that broke off stays, for the next fetch to continue.
    fn remove_downloads(&self) -> Result<(), CorpusError> {
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        for turn in turns.values() {
            turn.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let Ok(folders) = fs::read_dir(self.writer.downloads()) else { return Ok(()) };
        for folder in folders.filter_map(Result::ok) {
            if !turns.contains_key(folder.file_name().to_string_lossy().as_ref()) {
                let path = folder.path();
                fs::remove_dir_all(&path).map_err(CorpusError::cache("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The image that is taken out of a package file by `extract`, now in the cache; `None` where
    /// the package has none.
    fn take_out(
        &self,
        entry: &Entry,
        origin: Origin<'_>,
        path: &Path,
        extract: impl FnOnce(File, &mut Incoming) -> Result<Option<Member>, ArchiveError>,
    ) -> Result<Option<CachedImage>, CorpusError> {
        let file = File::open(path).map_err(CorpusError::cache("read", path))?;
        let mut incoming = self.writer.incoming()?;
        let member = extract(file, &mut incoming).map_err(|source| CorpusError::Package {
            package: format!("{} {}", origin.package, origin.version),
            source,
        })?;
        let Some(Member { path: member, size }) = member else { return Ok(None) };
        let sha256 = incoming.sum();
        if let Some(pin) = entry.sha256.as_ref().filter(|pin| **pin != sha256) {
            return Err(CorpusError::Pin {
                package: origin.package.to_owned(),
                version: origin.version.to_owned(),
                got: sha256.to_string(),
                expected: pin.to_string(),
            });
        }
        let record = Record {
            package: origin.package.to_owned(),
            version: origin.version.to_owned(),
            suite: origin.suite.to_owned(),
            architecture: origin.architecture,
            member,
            size,
            sha256,
            package_sha256: origin.package_sha256,
        };
        let path = self.writer.store(incoming, &origin.key, &record)?;
        Ok(Some(CachedImage { entry: entry.name.to_string(), path, record }))
    }
}
