// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report history`: what earlier runs found.

use std::path::PathBuf;

use anyhow::anyhow;

use crate::cli::{Failure, print};
use crate::exit::Exit;
use crate::history::History;
use crate::report::trend;

/// Show how the campaigns in a history went, run by run, and since when images have been failing.
///
/// Exit codes: 0 it was shown, 2 the file or the campaign cannot be used.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report history history.db
  relocheck report history history.db --campaign nightly --runs 7")]
pub struct Args {
    /// The history.
    #[arg(value_name = "HISTORY")]
    history: PathBuf,

    /// Only this campaign. [default: all]
    #[arg(long, value_name = "NAME")]
    campaign: Option<String>,

    /// The last so many runs.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
}

/// Reads and prints.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let history = History::read(&args.history).map_err(Failure::usage)?;
    let mut campaigns = history.campaigns().map_err(Failure::usage)?;
    if let Some(wanted) = &args.campaign {
        let file = args.history.display();
        if !campaigns.contains(wanted) {
            let all = campaigns.join(", ");
            let error = anyhow!("{file}: no campaign is called {wanted:?}; there are: {all}");
            return Err(Failure::usage(error));
        }
        campaigns.retain(|name| name == wanted);
    }
    let mut text = String::new();
    for campaign in &campaigns {
        let past = history.trend(campaign, args.runs).map_err(Failure::usage)?;
        text += if text.is_empty() { "" } else { "\n" };
        text += &trend(campaign, &past);
    }
    print(&text)?;
    Ok(Exit::Conforms)
}
