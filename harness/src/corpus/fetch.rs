// SPDX-License-Identifier: GPL-2.0-only
//! Brings entries of the corpus up to date: asks their source, downloads what changed, keeps the
//! cache's image where the source cannot be asked.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::apt::{Host, PackageRecord, Suite, candidates};
use super::cache::{Record, Writer};
use super::deb::{Member, extract_kernel};
use super::manifest::{Architecture, DebianSource, Entry, Source};
use super::progress::{Progress, Task};
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
    /// It was downloaded just now.
    Downloaded,
    /// It was there; why the source could not be asked for a newer one.
    Unchecked(CorpusError),
}

type Asked = Arc<OnceLock<Result<Suite, Arc<CorpusError>>>>;

/// One fetch of several entries: each suite is asked once, whoever comes first.
pub(super) struct Fetch<'a> {
    corpus: &'a Corpus,
    writer: Writer<'a>,
    progress: &'a Progress,
    suites: Mutex<BTreeMap<(String, Architecture), Asked>>,
}

impl<'a> Fetch<'a> {
    pub(super) fn new(
        corpus: &'a Corpus,
        progress: &'a Progress,
    ) -> Result<Fetch<'a>, CorpusError> {
        let writer = corpus.cache.writer(|| {
            progress.note("another relocheck is fetching: waiting for it to end");
        })?;
        Ok(Fetch { corpus, writer, progress, suites: Mutex::default() })
    }

    /// Fetches all entries, and returns as many results in the same order.
    pub(super) fn run(&self, entries: &[&Entry]) -> Vec<Result<Fetched, CorpusError>> {
        let all = || entries.par_iter().map(|entry| self.entry(entry)).collect();
        match rayon::ThreadPoolBuilder::new().num_threads(PARALLEL).build() {
            Ok(pool) => pool.install(all),
            Err(_) => all(),
        }
    }

    fn entry(&self, entry: &Entry) -> Result<Fetched, CorpusError> {
        let task = self.progress.task(entry.name.as_str());
        let Source::Debian(source) = &entry.source;
        if entry.sha256.is_some() {
            // A pinned image never changes: there is nothing to ask.
            if let Some(image) = self.corpus.cached(entry)? {
                return Ok(Fetched { image, how: How::Current });
            }
        }
        let mut refusals = Vec::new();
        for suite in self.corpus.suites(source)? {
            match self.try_suite(entry, source, &suite, &task) {
                Ok(fetched) => return Ok(fetched),
                Err(error) => match self.corpus.cached_from(entry, source, &suite)? {
                    Some(image) => return Ok(Fetched { image, how: How::Unchecked(error) }),
                    None => refusals.push(error),
                },
            }
        }
        match (refusals.pop(), refusals.is_empty()) {
            (Some(only), true) => Err(only),
            (last, _) => {
                refusals.extend(last);
                Err(CorpusError::Everywhere(refusals))
            }
        }
    }

    fn try_suite(
        &self,
        entry: &Entry,
        source: &DebianSource,
        suite: &str,
        task: &Task,
    ) -> Result<Fetched, CorpusError> {
        task.stage(format!("asking {suite} for {}", source.package));
        let asked = self.ask(suite, source.architecture);
        let offer = match asked.get_or_init(|| self.open(suite, source.architecture)) {
            Ok(offer) => offer,
            Err(error) => return Err(CorpusError::Shared(Arc::clone(error))),
        };
        let packages = candidates(offer.records(), source.package.as_str());
        if packages.is_empty() {
            return Err(CorpusError::NoPackage {
                suite: suite.to_owned(),
                package: source.package.to_string(),
            });
        }
        let cached = self.corpus.cached_from(entry, source, suite)?;
        let current = cached.filter(|image| packages.iter().any(|record| is_from(image, record)));
        if let Some(image) = current {
            return Ok(Fetched { image, how: How::Current });
        }
        for record in packages {
            if let Some(image) = self.try_package(entry, source, offer, suite, record, task)? {
                return Ok(Fetched { image, how: How::Downloaded });
            }
        }
        Err(CorpusError::NoKernel { suite: suite.to_owned(), package: source.package.to_string() })
    }

    fn ask(&self, suite: &str, architecture: Architecture) -> Asked {
        let mut suites = self.suites.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(suites.entry((suite.to_owned(), architecture)).or_default())
    }

    fn open(&self, suite: &str, architecture: Architecture) -> Result<Suite, Arc<CorpusError>> {
        let mirror = Host::read().and_then(|host| host.mirror(suite));
        let root = self.corpus.cache.root().join("apt").join(format!("{suite}-{architecture}"));
        mirror.and_then(|mirror| Suite::open(root, &mirror, suite, architecture)).map_err(Arc::new)
    }

    /// The image in a package, now in the cache; `None` where the package has none.
    fn try_package(
        &self,
        entry: &Entry,
        source: &DebianSource,
        offer: &Suite,
        suite: &str,
        package: &PackageRecord,
        task: &Task,
    ) -> Result<Option<CachedImage>, CorpusError> {
        let download = offer.download(package, task)?;
        task.stage(format!("taking the image out of {}", package.package));
        let path = download.path();
        let file = File::open(path).map_err(CorpusError::cache("read", path))?;
        let mut incoming = self.writer.incoming()?;
        let member = extract_kernel(file, &mut incoming).map_err(|source| CorpusError::Deb {
            package: format!("{} {}", package.package, package.version),
            source,
        })?;
        let Some(Member { path: member, size }) = member else { return Ok(None) };
        let sha256 = incoming.sum();
        if let Some(pin) = entry.sha256.as_ref().filter(|pin| **pin != sha256) {
            return Err(CorpusError::Pin {
                package: package.package.clone(),
                version: package.version.clone(),
                got: sha256.to_string(),
                expected: pin.to_string(),
            });
        }
        let record = Record {
            package: package.package.clone(),
            version: package.version.clone(),
            suite: suite.to_owned(),
            architecture: source.architecture,
            member,
            size,
            sha256,
            package_sha256: package.sha256.clone(),
        };
        let path = self.writer.store(incoming, &Corpus::key(source, suite), &record)?;
        Ok(Some(CachedImage::new(entry, path, record)))
    }
}

fn is_from(image: &CachedImage, record: &PackageRecord) -> bool {
    image.package == record.package
        && image.version == record.version
        && image.package_sha256 == record.sha256
}
