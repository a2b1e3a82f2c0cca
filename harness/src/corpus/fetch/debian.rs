// SPDX-License-Identifier: GPL-2.0-only
//! Fetches images out of packages of the Debian archive.

use std::sync::{Arc, PoisonError};

use super::{Asked, Fetch, Fetched, How, Origin};
use crate::corpus::apt::{Host, PackageRecord, Suite, candidates};
use crate::corpus::archive::{Wanted, extract_deb};
use crate::corpus::cache::Record;
use crate::corpus::manifest::Entry;
use crate::corpus::progress::Task;
use crate::corpus::source::{Architecture, DebianSource};
use crate::corpus::{CachedImage, CorpusError};

impl Fetch<'_> {
    pub(super) fn debian(
        &self,
        entry: &Entry,
        source: &DebianSource,
        task: &Task,
    ) -> Result<Fetched, CorpusError> {
        let mut refusals = Vec::new();
        for suite in self.corpus.suites(source)? {
            match self.try_suite(entry, source, &suite, task) {
                Ok(fetched) => return Ok(fetched),
                Err(error) => match self.corpus.cached_at(entry, &source.key(&suite))? {
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
        let package = source.package.as_str();
        let mut packages = candidates(offer.records(), package);
        if source.file.is_some() {
            packages.retain(|record| record.package == package);
        }
        if packages.is_empty() {
            let (suite, package) = (suite.to_owned(), package.to_owned());
            return Err(match entry.sha256 {
                Some(_) => CorpusError::Gone { suite, package, how: "lists it no longer" },
                None => CorpusError::NoPackage { suite, package },
            });
        }
        let cached = self.corpus.cached_at(entry, &source.key(suite))?;
        let current = cached.filter(|image| packages.iter().any(|record| is_from(image, record)));
        if let Some(image) = current {
            return Ok(Fetched { image, how: How::Current });
        }
        for record in packages {
            if let Some(fetched) = self.try_package(entry, source, offer, suite, record, task)? {
                return Ok(fetched);
            }
        }
        Err(CorpusError::NoKernel { suite: suite.to_owned(), package: package.to_owned() })
    }

    fn ask(&self, suite: &str, architecture: Architecture) -> Asked {
        let mut suites = self.suites.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(suites.entry((suite.to_owned(), architecture)).or_default())
    }

    fn open(&self, suite: &str, architecture: Architecture) -> Result<Suite, Arc<CorpusError>> {
        let mirror = Host::read().and_then(|host| host.mirror(suite));
        let root = self.corpus.cache.root().join("apt").join(format!("{suite}-{architecture}"));
        mirror
            .and_then(|mirror| Suite::open(root, &mirror, suite, architecture, &self.packages))
            .map_err(Arc::new)
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
    ) -> Result<Option<Fetched>, CorpusError> {
        let turn = self.turn(package.sha256.as_str());
        let mut turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = self.same_package(entry, source, suite, package)? {
            return Ok(Some(Fetched { image, how: How::Shared }));
        }
        let (download, how) = match turn.take() {
            Some(download) => (download, How::Shared),
            None => {
                let folder = self.download_folder(package.sha256.as_str())?;
                let download = offer.download(package, folder, task)?;
                self.progress.downloaded(package.size);
                (download, How::Downloaded(package.size))
            }
        };
        task.stage(format!("taking the image out of {}", package.package));
        let origin = Origin {
            key: source.key(suite),
            package: &package.package,
            version: &package.version,
            suite,
            architecture: source.architecture,
            package_sha256: package.sha256.clone(),
        };
        let wanted = wanted(source);
        let image = self
            .take_out(entry, origin, download.path(), |file, out| extract_deb(file, wanted, out))?;
        if self.again.contains(package.package.as_str()) {
            *turn = Some(download);
        }
        Ok(image.map(|image| Fetched { image, how }))
    }

    /// The image that another entry has from the same package file, now this one's, too.
    fn same_package(
        &self,
        entry: &Entry,
        source: &DebianSource,
        suite: &str,
        package: &PackageRecord,
    ) -> Result<Option<CachedImage>, CorpusError> {
        let wanted = wanted(source);
        let found = self.corpus.cache.find(|_, record| {
            record.package_sha256 == package.sha256
                && wanted.matches(&record.member)
                && entry.accepts(&record.sha256)
        })?;
        let Some((path, record)) = found else { return Ok(None) };
        let record = Record { suite: suite.to_owned(), ..record };
        self.writer.enter(&source.key(suite), &record)?;
        Ok(Some(CachedImage { entry: entry.name.to_string(), path, record }))
    }
}

fn wanted(source: &DebianSource) -> Wanted<'_> {
    match &source.file {
        Some(file) => Wanted::File(file),
        None if source.vmlinux => Wanted::Vmlinux,
        None => Wanted::Kernel,
    }
}

fn is_from(image: &CachedImage, package: &PackageRecord) -> bool {
    image.record.package == package.package
        && image.record.version == package.version
        && image.record.package_sha256 == package.sha256
}
