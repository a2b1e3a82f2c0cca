// SPDX-License-Identifier: GPL-2.0-only
//! Which files a command line means: images, kernel build directories, corpus sets.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{Failure, complain};
use crate::campaign::Input;
use crate::corpus::Corpus;
use crate::corpus::build::Builds;

/// Where a kernel build leaves its image, for i386 and x86_64 alike (arch/x86/boot/Makefile).
const BUILT: [&str; 2] = ["arch/x86/boot/bzImage", "bzImage"];

/// The images that paths mean: a directory stands for the image that was built in it.
pub fn resolve(paths: &[PathBuf]) -> Result<Vec<Input>, Failure> {
    let input = |path: &PathBuf| {
        if path.is_dir() {
            return Ok(Input { name: path.display().to_string(), path: built_in(path)? });
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Input { name, path: path.clone() })
    };
    paths.iter().map(input).collect()
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

/// The fetched images of a corpus set.
pub fn of_set(set: &str) -> Result<Vec<Input>, Failure> {
    if set == BUILDS {
        return of_builds();
    }
    let corpus = Corpus::open(None).map_err(Failure::usage)?;
    let entries = corpus.set(set).map_err(Failure::usage)?;
    entries
        .into_iter()
        .map(|entry| {
            let cached = corpus.cached(entry).map_err(Failure::usage)?.ok_or_else(|| {
                Failure::cannot_judge(anyhow!(
                    "{}: not fetched yet: run `relocheck corpus fetch {set}`",
                    entry.name
                ))
            })?;
            Ok(Input { name: entry.name.to_string(), path: cached.path })
        })
        .collect()
}

/// The cached builds of the built-in matrix, but for those that are not relocatable: they are there to be refused.
fn of_builds() -> Result<Vec<Input>, Failure> {
    let builds = Builds::open(None).map_err(Failure::cannot_judge)?;
    let mut inputs = Vec::new();
    let mut absent = 0;
    for build in builds.select(&[]).map_err(Failure::cannot_judge)? {
        match builds.get(&build).map_err(Failure::cannot_judge)? {
            Some(cached) if build.family.is_relocatable() => {
                inputs.push(Input { name: build.name(), path: cached.image() });
            }
            Some(_) => {}
            None => absent += 1,
        }
    }
    if inputs.is_empty() {
        return Err(Failure::cannot_judge(anyhow!(
            "no kernel is built yet: run `relocheck corpus build`"
        )));
    }
    if absent > 0 {
        complain(format_args!("{absent} builds of the matrix are not built yet, and not checked"));
    }
    Ok(inputs)
}
