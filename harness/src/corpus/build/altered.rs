// SPDX-License-Identifier: GPL-2.0-only
//! Makes kernels of the matrix with a patch to their source: all that share a family in one tree, so
//! that make only repeats what a patch concerns. The kernel without a patch, the twin, comes first.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::matrix::{Build, Family};
use super::patch::Patch;
use super::patched_source::PatchedSource;
use super::recipe::{altered_digest, family_digest};
use super::run::{Built, Results, Run, keep};
use super::source::Sources;
use super::store::{CachedBuild, Store};
use super::tools::{self, Toolchain};
use super::tree::Tree;
use super::{BuildError, Builds, Options, State};
use crate::corpus::Progress;

/// The table that make does not renew when only the program that makes it has changed.
const TABLE: &str = "arch/x86/boot/compressed/vmlinux.relocs";

/// The folder of that program.
const TABLE_PROGRAM: &str = "arch/x86/tools/";

/// A kernel of the matrix, with a patch.
#[derive(Clone, Copy, Debug)]
pub struct Altered<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The kernel without the patch.
    pub twin: Build<'a>,
    /// The patch.
    pub patch: &'a Patch,
}

impl Builds {
    /// A patched kernel, if it is in the cache, current or not.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn get_altered(&self, altered: &Altered<'_>) -> Result<Option<CachedBuild>, BuildError> {
        Store::of_altered(&self.cache).cached(altered.name)
    }

    /// Whether a patched kernel is cached, and current.
    ///
    /// # Errors
    /// The cache cannot be read, or the compiler does not run.
    pub fn state_altered(&self, altered: &Altered<'_>) -> Result<State, BuildError> {
        let Some(cached) = self.get_altered(altered)? else { return Ok(State::Absent) };
        let family = altered.twin.family;
        let source = Sources::of(&self.cache).cached(&family.source.package)?;
        let source = source.map_or_else(|| cached.record.source.clone(), |source| source.record);
        let toolchain = Toolchain::of(family.compiler)?;
        let digest = altered_digest(&altered.twin, altered.patch, &source, &toolchain);
        match digest == cached.record.digest {
            true => Ok(State::Current(cached)),
            false => Ok(State::Outdated(cached)),
        }
    }

    /// Makes the patched kernels that are not cached or not current, and their twins, and returns a
    /// result for each: family by family, each twin before what differs from it. Their trees stay in
    /// the cache for the next patch.
    ///
    /// # Errors
    /// What every build needs is missing, or the cache cannot be written.
    pub fn run_altered(
        &self,
        altered: &[Altered<'_>],
        options: Options,
        progress: &Progress,
    ) -> Result<Results, BuildError> {
        let run = Run::begin(self, options, progress)?;
        Store::of_altered(&self.cache).remove_incoming()?;
        let steps = steps(altered);
        let count = steps.len();
        let mut bench =
            Bench { run, altered: Store::of_altered(&self.cache), trees: BTreeMap::new() };
        let mut results = Vec::with_capacity(count);
        for (done, step) in steps.iter().enumerate() {
            let result = bench.build(step, &format!("[{}/{count}]", done + 1));
            results.push((step.name(), result));
        }
        Ok(results)
    }
}

/// A kernel to make: a twin, or one with a patch.
#[derive(Clone, Copy)]
struct Step<'a> {
    build: Build<'a>,
    altered: Option<Altered<'a>>,
}

impl Step<'_> {
    fn name(&self) -> String {
        self.altered.map_or_else(|| self.build.name(), |altered| altered.name.to_owned())
    }
}

/// Families in the order in which they are first named, and each twin before what differs from it.
fn steps<'a>(altered: &[Altered<'a>]) -> Vec<Step<'a>> {
    let mut twins: Vec<Build<'a>> = Vec::new();
    for one in altered {
        if !twins.iter().any(|twin| twin.name() == one.twin.name()) {
            let family = &one.twin.family.name;
            let after = twins.iter().rposition(|twin| twin.family.name == *family);
            twins.insert(after.map_or(twins.len(), |last| last + 1), one.twin);
        }
    }
    let mut steps = Vec::new();
    for twin in twins {
        steps.push(Step { build: twin, altered: None });
        let same = altered.iter().filter(|one| one.twin.name() == twin.name());
        steps.extend(same.map(|one| Step { build: twin, altered: Some(*one) }));
    }
    steps
}

/// Where patched kernels are made.
struct Bench<'a> {
    run: Run<'a>,
    altered: Store,
    trees: BTreeMap<String, Place>,
}

/// A tree with the source that it is made from.
struct Place {
    source: PatchedSource,
    tree: Tree,
}

impl Bench<'_> {
    fn build(&mut self, step: &Step<'_>, position: &str) -> Result<Built, BuildError> {
        let state = match &step.altered {
            Some(altered) => self.run.builds.state_altered(altered)?,
            None => self.run.builds.state(&step.build)?,
        };
        if let State::Current(cached) = state {
            return Ok(Built { build: cached, took: None });
        }
        tools::check(step.build.family.compiler, step.build.compressor)?;
        let source = self.run.source(step.build.family)?;
        let toolchain = Toolchain::of(step.build.family.compiler)?;
        let name = step.name();
        let place = self.place(step.build, &source, &toolchain)?;
        let written = place.source.set(step.altered.map(|altered| altered.patch))?;
        if written.iter().any(|file| file.starts_with(TABLE_PROGRAM)) {
            forget(&place.tree)?;
        }
        let place = &self.trees[&step.build.family.name];
        self.run.timed(position, &name, |run| {
            let log = run.log(&name)?;
            place.tree.build(&step.build, &log)?;
            match &step.altered {
                None => keep(&run.store, &place.tree, &step.build, None, &source, toolchain, None),
                Some(altered) => {
                    let twin = run.store.cached(&step.build.name())?;
                    let name = Some(altered);
                    let twin = twin.as_ref();
                    keep(&self.altered, &place.tree, &step.build, name, &source, toolchain, twin)
                }
            }
        })
    }

    fn place(
        &mut self,
        build: Build<'_>,
        source: &super::source::Source,
        toolchain: &Toolchain,
    ) -> Result<&Place, BuildError> {
        let Family { name, .. } = build.family;
        if !self.trees.contains_key(name) {
            let trees = self.run.store.root().join("trees");
            let folder = trees.join(format!("source-{}", source.record.package));
            let patched = PatchedSource::open(source, folder)?;
            let digest = family_digest(&build, &source.record, toolchain);
            let folder = trees.join(format!("altered-{name}"));
            let from = patched.folder().to_owned();
            let tree = Tree::open(folder, from, &digest, self.run.options.jobs, self.run.lock()?)?;
            self.trees.insert(name.clone(), Place { source: patched, tree });
        }
        Ok(&self.trees[name])
    }
}

/// Has make derive the relocation table again.
fn forget(tree: &Tree) -> Result<(), BuildError> {
    let table = tree.folder().join(TABLE);
    match fs::remove_file(&table) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BuildError::file("remove", &table)(error))
        }
        _ => Ok(()),
    }
}
