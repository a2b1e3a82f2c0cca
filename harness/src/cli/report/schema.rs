// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report schema`: the format of reports, for programs.

use std::path::PathBuf;

use anyhow::Context;

use crate::cli::{Failure, output};
use crate::exit::Exit;
use crate::record::schema;

/// Print the JSON Schema of a report.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  relocheck report schema -o schema.json")]
pub struct Args {
    /// Write to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Prints the schema.
pub fn run(args: Args) -> Result<Exit, Failure> {
    output::text(&schema().context("JSON")?, args.output.as_deref())?;
    Ok(Exit::Conforms)
}
