// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report diff`: what differs between two reports.

use std::path::PathBuf;

use anyhow::Context;

use crate::cli::{Failure, Format, output};
use crate::exit::Exit;
use crate::record::Report;
use crate::record::diff::Diff;
use crate::report::diff_text;

/// Compare two reports: which divergences are new, which are fixed, which show otherwise.
///
/// A finding is the same one in both if image, selection, rule and place are; addresses do not count. It is fixed only if B
/// ran at least the same cases and judged all of them.
///
/// Exit codes: 0 nothing new, 1 B has a divergence that A has not, known issues aside, 2 a file cannot be used.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report diff yesterday.json report.json
  relocheck report diff --format json yesterday.json report.json | grep rule")]
pub struct Args {
    /// The older report.
    #[arg(value_name = "A")]
    a: PathBuf,

    /// The newer report.
    #[arg(value_name = "B")]
    b: PathBuf,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Reads and compares.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let read = |path| Report::read(path).map_err(Failure::usage);
    let diff = Diff::new(&read(&args.a)?, &read(&args.b)?);
    let text = match args.format {
        Format::Text => diff_text(&diff),
        Format::Json => serde_json::to_string_pretty(&diff).context("JSON")? + "\n",
    };
    output::text(&text, args.output.as_deref())?;
    Ok(if diff.news() > 0 { Exit::Diverges } else { Exit::Conforms })
}
