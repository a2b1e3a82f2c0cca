// SPDX-License-Identifier: GPL-2.0-only
//! Makes the builds that are not cached: family by family, each in one tree.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::matrix::{Build, Family};
use super::recipe::{build_digest, family_digest, make_arguments};
use super::source::{Source, SourceRecord, Sources};
use super::store::{BuildRecord, CachedBuild, SCHEMA, Store};
use super::tools::{self, Toolchain};
use super::tree::Tree;
use super::{BuildError, Builds, State};
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
    #[expect(
        clippy::type_complexity,
        reason = "a name would only hide that it is a list of results"
    )]
    pub fn run(
        &self,
        builds: &[Build<'_>],
        options: Options,
        progress: &Progress,
    ) -> Result<Vec<(String, Result<Built, BuildError>)>, BuildError> {
        tools::check_always()?;
        let store = Store::of(&self.cache);
        let lock = lock(&store, progress)?;
        store.remove_incoming()?;
        Sources::of(&self.cache).remove_incoming()?;
        let mut run = Run {
            builds: self,
            options,
            progress,
            store,
            lock,
            sources: BTreeMap::new(),
            tree: None,
            start: Instant::now(),
        };
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

struct Run<'a> {
    builds: &'a Builds,
    options: Options,
    progress: &'a Progress,
    store: Store,
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

impl Run<'_> {
    fn build(&mut self, build: &Build<'_>, position: &str) -> Result<Built, BuildError> {
        if let State::Current(cached) = self.builds.state(build)? {
            return Ok(Built { build: cached, took: None });
        }
        tools::check(build.family.compiler, build.compressor)?;
        let name = build.name();
        let source = self.source(build.family)?;
        let begin = Instant::now();
        let task = self.progress.task(position);
        task.stage(name.clone());
        let result = self.make(build, &source);
        drop(task);
        let (word, took) = (if result.is_ok() { "built" } else { "failed" }, begin.elapsed());
        self.progress.note(&format!(
            "{position} {name}: {word} after {} s, {} s in all",
            took.as_secs(),
            self.start.elapsed().as_secs()
        ));
        Ok(Built { build: result?, took: Some(took) })
    }

    /// The source of a family, asked for once in a run.
    fn source(&mut self, family: &Family) -> Result<Source, BuildError> {
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
        let name = build.name();
        let logs = self.store.root().join("logs");
        fs::create_dir_all(&logs).map_err(BuildError::file("create", &logs))?;
        let mut open = self.tree_of(build, source, &toolchain)?;
        let made = open.tree.build(build, &logs.join(format!("{name}.log")));
        let kept = made.and_then(|()| {
            let record = BuildRecord {
                schema: SCHEMA,
                name,
                digest: build_digest(build, &source.record, &toolchain),
                arguments: make_arguments(build),
                source: source.record.clone(),
                toolchain,
                files: BTreeMap::new(),
            };
            self.store.keep(open.tree.folder(), record, open.last.as_ref())
        });
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
        let lock = self.lock.try_clone().map_err(BuildError::file("use", self.store.root()))?;
        let tree = Tree::open(folder, source.tree.clone(), &digest, self.options.jobs, lock)?;
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
