// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus verify` and `prune`: looks after the cache.

use std::io::{self, Write};

use anyhow::Context;
use indicatif::HumanBytes;

use super::classify;
use crate::cli::Failure;
use crate::corpus::{Corpus, Progress, State};
use crate::exit::Exit;

/// Compares the images of a set with their sums.
pub(super) fn verify(corpus: &Corpus, set: &str) -> Result<Exit, Failure> {
    let entries = corpus.set(set).map_err(classify)?;
    let states = corpus.verify(&entries).map_err(classify)?;
    let mut out = io::stdout().lock();
    let (mut sound, mut corrupt, mut gone) = (0, 0, 0);
    for (name, state) in &states {
        let line = match state {
            State::Sound(_) => {
                sound += 1;
                continue;
            }
            State::Corrupt { path, sum } => {
                corrupt += 1;
                format!("{name}: corrupt: {} has the SHA-256 sum {sum}", path.display())
            }
            State::Gone => {
                gone += 1;
                format!("{name}: not cached")
            }
        };
        writeln!(out, "{line}").context("standard output")?;
    }
    writeln!(out, "{set}: {sound} sound, {corrupt} corrupt, {gone} not cached")
        .context("standard output")?;
    Ok(match (corrupt, gone) {
        (0, 0) => Exit::Conforms,
        (0, _) => Exit::CannotJudge,
        _ => Exit::Diverges,
    })
}

/// Removes what nothing refers to.
pub(super) fn prune(corpus: &Corpus, dry_run: bool) -> Result<Exit, Failure> {
    let pruned = corpus.prune(dry_run, &Progress::to_stderr()).map_err(classify)?;
    let mut out = io::stdout().lock();
    for (path, size) in &pruned.files {
        writeln!(out, "{} {}", path.display(), HumanBytes(*size)).context("standard output")?;
    }
    let done = if dry_run { "would be removed" } else { "removed" };
    let (images, bytes) = (pruned.images(), pruned.bytes());
    writeln!(out, "{done}: {images} images, {bytes} bytes in all").context("standard output")?;
    Ok(Exit::Conforms)
}
