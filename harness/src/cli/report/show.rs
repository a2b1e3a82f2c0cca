// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report show`: a report in another format.

use std::path::PathBuf;

use crate::cli::{Failure, output};
use crate::exit::Exit;
use crate::record::Report;
use crate::report::Format;

/// Show a report.
///
/// The exit code is 0 whatever the report says, and 2 if it cannot be read.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report show report.json
  relocheck report show --format junit -o junit.xml report.json
  relocheck report show --format mail report.json | (read -r subject; mail -s \"$subject\" list@example.org)
  relocheck report show --format github report.json          in a step of GitHub Actions")]
pub struct Args {
    /// The report, as JSON.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// How to show it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Reads and shows.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let report = Report::read(&args.file).map_err(Failure::usage)?;
    output::report(&report, args.format, args.output.as_deref())?;
    Ok(Exit::Conforms)
}
