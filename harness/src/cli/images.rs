// SPDX-License-Identifier: GPL-2.0-only
//! Which files a command line means: images, kernel build directories, corpus sets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::Failure;
use crate::campaign::Input;
use crate::corpus::Corpus;

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

/// The fetched images of a corpus set, each once: entries that follow a suite often mean the image of
/// one that names a version, and the first of them gives the name.
pub fn of_set(set: &str) -> Result<Vec<Input>, Failure> {
    let corpus = Corpus::open(None).map_err(Failure::usage)?;
    let entries = corpus.set(set).map_err(Failure::usage)?;
    let named = entries.len();
    let mut seen = BTreeSet::new();
    let inputs = entries
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
        .filter(|input| input.as_ref().map_or(true, |input| seen.insert(input.path.clone())))
        .collect::<Result<Vec<_>, Failure>>()?;
    if inputs.len() < named {
        eprintln!("relocheck: the {named} entries of {set} are {} images", inputs.len());
    }
    Ok(inputs)
}
