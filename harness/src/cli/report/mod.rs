// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report`: what to do with results.

mod history;
mod html;

use clap::Subcommand;

use super::Failure;
use crate::exit::Exit;

/// Read results.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck report html report.json -o index.html
  relocheck report history history.db")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Html(html::Args),
    History(history::Args),
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Html(args) => html::run(args),
        Command::History(args) => history::run(args),
    }
}
