// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus fetch`: a line for each entry, and what it comes to.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context;
use indicatif::HumanBytes;

use super::classify;
use crate::cli::Failure;
use crate::corpus::{Corpus, CorpusError, Fetched, How, Progress};
use crate::exit::Exit;

/// Fetches a set.
pub(super) fn fetch(corpus: &Corpus, set: &str) -> Result<Exit, Failure> {
    let entries = corpus.set(set).map_err(classify)?;
    let results = corpus.fetch(&entries, &Progress::to_stderr()).map_err(classify)?;
    let width = results.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut tally = Tally::default();
    let mut out = io::stdout().lock();
    for (name, result) in &results {
        let how = tally.count(result);
        let line = match result {
            Ok(Fetched { image, how: came }) => {
                if let How::Unchecked(reason) = came {
                    eprintln!("relocheck: {name}: using the cached image: {reason}");
                }
                let record = &image.record;
                format!("{name:width$} {how:10} {} {}", record.package, record.version)
            }
            Err(error) => {
                eprintln!("relocheck: {name}: {error}");
                format!("{name:width$} {how}")
            }
        };
        writeln!(out, "{line}").context("standard output")?;
    }
    writeln!(out, "{}: {tally}", set).context("standard output")?;
    Ok(if tally.missing() == 0 { Exit::Conforms } else { Exit::CannotJudge })
}

/// How many entries went which way.
#[derive(Default)]
struct Tally {
    current: usize,
    downloaded: usize,
    shared: usize,
    unchecked: usize,
    gone: usize,
    failed: usize,
    /// Of the packages that were downloaded.
    bytes: u64,
}

impl Tally {
    /// Counts a result, and says in a word which it is.
    fn count(&mut self, result: &Result<Fetched, CorpusError>) -> &'static str {
        let (counter, word) = match result {
            Ok(Fetched { how: How::Current, .. }) => (&mut self.current, "current"),
            Ok(Fetched { how: How::Downloaded(bytes), .. }) => {
                self.bytes = self.bytes.saturating_add(*bytes);
                (&mut self.downloaded, "downloaded")
            }
            Ok(Fetched { how: How::Shared, .. }) => (&mut self.shared, "shared"),
            Ok(Fetched { how: How::Unchecked(_), .. }) => (&mut self.unchecked, "cached"),
            Err(error) if error.is_gone() => (&mut self.gone, "gone from the archive"),
            Err(_) => (&mut self.failed, "missing"),
        };
        *counter += 1;
        word
    }

    fn missing(&self) -> usize {
        self.gone + self.failed
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.current + self.downloaded + self.shared + self.unchecked;
        let counts = [
            (self.current, String::from("current")),
            (self.downloaded, format!("downloaded ({})", HumanBytes(self.bytes))),
            (self.shared, String::from("from a package of another entry")),
            (self.unchecked, String::from("cached and not checked for a newer one")),
            (self.gone, String::from("gone from the archive")),
            (self.failed, String::from("missing")),
        ];
        write!(f, "{there} of {} images are there", there + self.missing())?;
        for (count, word) in counts.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {word}")?;
        }
        Ok(())
    }
}
