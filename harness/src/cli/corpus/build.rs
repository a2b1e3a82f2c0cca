// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus build`: makes kernels from source.

use std::fmt::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use crate::campaign::bugs::{Catalogue, altered};
use crate::cli::{Failure, complain, print};
use crate::corpus::build::{Build, BuildError, Builds, Built, Options, State};
use crate::corpus::{CorpusError, Progress};
use crate::exit::Exit;

/// Make kernels from Debian's kernel sources
///
/// A matrix says which: series, word sizes, options, compilers, compressors. What is cached and would come out the same
/// is not made again. The exit code is 0 if everything that was asked for is there then, else 125. Sources take up to
/// 1.8 GB of the cache for each series, a kernel up to 30 MB; corpus/BUILDS.md tells more.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck corpus build --list                show what there is to build
  relocheck corpus build 6.1-x86_64-base-gzip  build one kernel
  relocheck corpus build 6.1 base              build a series, and a variant of every series
  relocheck corpus build bugs                  build kernels with old mistakes, for `relocheck bugs`
  relocheck check --corpus builds              check all kernels that were built")]
pub struct Args {
    /// Builds, families, series or variants; or `bugs`, and the names of some. [default: all kernels without bugs]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Show what there is to build and what is cached; build nothing.
    #[arg(long, conflicts_with_all = ["jobs", "update"])]
    list: bool,

    /// Compilers that run at the same time. [default: one per core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,

    /// Ask Debian for newer sources than those in the cache.
    #[arg(long)]
    update: bool,

    /// Use this matrix instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    builds: Option<PathBuf>,

    /// Use this catalogue of bugs instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    bugs: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The matrix cannot be used, a name means nothing, or what every build needs is missing.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let builds = Builds::open(args.builds.as_deref()).map_err(classify)?;
    if let [first, names @ ..] = &args.names[..]
        && first == BUGS
    {
        return run_bugs(args, &builds, names);
    }
    let selected = builds.select(&args.names).map_err(classify)?;
    if args.list {
        return list(&builds, &selected);
    }
    let results =
        builds.run(&selected, args.options(), &Progress::to_stderr()).map_err(classify)?;
    summarize(&results)
}

/// The name that stands for the kernels of the catalogue of bugs.
const BUGS: &str = "bugs";

impl Args {
    fn options(&self) -> Options {
        let jobs = self.jobs.or_else(|| thread::available_parallelism().ok());
        Options { jobs: jobs.unwrap_or(NonZero::<usize>::MIN), update: self.update }
    }
}

/// The same for kernels that have a bug.
fn run_bugs(args: &Args, builds: &Builds, names: &[String]) -> Result<Exit, Failure> {
    let catalogue = Catalogue::load(args.bugs.as_deref()).map_err(Failure::usage)?;
    let bugs = catalogue.select(names).map_err(Failure::usage)?;
    let altered = altered(builds, &bugs).map_err(classify)?;
    if args.list {
        let mut text = String::new();
        for (bug, altered) in bugs.iter().zip(&altered) {
            let state = word(builds.state_altered(altered));
            // Writing to a String does not fail.
            let _ = writeln!(text, "{:34} {state:9} {}", altered.name, bug.entry.title);
        }
        print(&text)?;
        return Ok(Exit::Conforms);
    }
    let progress = Progress::to_stderr();
    summarize(&builds.run_altered(&altered, args.options(), &progress).map_err(classify)?)
}

fn word(state: Result<State, BuildError>) -> String {
    match state {
        Ok(State::Current(_)) => String::from("built"),
        Ok(State::Outdated(_)) => String::from("outdated"),
        Ok(State::Absent) => String::from("not built"),
        Err(error) => error.to_string(),
    }
}

fn classify(error: BuildError) -> Failure {
    match error {
        BuildError::Corpus(CorpusError::Manifest { .. }) | BuildError::Unknown { .. } => {
            Failure::usage(error)
        }
        _ => Failure::cannot_judge(error),
    }
}

fn list(builds: &Builds, selected: &[Build<'_>]) -> Result<Exit, Failure> {
    let mut text = String::new();
    for build in selected {
        let state = word(builds.state(build));
        // Writing to a String does not fail.
        let _ = writeln!(text, "{:28} {state:9} {}", build.name(), build.family.description);
    }
    print(&text)?;
    Ok(Exit::Conforms)
}

fn summarize(results: &[(String, Result<Built, BuildError>)]) -> Result<Exit, Failure> {
    let mut text = String::new();
    let (mut missing, mut made) = (0, 0);
    for (name, result) in results {
        let _ = match result {
            Ok(built) => {
                let record = &built.build.record;
                let state = match built.took {
                    Some(took) => {
                        made += 1;
                        format!("built in {} s", took.as_secs())
                    }
                    None => String::from("cached"),
                };
                let (size, sum) = built
                    .build
                    .image_record()
                    .map_or((0, "-"), |image| (image.size, image.sha256.as_str()));
                writeln!(text, "{name:28} {state:14} {:12} {size:>9} {sum}", record.source.version)
            }
            Err(error) => {
                missing += 1;
                complain(format_args!("{name}: {error}"));
                writeln!(text, "{name:28} missing")
            }
        };
    }
    print(&text)?;
    if missing > 0 {
        complain(format_args!("{missing} of {} builds are missing", results.len()));
        return Ok(Exit::CannotJudge);
    }
    if made == 0 {
        complain(format_args!("all {} builds are cached: nothing to do", results.len()));
    }
    Ok(Exit::Conforms)
}
