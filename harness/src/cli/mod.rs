// SPDX-License-Identifier: GPL-2.0-only
//! The command line: one file per subcommand, nothing but argument handling and printing.

mod bar;
mod bugs;
mod case;
mod check;
mod corpus;
mod images;
mod inspect;
mod jobs;
mod kaslr;
mod link_twice;
mod mutate;
mod nightly;
mod output;
mod relocate;
mod remember;
mod replay;
mod report;
mod shrink;
mod values;
mod worker;

use std::io::{ErrorKind, Write};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};

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
    Check(check::Args),
    Inspect(inspect::Args),
    Relocate(relocate::Args),
    LinkTwice(link_twice::Args),
    Replay(replay::Args),
    Shrink(shrink::Args),
    Kaslr(kaslr::Args),
    Mutate(mutate::Args),
    Nightly(nightly::Args),
    Corpus(corpus::Args),
    Bugs(bugs::Args),
    Report(report::Args),
    #[command(hide = true)]
    Worker,
}

/// How a command prints a result that is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
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
    let result = match Cli::parse().command {
        Command::Check(args) => check::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Relocate(args) => relocate::run(args),
        Command::LinkTwice(args) => link_twice::run(&args),
        Command::Replay(args) => replay::run(args),
        Command::Shrink(args) => shrink::run_command(args),
        Command::Kaslr(args) => kaslr::run(args),
        Command::Mutate(args) => mutate::run(args),
        Command::Nightly(args) => nightly::run(args),
        Command::Corpus(args) => corpus::run(args),
        Command::Bugs(args) => bugs::run(&args),
        Command::Report(args) => report::run(args),
        Command::Worker => worker::run(),
    };
    result.unwrap_or_else(|failure| {
        complain(format_args!("{:#}", failure.error));
        failure.exit
    })
}

/// Writes a result to standard output, in colour only if that is a terminal and `NO_COLOR` is unset.
///
/// A reader that has seen enough and closed the pipe is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result.context("standard output")?),
    }
}

/// Writes one line to standard error; a closed standard error is nobody's loss.
fn complain(message: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "relocheck: {message}");
}
