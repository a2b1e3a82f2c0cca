// SPDX-License-Identifier: GPL-2.0-only
//! The command line: one file per subcommand, nothing but argument handling and printing.

mod corpus;

use clap::{Parser, Subcommand};

use crate::exit::Exit;

/// Proves that a Linux x86 bzImage relocates itself correctly.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Corpus(corpus::Args),
}

/// Why a command did not do its job: one line for the user, and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// The code that the process ends with.
    pub exit: Exit,
    /// What went wrong; its chain of causes is printed in one line.
    pub error: anyhow::Error,
}

impl Failure {
    /// The command line or an input file cannot be used.
    pub fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: Exit::Usage, error: error.into() }
    }

    /// relocheck has no means to judge this input.
    pub fn cannot_judge(error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: Exit::CannotJudge, error: error.into() }
    }
}

/// An error that nobody classified is a failure of relocheck itself.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { exit: Exit::Internal, error }
    }
}

/// Parses the command line, runs the command, prints its failure.
pub fn main() -> Exit {
    let result: Result<Exit, Failure> = match Cli::parse().command {
        Command::Corpus(args) => corpus::run(args),
    };
    result.unwrap_or_else(|failure| {
        eprintln!("relocheck: {:#}", failure.error);
        failure.exit
    })
}
