// SPDX-License-Identifier: GPL-2.0-only
//! Which files a command line means: images, kernel build directories, corpus sets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::{Failure, complain};
use crate::campaign::nightly::Named;
use crate::campaign::{ImageFailure, Input};
use crate::corpus::build::Builds;
use crate::corpus::{Corpus, Entry};
use crate::exit::Exit;

/// Where a kernel build leaves its image, for i386 and x86_64 alike (arch/x86/boot/Makefile).
const BUILT: [&str; 2] = ["arch/x86/boot/bzImage", "bzImage"];

/// The images that paths mean: a directory stands for the image that was built in it.
pub fn resolve(paths: &[PathBuf]) -> Result<Vec<Input>, Failure> {
    let input = |path: &PathBuf| {
        if path.is_dir() {
            let name = path.display().to_string();
            return Ok(Input { name, path: built_in(path)?, vmlinux: None });
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Input { name, path: path.clone(), vmlinux: None })
    };
    paths.iter().map(input).collect()
}

/// The paths that a pattern such as `/boot/vmlinuz-*` means, sorted; at least one.
pub fn expand(pattern: &Path) -> Result<Vec<PathBuf>, Failure> {
    let text = pattern.to_string_lossy();
    let paths = glob::glob(&text)
        .map_err(|error| Failure::usage(anyhow!("{text}: not a pattern: {}", error.msg)))?;
    let paths = paths.collect::<Result<Vec<PathBuf>, _>>();
    let paths = paths.map_err(|error| Failure::usage(anyhow!("{error}")))?;
    match paths.is_empty() {
        true => Err(Failure::usage(anyhow!("{text}: there is no such image"))),
        false => Ok(paths),
    }
}

fn built_in(directory: &Path) -> Result<PathBuf, Failure> {
    BUILT.iter().map(|image| directory.join(image)).find(|path| path.is_file()).ok_or_else(|| {
        Failure::usage(anyhow!(
            "{}: a directory without arch/x86/boot/bzImage: build the kernel there, or name a bzImage",
            directory.display()
        ))
    })
}

/// The set of all kernels that `relocheck corpus build` made.
const BUILDS: &str = "builds";

/// The fetched images of a corpus set, each once: entries that follow a suite often mean the image of
/// one that names a version, and the first of them gives the name.
pub fn of_set(set: &str) -> Result<Vec<Input>, Failure> {
    let mut seen = BTreeSet::new();
    let entries = named(set)?;
    if entries.is_empty() {
        let nothing = anyhow!("no kernel is built yet: run `relocheck corpus build`");
        return Err(Failure::cannot_judge(nothing));
    }
    let count = entries.len();
    let image = |image: Named| {
        image.map_err(|(name, failure)| Failure {
            exit: failure.exit,
            error: anyhow!("{name}: {}", failure.message),
        })
    };
    let mut inputs = entries.into_iter().map(image).collect::<Result<Vec<Input>, Failure>>()?;
    inputs.retain(|input| seen.insert(input.path.clone()));
    if inputs.len() < count {
        complain(format_args!("the {count} entries of {set} are {} images", inputs.len()));
    }
    Ok(inputs)
}

/// The images of a corpus set, fetched or not; of the set of builds those that there are.
pub fn named(set: &str) -> Result<Vec<Named>, Failure> {
    if set == BUILDS {
        return builds();
    }
    let corpus = Corpus::open(None).map_err(Failure::usage)?;
    let entries = corpus.set(set).map_err(Failure::usage)?;
    let image = |entry: &Entry| {
        let name = entry.name.to_string();
        let failure = |exit, message| (name.clone(), ImageFailure { message, exit });
        let cached = corpus.cached(entry);
        let cached = cached.map_err(|error| failure(Exit::Usage, error.to_string()))?;
        let message = format!("not fetched yet: run `relocheck corpus fetch {set}`");
        let cached = cached.ok_or_else(|| failure(Exit::CannotJudge, message))?;
        Ok(Input { name: name.clone(), path: cached.path, vmlinux: None })
    };
    Ok(entries.into_par_iter().map(image).collect())
}

/// The cached builds of the built-in matrix, but for those that are not relocatable: they are there to be refused.
fn builds() -> Result<Vec<Named>, Failure> {
    let builds = Builds::open(None).map_err(Failure::cannot_judge)?;
    let mut named = Vec::new();
    let mut absent = 0;
    for build in builds.select(&[]).map_err(Failure::cannot_judge)? {
        match builds.get(&build).map_err(Failure::cannot_judge)? {
            Some(cached) if build.family.is_relocatable() => {
                let (name, path) = (build.name(), cached.image());
                named.push(Ok(Input { name, path, vmlinux: None }));
            }
            Some(_) => {}
            None => absent += 1,
        }
    }
    if absent > 0 {
        complain(format_args!("{absent} builds of the matrix are not built yet, and not checked"));
    }
    Ok(named)
}
