// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck bugs`: is found what has to be found?

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use jiff::civil::Date;

use super::bar::bar;
use super::jobs::Jobs;
use super::{Failure, Format, complain, images, output};
use crate::campaign::bugs::{Bug, Catalogue, Hunt, Hunted, Quarry, altered, check_twins, hunt};
use crate::campaign::nightly::KnownIssues;
use crate::campaign::{Input, Progress};
use crate::case::Protocols;
use crate::corpus::CorpusError;
use crate::corpus::build::{BuildError, Builds};
use crate::exit::Exit;
use crate::machine::UnicornEngine;
use crate::oracle::Verdict;
use crate::report::{BugRow, BugsReport, KernelRow, Outcome};

/// What is said of a kernel that is not there.
const NOT_BUILT: &str = "not built yet: run `relocheck corpus build bugs`";

/// Look for mistakes that kernels once had
///
/// Each bug of the catalogue is a kernel with a patch that brings a mistake back, made by `relocheck corpus build bugs`.
/// It is run in the cases that `check` would draw for it, until a rule speaks that has to. Its twin, the same kernel
/// without the patch, must conform in all cases. corpus/bugs/README.md tells more.
///
/// Exit codes: 0 all bugs are found and no clean kernel diverges, 1 otherwise, 2 a file cannot be used, 125 something is
/// not built, or cannot be judged.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck bugs                               all bugs that are built, and their twins
  relocheck bugs gdt-left-behind signed-load-address
  relocheck bugs --cases 64 --seed 2 --format json -o bugs.json
  relocheck bugs --clean default               fetched kernels, too, must not be called wrong")]
pub struct Args {
    /// Bugs. [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// The most cases of each bug, and the cases of each twin.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cases: u32,

    /// Seed of everything that is drawn: the same seed gives the same cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Run the images of this corpus set in as many cases; each finding is a false alarm, but for known issues.
    #[arg(long, value_name = "SET")]
    clean: Option<String>,

    #[command(flatten)]
    jobs: Jobs,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write the report to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,

    /// Use this catalogue instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    bugs: Option<PathBuf>,

    /// Use this matrix of builds instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    builds: Option<PathBuf>,

    /// Use this list of known issues instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    known_issues: Option<PathBuf>,

    /// The day by which known issues expire. [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Date>,
}

/// Looks for the bugs, and checks what has to conform.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let catalogue = Catalogue::load(args.bugs.as_deref()).map_err(Failure::usage)?;
    let bugs = catalogue.select(&args.names).map_err(Failure::usage)?;
    let builds = Builds::open(args.builds.as_deref()).map_err(classify)?;
    let known = known_issues(args)?;
    let (kernels, twins) = kernels(&builds, &bugs)?;
    let clean = match &args.clean {
        Some(set) => images::of_set(set)?,
        None => Vec::new(),
    };

    let pool = args.jobs.pool()?;
    let engine = UnicornEngine::new();
    let plan = (args.cases as usize, args.seed);
    let how = Hunt { cases: plan.0, seed: plan.1, known: &known };
    let built: Vec<(&Bug, PathBuf)> =
        kernels.iter().filter_map(|(bug, image)| Some((*bug, image.clone()?))).collect();
    let progress = bar(built.len(), "bugs");
    let mut hunted = pool
        .install(|| {
            hunt(&engine, &built, how, &|bug, hunted| {
                progress.inc(1);
                progress.set_message(bug.entry.name.to_string());
                if progress.is_hidden() {
                    complain(format_args!("{}: {}", bug.entry.name, brief(hunted)));
                }
            })
        })
        .into_iter();
    progress.finish_and_clear();
    let rows = kernels.iter().map(|(bug, image)| {
        let hunted = image.as_ref().and_then(|_| hunted.next());
        let outcome = hunted.map_or(Outcome::CannotJudge { why: NOT_BUILT.into() }, Outcome::from);
        BugRow { entry: bug.entry.clone(), outcome }
    });
    let rows = rows.collect();

    let conforming = |quarries: &[Result<Quarry, String>]| {
        let there: Vec<Quarry> =
            quarries.iter().filter_map(|quarry| quarry.as_ref().ok().cloned()).collect();
        let bar = Bar(bar(there.len() * plan.0, "cases"));
        let records = pool.install(|| check_twins(&engine, &there, plan, &known, &bar));
        bar.0.finish_and_clear();
        let absent = quarries.iter().filter_map(|quarry| quarry.as_ref().err());
        let absent = absent.map(|name| KernelRow::absent(name, NOT_BUILT));
        records.iter().map(KernelRow::new).chain(absent).collect::<Vec<_>>()
    };
    let twins = conforming(&twins);
    let clean: Vec<_> = clean.into_iter().map(|input| Ok(quarry(input))).collect();
    let clean = conforming(&clean);

    let report = BugsReport::new(plan, rows, twins, clean);
    let text = match args.format {
        Format::Text => report.text(),
        Format::Json => report.json().context("JSON")?,
    };
    output::text(&text, args.output.as_deref())?;
    Ok(report.exit())
}

/// A word for logs, where no bar is.
fn brief(hunted: &Hunted) -> String {
    match hunted {
        Hunted::Found(caught) => format!("found, case {}", caught.cases()),
        Hunted::Missed(_) => String::from("missed"),
        Hunted::Unusable(failure) => failure.message.clone(),
    }
}

/// The day of the machine counts for known issues only.
fn known_issues(args: &Args) -> Result<KnownIssues, Failure> {
    let today = || jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let date = args.date.unwrap_or_else(today);
    match &args.known_issues {
        Some(path) => KnownIssues::read(path, date).map_err(Failure::usage),
        None => KnownIssues::built_in(date).map_err(Failure::usage),
    }
}

/// Every bug with its image, if it is built, and its twins, or the names of those that are not built: each with every
/// class of cases that one of its bugs is looked for in.
#[expect(clippy::type_complexity, reason = "names would only hide what the two lists are")]
fn kernels<'a>(
    builds: &'a Builds,
    bugs: &[&'a Bug],
) -> Result<(Vec<(&'a Bug, Option<PathBuf>)>, Vec<Result<Quarry, String>>), Failure> {
    let mut kernels = Vec::new();
    let mut twins = Vec::new();
    for (bug, altered) in bugs.iter().zip(altered(builds, bugs).map_err(classify)?) {
        let cached = builds.get_altered(&altered).map_err(classify)?;
        kernels.push((*bug, cached.map(|build| build.image())));
        let twin = builds.get(&altered.twin).map_err(classify)?;
        let name = altered.twin.name();
        let twin = match twin {
            None => Err(name),
            Some(twin) => Ok(Quarry {
                input: Input { name, path: twin.image(), vmlinux: None },
                protocols: bug.entry.protocols(),
                loaders: bug.entry.loaders.clone(),
            }),
        };
        if !twins.contains(&twin) {
            twins.push(twin);
        }
    }
    Ok((kernels, twins))
}

fn quarry(input: Input) -> Quarry {
    Quarry { input, protocols: Protocols::All, loaders: Vec::new() }
}

fn classify(error: BuildError) -> Failure {
    match error {
        BuildError::Corpus(CorpusError::Manifest { .. }) | BuildError::Unknown { .. } => {
            Failure::usage(error)
        }
        _ => Failure::cannot_judge(anyhow!(error)),
    }
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn case_done(&self, image: &Input, _verdict: Verdict) {
        self.0.inc(1);
        self.0.set_message(image.name.clone());
    }
}
