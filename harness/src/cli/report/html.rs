// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report html`: a report as a page.

use std::path::PathBuf;

use anyhow::Context;

use crate::cli::remember::remember;
use crate::cli::{Failure, print};
use crate::exit::Exit;
use crate::record::Report;
use crate::report::{self, Past};

/// Write a report as an HTML page: one file, which needs no network and no script.
///
/// With a history, the run is kept there, and the page shows how it compares with earlier ones. A history that cannot be
/// used is told, and costs the trend, not the page.
///
/// Exit codes: 0 the page was written, 2 the report cannot be used.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report html report.json -o index.html
  relocheck report html report.json > index.html
  relocheck report html report.json -o index.html --history history.db")]
pub struct Args {
    /// The report, as `relocheck check --format json` writes it.
    #[arg(value_name = "REPORT")]
    report: PathBuf,

    /// Write the page to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,

    /// Keep the run in this file, and show earlier ones. It is made if it is not there.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// Reads, records, writes.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let report = Report::read(&args.report).map_err(Failure::usage)?;
    let past = args.history.map_or_else(Past::default, |file| remember(&file, &report));
    let page = report::html(&report, &past);
    match &args.output {
        None => print(&page)?,
        Some(path) => std::fs::write(path, page)
            .with_context(|| path.display().to_string())
            .map_err(Failure::usage)?,
    }
    Ok(Exit::Conforms)
}
