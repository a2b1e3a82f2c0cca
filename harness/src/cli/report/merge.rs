// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report merge`: the parts of a campaign in one report.

use std::path::PathBuf;

use crate::cli::{Failure, complain, output};
use crate::exit::Exit;
use crate::record::{Partition, Report, merge};
use crate::report::Format;

/// More missing parts than this are only counted.
const SHOWN_PARTS: usize = 16;

/// Merge reports on the parts of one campaign.
///
/// All parts together give the report that the undivided campaign would have given. Where some are missing, the result says
/// which parts it has, and can be merged with the others later.
///
/// Exit codes: 0 all parts are there, 125 some are missing, 2 a file cannot be used, or the reports do not belong together.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report merge -o report.json part-1.json part-2.json
  relocheck report merge part-*.json | tee report.json | head -3")]
pub struct Args {
    /// The reports, in any order.
    #[arg(value_name = "PART", required = true)]
    parts: Vec<PathBuf>,

    /// Write the merged report to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Reads, merges, writes.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let read = |path: &PathBuf| {
        let report = Report::read(path).map_err(Failure::usage)?;
        Ok((path.display().to_string(), report))
    };
    let parts = args.parts.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    let merged = merge(parts).map_err(|error| Failure::usage(anyhow::anyhow!(error)))?;
    output::report(&merged, Format::Json, args.output.as_deref())?;
    match merged.campaign.and_then(|campaign| campaign.partition) {
        None => Ok(Exit::Conforms),
        Some(partition) => {
            complain(missing(&partition));
            Ok(Exit::CannotJudge)
        }
    }
}

fn missing(partition: &Partition) -> String {
    let mut parts = partition.missing();
    let named: Vec<String> =
        parts.by_ref().take(SHOWN_PARTS).map(|part| part.to_string()).collect();
    let more = if parts.next().is_some() { " and more" } else { "" };
    let s = if named.len() == 1 { "" } else { "s" };
    format!("of {} parts, part{s} {}{more} missing", partition.of, named.join(", "))
}
