// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report schema`: the formats that programs read.

use std::path::PathBuf;

use anyhow::Context;

use crate::cli::{Failure, output};
use crate::exit::Exit;
use crate::record::{Printed, schema};

/// Print the JSON Schema of a report, or of what `relocheck replay --format json` prints.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report schema -o schema.json
  relocheck report schema replay")]
pub struct Args {
    /// Whose.
    #[arg(value_enum, default_value_t = Of::Report)]
    of: Of,

    /// Write to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// A report.
    Report,
    /// One case that was run again.
    Replay,
}

/// Prints the schema.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let of = match args.of {
        Of::Report => Printed::Report,
        Of::Replay => Printed::Replay,
    };
    output::text(&schema(of).context("JSON")?, args.output.as_deref())?;
    Ok(Exit::Conforms)
}
