// SPDX-License-Identifier: GPL-2.0-only
//! Why a kernel was not built.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::corpus::CorpusError;

/// Why a kernel was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file of the matrix, the cache, or the archive.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The matrix has nothing of that name.
    #[error(
        "nothing to build is called `{name}`; there are the series {series} and the variants \
         {variants}, and `relocheck corpus build --list` shows all names"
    )]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The series of the matrix.
        series: String,
        /// The variants of the matrix.
        variants: String,
    },
    /// Programs or headers that a build needs.
    #[error("{what} not installed: apt-get install {packages}")]
    Missing {
        /// What is missing, with its verb.
        what: String,
        /// The packages that have it.
        packages: String,
    },
    /// A tool that a build needs does not run.
    #[error("`{command}` {problem}")]
    Tool {
        /// The command.
        command: String,
        /// What happened to it.
        problem: String,
    },
    /// A source package does not hold what it should.
    #[error("{package}: {problem}")]
    Source {
        /// The package.
        package: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A patch has no place in the source.
    #[error("{patch} does not fit the source: {file}: {problem}")]
    Patch {
        /// The patch.
        patch: String,
        /// The file of the source.
        file: String,
        /// Which hunk it is.
        problem: String,
    },
    /// The kernel's configuration did not come out as the fragments ask.
    #[error(
        "{} asks for `{asked}`, but the kernel's own rules make it `{got}`", fragment.display()
    )]
    Config {
        /// The fragment.
        fragment: PathBuf,
        /// The line of the fragment.
        asked: String,
        /// What the configuration has.
        got: String,
    },
    /// The kernel did not build.
    #[error("`make {target}` failed; the end of {}:\n{tail}", log.display())]
    Make {
        /// The target.
        target: String,
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The build left no such file.
    #[error("the build left no {}", .0.display())]
    NoFile(PathBuf),
    /// What concerns several builds.
    #[error(transparent)]
    Shared(Arc<BuildError>),
}

impl BuildError {
    /// For `map_err` on file operations.
    pub(super) fn file(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> BuildError + use<> {
        let error = CorpusError::cache(action, path);
        move |source| BuildError::Corpus(error(source))
    }
}
