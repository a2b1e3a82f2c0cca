// SPDX-License-Identifier: GPL-2.0-only
//! What can go wrong with the corpus: one line each, with what to do next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::ArchiveError;

/// Why the corpus, or one entry of it, is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The manifest cannot be read or says something that cannot be.
    #[error("{place}: {problem}")]
    Manifest {
        /// The file, and the line of a fragment.
        place: String,
        /// What is wrong, naming the field.
        problem: String,
    },
    /// No set of that name.
    #[error("there is no set `{name}` in the manifest; it has: {known}, and one of each family")]
    UnknownSet {
        /// The name that was asked for.
        name: String,
        /// The names of the sets.
        known: String,
    },
    /// No entry of that name.
    #[error("there is no entry `{0}` in the manifest; `relocheck corpus list` shows them")]
    UnknownEntry(String),
    /// Nobody says where the user's caches are.
    #[error("no folder for the cache: set HOME, or XDG_CACHE_HOME to an absolute path")]
    NoCacheFolder,
    /// A file of the cache cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Cache {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The cache's index does not say what it should.
    #[error("{}: {problem}; remove the file, then run `relocheck corpus fetch`", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The suite `host` on a machine that is not Debian.
    #[error(
        "this machine is not Debian, so the suite `host` says nothing: name a suite in a manifest \
         of your own (--manifest), or check image files"
    )]
    NotDebian,
    /// This machine has no apt, or no source for Debian.
    #[error("{0}: add a source for Debian to this machine's apt, or check image files")]
    NoMirror(String),
    /// Apt did not do its job.
    #[error("{suite} {architecture}: {problem}; check the network, then try again")]
    Apt {
        /// The suite.
        suite: String,
        /// The architecture.
        architecture: String,
        /// What apt says.
        problem: String,
    },
    /// The suite has no such package.
    #[error("{suite} has no package {package}; look for its successor and change the manifest")]
    NoPackage {
        /// The suite.
        suite: String,
        /// The package.
        package: String,
    },
    /// Neither the package nor what it depends on holds a kernel image.
    #[error("{package} of {suite} leads to no kernel image; change the manifest's package")]
    NoKernel {
        /// The suite.
        suite: String,
        /// The package.
        package: String,
    },
    /// A package file is not what the signed index says.
    #[error("{file}: {what} is {got}, the signed index says {expected}; try again later")]
    Mismatch {
        /// The file that was fetched.
        file: String,
        /// Size or SHA-256.
        what: &'static str,
        /// What the file has.
        got: String,
        /// What it should have.
        expected: String,
    },
    /// The image is not the one that the manifest pins.
    #[error(
        "{package} {version} holds an image of SHA-256 {got}, the manifest pins {expected}: the \
         pinned image is gone from the archive; update or remove the pin"
    )]
    Pin {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The sum of the image in it.
        got: String,
        /// The sum in the manifest.
        expected: String,
    },
    /// The archive has removed a package.
    #[error("{package} is gone from the archive: {suite} {how}; take it out of the manifest")]
    Gone {
        /// The suite.
        suite: String,
        /// The package.
        package: String,
        /// What shows that it is gone.
        how: &'static str,
    },
    /// The client of a registry is not there or did not do its job.
    #[error("{package}: {problem}; install {client} if it is missing, else check the network")]
    Registry {
        /// The client.
        client: &'static str,
        /// The package and its version.
        package: String,
        /// What the client says.
        problem: String,
    },
    /// The package does not have the file that the manifest names.
    #[error("{package} has no file `{file}`; change the manifest")]
    NoFile {
        /// The package and its version.
        package: String,
        /// The path in the package.
        file: String,
    },
    /// A package cannot be taken apart.
    #[error("{package}: {source}; try again later")]
    Package {
        /// The package and its version.
        package: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// None of an entry's suites had it: what each of them said.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Everywhere(Vec<CorpusError>),
    /// What concerns several entries.
    #[error("{0}")]
    Shared(Arc<CorpusError>),
}

impl CorpusError {
    /// Whether the image is to be had nowhere any more, so that trying again is in vain.
    pub fn is_gone(&self) -> bool {
        match self {
            CorpusError::Gone { .. } | CorpusError::Pin { .. } => true,
            CorpusError::Everywhere(errors) => errors.iter().all(CorpusError::is_gone),
            _ => false,
        }
    }

    /// For `map_err` on file operations.
    pub(super) fn cache(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> CorpusError + use<> {
        let path = path.to_owned();
        move |source| CorpusError::Cache { action, path, source }
    }
}
