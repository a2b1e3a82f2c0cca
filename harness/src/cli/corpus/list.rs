// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus list` and `path`: what the cache has.

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use rayon::prelude::*;
use serde::Serialize;

use super::classify;
use crate::cli::{Failure, Format};
use crate::corpus::{CachedImage, Corpus, CorpusError, Entry};
use crate::exit::Exit;

/// What `list --format json` prints.
#[derive(Serialize)]
struct List<'a> {
    schema: u32,
    set: &'a str,
    entries: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    description: &'a str,
    cached: Option<CachedImage>,
}

impl<'a> Listed<'a> {
    fn new(corpus: &Corpus, entry: &'a Entry) -> Result<Listed<'a>, CorpusError> {
        Ok(Listed {
            name: entry.name.as_str(),
            description: &entry.description,
            cached: corpus.cached(entry)?,
        })
    }
}

/// Lists a set.
pub(super) fn list(corpus: &Corpus, set: &str, format: Format) -> Result<Exit, Failure> {
    let entries = corpus.set(set).map_err(classify)?;
    let entries = entries
        .into_par_iter()
        .map(|entry| Listed::new(corpus, entry))
        .collect::<Result<Vec<_>, _>>()
        .map_err(classify)?;
    let mut out = io::stdout().lock();
    let written = match format {
        Format::Text => {
            let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
            entries.iter().try_for_each(|entry| write_text(&mut out, entry, width))
        }
        Format::Json => serde_json::to_writer_pretty(&mut out, &List { schema: 1, set, entries })
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    written.context("standard output")?;
    Ok(Exit::Conforms)
}

fn write_text(out: &mut impl Write, entry: &Listed<'_>, width: usize) -> io::Result<()> {
    writeln!(out, "{:width$} {}", entry.name, entry.description)?;
    match &entry.cached {
        Some(CachedImage { path, record, .. }) => {
            writeln!(
                out,
                "{:width$} {} {} ({})",
                "", record.package, record.version, record.suite
            )?;
            writeln!(out, "{:width$} {}", "", path.display())
        }
        None => writeln!(out, "{:width$} not cached", ""),
    }
}

/// Prints where the image of an entry is.
pub(super) fn path(corpus: &Corpus, name: &str) -> Result<Exit, Failure> {
    let entry = corpus.entry(name).map_err(classify)?;
    let image = corpus.cached(entry).map_err(classify)?.ok_or_else(|| {
        Failure::cannot_judge(anyhow!(
            "{name} is not cached; run `relocheck corpus fetch` with a set that has it"
        ))
    })?;
    writeln!(io::stdout().lock(), "{}", image.path.display()).context("standard output")?;
    Ok(Exit::Conforms)
}
