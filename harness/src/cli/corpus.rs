// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus`: lists and fetches the kernels of the manifest, builds those that nobody ships.

mod build;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;

use super::{Failure, Format};
use crate::corpus::{CachedImage, Corpus, CorpusError, How, Progress};
use crate::exit::Exit;

/// Get real kernels to check.
///
/// A manifest names the kernels, and sets of them; the images are kept in the user's cache folder.
/// Only `fetch` and `build` use the network.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck corpus fetch                     get or update the set `default`
  relocheck corpus list                      show what is there
  relocheck inspect $(relocheck corpus path debian-cloud)")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// Use this manifest instead of the built-in one
    #[arg(long, value_name = "FILE", global = true)]
    manifest: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Show the entries of a set and which of them are cached
    #[command(after_help = "\
Examples:
  relocheck corpus list
  relocheck corpus list generations --format json | jq -r '.entries[].cached.path'")]
    List {
        /// The set
        #[arg(default_value = "default")]
        set: String,
        /// The form of the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Download what is missing or outdated in a set
    ///
    /// Where the network cannot be reached, the images of the cache serve, and a line says so. The
    /// exit code is 0 if every entry has an image then, else 125.
    #[command(after_help = "\
Examples:
  relocheck corpus fetch
  relocheck corpus fetch generations
  relocheck corpus --manifest my-kernels.toml fetch all")]
    Fetch {
        /// The set
        #[arg(default_value = "default")]
        set: String,
    },
    /// Print the cached file of an entry
    ///
    /// The exit code is 125 if it is not cached.
    #[command(after_help = "\
Example:
  file \"$(relocheck corpus path debian-amd64)\"")]
    Path {
        /// The entry
        name: String,
    },
    Build(build::Args),
}

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

/// Runs the command.
///
/// # Errors
/// The manifest or the cache cannot be used, or an entry that was asked for is not cached.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let open = || Corpus::open(args.manifest.as_deref()).map_err(classify);
    match args.action {
        Action::List { set, format } => list(&open()?, &set, format),
        Action::Fetch { set } => fetch(&open()?, &set),
        Action::Path { name } => path(&open()?, &name),
        Action::Build(_) if args.manifest.is_some() => Err(Failure::usage(anyhow::anyhow!(
            "--manifest says nothing of what to build: use --builds"
        ))),
        Action::Build(builds) => build::run(&builds),
    }
}

fn classify(error: CorpusError) -> Failure {
    match error {
        CorpusError::Manifest { .. }
        | CorpusError::UnknownSet { .. }
        | CorpusError::UnknownEntry(_) => Failure::usage(error),
        _ => Failure::cannot_judge(error),
    }
}

fn list(corpus: &Corpus, set: &str, format: Format) -> Result<Exit, Failure> {
    let mut entries = Vec::new();
    for entry in corpus.set(set).map_err(classify)? {
        entries.push(Listed {
            name: entry.name.as_str(),
            description: &entry.description,
            cached: corpus.cached(entry).map_err(classify)?,
        });
    }
    let mut out = io::stdout().lock();
    let written = match format {
        Format::Text => entries.iter().try_for_each(|entry| write_text(&mut out, entry)),
        Format::Json => serde_json::to_writer_pretty(&mut out, &List { schema: 1, set, entries })
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    };
    written.context("standard output")?;
    Ok(Exit::Conforms)
}

fn write_text(out: &mut impl Write, entry: &Listed<'_>) -> io::Result<()> {
    writeln!(out, "{:22} {}", entry.name, entry.description)?;
    match &entry.cached {
        Some(image) => {
            writeln!(out, "{:22} {} {} ({})", "", image.package, image.version, image.suite)?;
            writeln!(out, "{:22} {}", "", image.path.display())
        }
        None => writeln!(out, "{:22} not cached", ""),
    }
}

fn fetch(corpus: &Corpus, set: &str) -> Result<Exit, Failure> {
    let entries = corpus.set(set).map_err(classify)?;
    let results = corpus.fetch(&entries, &Progress::to_stderr()).map_err(classify)?;
    let mut missing = 0;
    let mut out = io::stdout().lock();
    for (name, result) in &results {
        match result {
            Ok(fetched) => {
                let image = &fetched.image;
                let how = match &fetched.how {
                    How::Current => "current",
                    How::Downloaded => "downloaded",
                    How::Unchecked(reason) => {
                        eprintln!("relocheck: {name}: using the cached image: {reason}");
                        "cached"
                    }
                };
                writeln!(out, "{name:22} {how:10} {} {}", image.package, image.version)
                    .context("standard output")?;
            }
            Err(error) => {
                missing += 1;
                eprintln!("relocheck: {name}: {error}");
                writeln!(out, "{name:22} missing").context("standard output")?;
            }
        }
    }
    if missing == 0 {
        return Ok(Exit::Conforms);
    }
    eprintln!("relocheck: {missing} of {} kernels of the set `{set}` are missing", results.len());
    Ok(Exit::CannotJudge)
}

fn path(corpus: &Corpus, name: &str) -> Result<Exit, Failure> {
    let entry = corpus.entry(name).map_err(classify)?;
    let image = corpus.cached(entry).map_err(classify)?.ok_or_else(|| {
        Failure::cannot_judge(anyhow::anyhow!(
            "{name} is not cached; run `relocheck corpus fetch` with a set that has it"
        ))
    })?;
    writeln!(io::stdout().lock(), "{}", image.path.display()).context("standard output")?;
    Ok(Exit::Conforms)
}
