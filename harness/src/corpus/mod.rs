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
pub mod build;
mod cache;
mod deb;
mod error;
mod fetch;
mod manifest;
mod progress;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use cache::Cache;
use cache::Record;
pub use deb::DebError;
pub use error::CorpusError;
use fetch::Fetch;
pub use fetch::{Fetched, How};
pub use manifest::{Architecture, DebianSource, Entry, Manifest, Name, Sha256Sum, Source};
pub use progress::{Progress, Task};

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
    /// The package that holds it.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The suite that the package came from.
    pub suite: String,
    /// The package's architecture.
    pub architecture: Architecture,
    /// The image's path in the package.
    pub member: String,
    /// The image's size in bytes.
    pub size: u64,
    /// The image's sum.
    pub sha256: Sha256Sum,
    /// The package file's sum.
    pub package_sha256: Sha256Sum,
}

impl CachedImage {
    fn new(entry: &Entry, path: PathBuf, record: Record) -> CachedImage {
        CachedImage {
            entry: entry.name.to_string(),
            path,
            package: record.package,
            version: record.version,
            suite: record.suite,
            architecture: record.architecture,
            member: record.member,
            size: record.size,
            sha256: record.sha256,
            package_sha256: record.package_sha256,
        }
    }
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

    /// The entries of a set, in the manifest's order.
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

    /// The image of an entry, if the cache has it and the file is sound (its sum is computed).
    ///
    /// # Errors
    /// The cache cannot be read, or the entry has no suite on this machine.
    pub fn cached(&self, entry: &Entry) -> Result<Option<CachedImage>, CorpusError> {
        let Source::Debian(source) = &entry.source;
        for suite in self.suites(source)? {
            if let Some(image) = self.cached_from(entry, source, &suite)? {
                return Ok(Some(image));
            }
        }
        Ok(None)
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
        let results = Fetch::new(self, progress)?.run(entries);
        Ok(entries.iter().map(|entry| entry.name.to_string()).zip(results).collect())
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

    fn cached_from(
        &self,
        entry: &Entry,
        source: &DebianSource,
        suite: &str,
    ) -> Result<Option<CachedImage>, CorpusError> {
        let found = self.cache.lookup(&Corpus::key(source, suite))?;
        let image = found.map(|(path, record)| CachedImage::new(entry, path, record));
        Ok(image.filter(|image| entry.sha256.as_ref().is_none_or(|pin| *pin == image.sha256)))
    }

    /// The index's key: where the image comes from, so that entries with the same source share it.
    fn key(source: &DebianSource, suite: &str) -> String {
        format!("debian/{suite}/{}/{}", source.architecture, source.package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A corpus with one cached image, which `pin` is put next to in the manifest.
    fn corpus(folder: &Path, host: Option<&str>, suites: &str, pin: &str) -> Corpus {
        let text = format!(
            "schema = 1\n[sets]\nall = [\"one\"]\n[[entry]]\nname = \"one\"\ndescription = \"\"\n\
             source.debian = {{ suites = {suites}, architecture = \"i386\", package = \"linux-x\" }}\n{pin}"
        );
        let manifest = Manifest::parse("test", &text).unwrap();
        Corpus { manifest, cache: Cache::at(folder.to_owned()), host: host.map(str::to_owned) }
    }

    fn store(corpus: &Corpus, key: &str, content: &[u8]) -> Sha256Sum {
        let writer = corpus.cache.writer(|| ()).unwrap();
        let mut incoming = writer.incoming().unwrap();
        incoming.write_all(content).unwrap();
        let record = Record {
            package: String::from("linux-x-1"),
            version: String::from("1-1"),
            suite: String::from("bookworm"),
            architecture: Architecture::I386,
            member: String::from("boot/vmlinuz-1"),
            size: content.len() as u64,
            sha256: incoming.sum(),
            package_sha256: incoming.sum(),
        };
        writer.store(incoming, key, &record).unwrap();
        record.sha256
    }

    fn cached(corpus: &Corpus) -> Option<CachedImage> {
        corpus.cached(corpus.entry("one").unwrap()).unwrap()
    }

    #[test]
    fn the_suite_host_is_the_release_of_the_machine_and_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let suites = |host| {
            let corpus = corpus(folder.path(), host, r#"["host", "bookworm"]"#, "");
            let Source::Debian(source) = &corpus.entry("one").unwrap().source;
            corpus.suites(source).unwrap()
        };
        assert_eq!(suites(Some("trixie")), ["trixie", "bookworm"]);
        assert_eq!(suites(Some("bookworm")), ["bookworm"]);
        assert_eq!(suites(None), ["bookworm"]);
    }

    #[test]
    fn only_the_suite_host_needs_debian() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = corpus(folder.path(), None, r#"["host"]"#, "");
        let error = corpus.cached(corpus.entry("one").unwrap()).unwrap_err();
        assert!(matches!(error, CorpusError::NotDebian));
    }

    #[test]
    fn the_first_suite_with_an_image_serves() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = corpus(folder.path(), None, r#"["sid", "bookworm"]"#, "");
        assert_eq!(cached(&corpus), None);
        let older = store(&corpus, "debian/bookworm/i386/linux-x", b"older");
        assert_eq!(cached(&corpus).unwrap().sha256, older);
        let newer = store(&corpus, "debian/sid/i386/linux-x", b"newer");
        assert_eq!(cached(&corpus).unwrap().sha256, newer);
    }

    #[test]
    fn a_pinned_image_in_the_cache_needs_no_network_and_another_image_does_not_serve() {
        let folder = tempfile::tempdir().unwrap();
        let rolling = corpus(folder.path(), None, r#"["bookworm"]"#, "");
        let sum = store(&rolling, "debian/bookworm/i386/linux-x", b"kernel");

        let pin = format!("sha256 = \"{sum}\"\n");
        let pinned = corpus(folder.path(), None, r#"["bookworm"]"#, &pin);
        let results = pinned.fetch(&pinned.set("all").unwrap(), &Progress::none()).unwrap();
        assert!(matches!(results[0].1, Ok(Fetched { how: How::Current, .. })));

        let other = format!("sha256 = \"{}\"\n", "0".repeat(64));
        assert_eq!(cached(&corpus(folder.path(), None, r#"["bookworm"]"#, &other)), None);
    }
}
