// SPDX-License-Identifier: GPL-2.0-only
//! Makes the builds that are not cached: family by family, each in one tree.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::matrix::{Build, Family};
use super::recipe::{altered_digest, build_digest, family_digest, make_arguments};
use super::source::{Source, SourceRecord, Sources};
use super::store::{BuildRecord, CachedBuild, SCHEMA, Store};
use super::tools::{self, Toolchain};
use super::tree::Tree;
use super::{Altered, BuildError, Builds, State};
use crate::corpus::{Name, Progress};

/// How to build.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Compilers that run at the same time.
    pub jobs: NonZero<usize>,
    /// Whether to ask Debian for newer sources than those in the cache.
    pub update: bool,
}

/// A build, and whether it was made just now.
#[derive(Clone, Debug)]
pub struct Built {
    /// The build in the cache.
    pub build: CachedBuild,
    /// How long it took; `None` where the cache had it.
    pub took: Option<Duration>,
}

impl Builds {
    /// Makes the builds that are not cached or not current, and returns a result for each in the
    /// same order. A build that fails does not keep others from being made.
    ///
    /// # Errors
    /// What every build needs is missing, or the cache cannot be written.
    pub fn run(
        &self,
        builds: &[Build<'_>],
        options: Options,
        progress: &Progress,
    ) -> Result<Results, BuildError> {
        let mut run = Run::begin(self, options, progress)?;
        if options.update {
            for build in builds {
                // What it says, whoever needs the source will say.
                let _ = run.source(build.family);
            }
        }
        let count = builds.len();
        let mut results = Vec::with_capacity(count);
        for (done, build) in builds.iter().enumerate() {
            let result = run.build(build, &format!("[{}/{count}]", done + 1));
            results.push((build.name(), result));
        }
        run.close_tree(None)?;
        Ok(results)
    }
}

/// What became of each kernel, by its name.
pub type Results = Vec<(String, Result<Built, BuildError>)>;

/// Takes the builders' lock, which ends with the value.
fn lock(store: &Store, progress: &Progress) -> Result<File, BuildError> {
    let root = store.root();
    fs::create_dir_all(root).map_err(BuildError::file("create", root))?;
    let path = root.join("lock");
    let lock = OpenOptions::new().read(true).append(true).create(true).open(&path);
    let lock = lock.map_err(BuildError::file("create", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.note("another relocheck is building: waiting for it to end");
            lock.lock().map_err(BuildError::file("lock", &path))?;
        }
        Err(TryLockError::Error(error)) => return Err(BuildError::file("lock", &path)(error)),
    }
    Ok(lock)
}

type Fetched = Result<Source, Arc<BuildError>>;

/// What the builds of a run share.
pub struct Run<'a> {
    pub builds: &'a Builds,
    pub options: Options,
    progress: &'a Progress,
    pub store: Store,
    lock: File,
    sources: BTreeMap<Name, Fetched>,
    tree: Option<OpenTree>,
    start: Instant,
}

/// The tree of the family at hand.
struct OpenTree {
    family: String,
    tree: Tree,
    /// The last build that was made in it.
    last: Option<CachedBuild>,
    failed: bool,
}

