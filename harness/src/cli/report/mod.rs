// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report`: read what checks have written.

mod diff;
mod history;
mod html;
mod merge;
mod schema;
mod show;

use clap::Subcommand;

use super::Failure;
use crate::exit::Exit;

/// Show, merge and compare reports.
///
/// A report is what `relocheck check --format json` writes; reports/README.md describes it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report show report.json
  relocheck report show --format junit -o junit.xml report.json
  relocheck report diff yesterday.json report.json
  relocheck report html report.json -o index.html --history history.db")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Show(show::Args),
    Merge(merge::Args),
    Diff(diff::Args),
    Schema(schema::Args),
    Html(html::Args),
    History(history::Args),
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Show(args) => show::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Html(args) => html::run(args),
        Command::History(args) => history::run(args),
    }
}
