// SPDX-License-Identifier: GPL-2.0-only
//! Fetches images out of crates.

use std::sync::PoisonError;

use super::{Fetch, Fetched, How, Origin};
use crate::corpus::CorpusError;
use crate::corpus::archive::extract_crate;
use crate::corpus::cargo;
use crate::corpus::manifest::Entry;
use crate::corpus::progress::Task;
use crate::corpus::source::RegistrySource;

impl Fetch<'_> {
    pub(super) fn crates(
        &self,
        entry: &Entry,
        source: &RegistrySource,
        task: &Task,
    ) -> Result<Fetched, CorpusError> {
        let (package, version) = (source.package.as_str(), source.version.as_str());
        // A version of a crate never changes: there is nothing to ask.
        if let Some(image) = self.corpus.cached(entry)? {
            return Ok(Fetched { image, how: How::Current });
        }
        let name = format!("crate-{package}-{version}");
        let turn = self.turn(&name);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        task.stage(format!("asking cargo for {package} {version}"));
        let download = cargo::download(package, version, self.download_folder(&name)?)?;
        self.progress.downloaded(download.size());
        let origin = Origin {
            key: source.key(cargo::REGISTRY),
            package,
            version,
            suite: cargo::REGISTRY,
            architecture: source.architecture,
            package_sha256: download.sum()?,
        };
        let image = self.take_out(entry, origin, download.path(), |file, out| {
            extract_crate(file, &source.file, out)
        })?;
        let image = image.ok_or_else(|| CorpusError::NoFile {
            package: format!("crate {package} {version}"),
            file: source.file.as_str().to_owned(),
        })?;
        Ok(Fetched { image, how: How::Downloaded(download.size()) })
    }
}