impl<'a> Run<'a> {
    /// Begins a run, when nobody else builds any more.
    ///
    /// # Errors
    /// What every build needs is missing, or the cache cannot be written.
    pub fn begin(
        builds: &'a Builds,
        options: Options,
        progress: &'a Progress,
    ) -> Result<Run<'a>, BuildError> {
        tools::check_always()?;
        let store = Store::of(&builds.cache);
        let lock = lock(&store, progress)?;
        store.remove_incoming()?;
        Sources::of(&builds.cache).remove_incoming()?;
        let (sources, start) = (BTreeMap::new(), Instant::now());
        Ok(Run { builds, options, progress, store, lock, sources, tree: None, start })
    }

    fn build(&mut self, build: &Build<'_>, position: &str) -> Result<Built, BuildError> {
        if let State::Current(cached) = self.builds.state(build)? {
            return Ok(Built { build: cached, took: None });
        }
        tools::check(build.family.compiler, build.compressor)?;
        let name = build.name();
        let source = self.source(build.family)?;
        self.timed(position, &name, |run| run.make(build, &source))
    }

    /// Makes a kernel, and says how long it took.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn timed(
        &mut self,
        position: &str,
        name: &str,
        make: impl FnOnce(&mut Self) -> Result<CachedBuild, BuildError>,
    ) -> Result<Built, BuildError> {
        let begin = Instant::now();
        let task = self.progress.task(position);
        task.stage(name.to_owned());
        let result = make(self);
        drop(task);
        let (word, took) = (if result.is_ok() { "built" } else { "failed" }, begin.elapsed());
        self.progress.note(&format!(
            "{position} {name}: {word} after {} s, {} s in all",
            took.as_secs(),
            self.start.elapsed().as_secs()
        ));
        Ok(Built { build: result?, took: Some(took) })
    }

    /// The file for what make prints for a kernel.
    ///
    /// # Errors
    /// Its folder cannot be created.
    pub fn log(&self, name: &str) -> Result<PathBuf, BuildError> {
        let logs = self.store.root().join("logs");
        fs::create_dir_all(&logs).map_err(BuildError::file("create", &logs))?;
        Ok(logs.join(format!("{name}.log")))
    }

    /// The builders' lock once more, for a child to hold.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn lock(&self) -> Result<File, BuildError> {
        self.lock.try_clone().map_err(BuildError::file("use", self.store.root()))
    }

    /// The source of a family, asked for once in a run.
    ///
    /// # Errors
    /// Nobody has it.
    pub fn source(&mut self, family: &Family) -> Result<Source, BuildError> {
        let fetched = match self.sources.get(&family.series) {
            Some(fetched) => fetched.clone(),
            None => {
                let fetched = self.find_source(family).map_err(Arc::new);
                self.sources.insert(family.series.clone(), fetched.clone());
                fetched
            }
        };
        fetched.map_err(BuildError::Shared)
    }

    fn find_source(&self, family: &Family) -> Result<Source, BuildError> {
        let sources = Sources::of(&self.builds.cache);
        let cached = sources.cached(&family.source.package)?;
        if !self.options.update
            && let Some(source) = cached
        {
            return Ok(source);
        }
        match (sources.newest(&family.source, self.progress), cached) {
            (Err(error), Some(source)) => {
                let SourceRecord { package, version, .. } = &source.record;
                self.progress.note(&format!("using {package} {version}, which is there: {error}"));
                Ok(source)
            }
            (newest, _) => newest,
        }
    }

    fn make(&mut self, build: &Build<'_>, source: &Source) -> Result<CachedBuild, BuildError> {
        let toolchain = Toolchain::of(build.family.compiler)?;
        let log = self.log(&build.name())?;
        let mut open = self.tree_of(build, source, &toolchain)?;
        let made = open.tree.build(build, &log);
        let last = open.last.as_ref();
        let kept =
            made.and_then(|()| keep(&self.store, &open.tree, build, None, source, toolchain, last));
        match &kept {
            Ok(build) => open.last = Some(build.clone()),
            Err(_) => open.failed = true,
        }
        self.tree = Some(open);
        kept
    }

    /// The tree of a build's family: the one at hand, or another after that is closed.
    fn tree_of(
        &mut self,
        build: &Build<'_>,
        source: &Source,
        toolchain: &Toolchain,
    ) -> Result<OpenTree, BuildError> {
        self.close_tree(Some(&build.family.name))?;
        if let Some(open) = self.tree.take() {
            return Ok(open);
        }
        let family = build.family.name.clone();
        let folder: PathBuf = self.store.root().join("trees").join(&family);
        let digest = family_digest(build, &source.record, toolchain);
        let (from, jobs) = (source.tree.clone(), self.options.jobs);
        let tree = Tree::open(folder, from, &digest, jobs, self.lock()?)?;
        Ok(OpenTree { family, tree, last: None, failed: false })
    }

    /// Removes the tree unless it is that of the family `keep`. Where a build failed it stays, to
    /// be looked at and gone on with.
    fn close_tree(&mut self, keep: Option<&str>) -> Result<(), BuildError> {
        match self.tree.take_if(|open| keep != Some(&open.family)) {
            Some(open) if !open.failed => open.tree.remove(),
            _ => Ok(()),
        }
    }
}

/// Keeps what was built in `tree`, of a patched source if it is an altered kernel. Files that are equal
/// to those of `other` are stored once.
pub fn keep(
    store: &Store,
    tree: &Tree,
    build: &Build<'_>,
    altered: Option<&Altered<'_>>,
    source: &Source,
    toolchain: Toolchain,
    other: Option<&CachedBuild>,
) -> Result<CachedBuild, BuildError> {
    let (name, digest) = match altered {
        None => (build.name(), build_digest(build, &source.record, &toolchain)),
        Some(altered) => (
            altered.name.to_owned(),
            altered_digest(build, altered.patch, &source.record, &toolchain),
        ),
    };
    let record = BuildRecord {
        schema: SCHEMA,
        name,
        digest,
        arguments: make_arguments(build),
        source: source.record.clone(),
        toolchain,
        files: BTreeMap::new(),
    };
    store.keep(tree.folder(), record, other)
}
