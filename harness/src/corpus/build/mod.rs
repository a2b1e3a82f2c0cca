// SPDX-License-Identifier: GPL-2.0-only
//! Kernels that nobody ships, made from Debian's kernel sources: a matrix of series, word sizes,
//! options, compilers and compressors says which, and the cache keeps them with all that belongs
//! to them.
//!
//! ```no_run
//! use relocheck::corpus::build::Builds;
//!
//! for build in Builds::open(None)?.cached()? {
//!     println!("{}: {}, {}", build.name(), build.image().display(), build.vmlinux().display());
//! }
//! # Ok::<(), relocheck::corpus::build::BuildError>(())
//! ```

mod altered;
mod builtin;
mod config;
mod document;
mod error;
mod folder;
mod matrix;
mod patch;
mod patched_source;
mod recipe;
mod run;
mod source;
mod store;
mod tools;
mod tree;

use std::path::Path;

pub use altered::Altered;
pub use document::{Arch, Compiler, Compressor, SourceSpec};
pub use error::BuildError;
pub use matrix::{Build, Family};
pub use patch::Patch;
pub use recipe::ENVIRONMENT;
pub use run::{Built, Options};
pub use source::SourceRecord;
pub use store::{BuildRecord, CachedBuild, FileRecord};
pub use tools::Toolchain;

use super::Cache;
use matrix::Matrix;
use source::Sources;
use store::Store;

/// A matrix together with the user's cache of what was built of it.
pub struct Builds {
    matrix: Matrix,
    cache: Cache,
}

/// What is known of a build without making it.
#[derive(Clone, Debug)]
pub enum State {
    /// It is cached, and would come out the same.
    Current(CachedBuild),
    /// It is cached, but its source, its configuration or a tool has changed since.
    Outdated(CachedBuild),
    /// It is not cached.
    Absent,
}

impl Builds {
    /// Opens a matrix file, or the built-in matrix, with the user's cache. Nothing is created.
    ///
    /// # Errors
    /// The matrix is unusable, or there is no folder for caches.
    pub fn open(matrix: Option<&Path>) -> Result<Builds, BuildError> {
        Ok(Builds { matrix: Matrix::load(matrix)?, cache: Cache::of_user()? })
    }

    /// The builds that `words` mean: names of builds, families, series and variants. Without
    /// words all are meant.
    ///
    /// # Errors
    /// A word that means nothing.
    pub fn select(&self, words: &[String]) -> Result<Vec<Build<'_>>, BuildError> {
        self.matrix.select(words)
    }

    /// Every build of the matrix that is in the cache, current or not.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn cached(&self) -> Result<Vec<CachedBuild>, BuildError> {
        self.matrix.builds().filter_map(|build| self.get(&build).transpose()).collect()
    }

    /// A build, if it is in the cache, current or not.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn get(&self, build: &Build<'_>) -> Result<Option<CachedBuild>, BuildError> {
        Store::of(&self.cache).cached(&build.name())
    }

    /// Whether a build is cached, and current.
    ///
    /// # Errors
    /// The cache cannot be read, or the compiler does not run.
    pub fn state(&self, build: &Build<'_>) -> Result<State, BuildError> {
        let Some(cached) = self.get(build)? else { return Ok(State::Absent) };
        let source = Sources::of(&self.cache).cached(&build.family.source.package)?;
        // A source that is not there any more cannot have changed.
        let source = source.map_or_else(|| cached.record.source.clone(), |source| source.record);
        let toolchain = Toolchain::of(build.family.compiler)?;
        let digest = recipe::build_digest(build, &source, &toolchain);
        if digest == cached.record.digest {
            Ok(State::Current(cached))
        } else {
            Ok(State::Outdated(cached))
        }
    }
}
