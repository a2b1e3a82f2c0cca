// SPDX-License-Identifier: GPL-2.0-only
//! Tests on kernels of the corpus. One that is not in the cache is not tested: that is said on standard error, and the
//! test counts as ignored. It never counts as passed.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use relocheck::corpus::Corpus;

/// The cached image of a corpus entry, or why there is none.
pub fn cached(entry: &str) -> Result<PathBuf, String> {
    let find = || {
        let corpus = Corpus::open(None)?;
        corpus.cached(corpus.entry(entry)?)
    };
    match find() {
        Ok(Some(image)) => Ok(image.path),
        Ok(None) => Err(format!("{entry} is not cached: run `relocheck corpus fetch`")),
        Err(error) => Err(format!("{entry}: {error}")),
    }
}

/// A test on the image of a corpus entry, ignored when it is not there. Asked to run all the same (`--ignored`), it fails.
pub fn trial(
    name: &str,
    entry: &str,
    test: impl FnOnce(PathBuf) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let image = cached(entry);
    if let Err(why) = &image {
        eprintln!("SKIPPED: {name}: {why}");
    }
    let missing = image.is_err();
    Trial::test(name, move || test(image?)).with_ignored_flag(missing)
}
