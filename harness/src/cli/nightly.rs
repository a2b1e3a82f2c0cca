// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck nightly`: a campaign over many images.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use jiff::civil::Date;

use super::bar::bar;
use super::remember::remember;
use super::{Failure, complain, images, output};
use crate::campaign::nightly::{
    self, Campaign, ImageDone, KnownIssues, Launcher, Named, NightlyPlan, NightlyProgress, Part,
    PlannedRegression, PlannedRun, Regression, Setup, UnitImage, read_regressions, units,
    write_cases,
};
use crate::case::CaseFile;
use crate::corpus::Corpus;
use crate::exit::Exit;
use crate::image::Image;
use crate::record::Report;
use crate::report::{self, Format, Past};

/// Run a campaign over many images, as a kernel team does every night.
///
/// The plan says which images, entered how, by which loaders, in how many cases. Cases that showed a mistake once come
/// first. Every case runs in a worker process, so that nothing the emulator does ends the campaign, and what is finished
/// stands in a journal: started again, a campaign that was killed goes on where it was, and one that was finished
/// makes room for the next. Findings that are listed as known issues, with an owner and a day on which that ends, do not
/// count.
///
/// Exit codes: 0 nothing new, 1 a new divergence, 2 a file cannot be used, 125 something could not be judged.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck nightly nightly.toml
  relocheck nightly nightly.toml --output tonight
  relocheck nightly nightly.toml --partition 2/4          one of four machines; then `relocheck report merge`")]
pub struct Args {
    /// The plan.
    #[arg(value_name = "PLAN")]
    plan: PathBuf,

    /// The folder for reports, case files and the journal. [default: reports/ and the plan's name]
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,

    /// The part of the campaign to do here, such as 2/4. [default: what the variables of a parallel CI job say, else all]
    #[arg(long, value_name = "K/N")]
    partition: Option<Part>,

    /// Worker processes. [default: one per core]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,

    /// Keep the run in this file, and compare it with earlier ones; not for a part. [default: history.db in the folder]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,

    /// The day by which known issues expire. [default: today, or that of the campaign that is resumed]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Date>,
}

/// Runs the campaign, writes all reports; the exit code is that of the worst image or regression.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let part = part(args.partition)?;
    if part != Part::ALL && args.history.is_some() {
        return Err(Failure::usage(anyhow!(
            "--history: part {part} alone is not recorded; give it to `relocheck report html` with the merged report"
        )));
    }
    let plan = NightlyPlan::read(&args.plan).map_err(Failure::usage)?;
    let folder = args.output.clone().unwrap_or_else(|| Path::new("reports").join(&plan.name));
    std::fs::create_dir_all(&folder)
        .with_context(|| folder.display().to_string())
        .map_err(Failure::usage)?;
    let log = folder.join("workers.log");
    let setup = setup(&folder, &log, args.jobs)?;
    let unfinished = Campaign::unfinished(&setup).map_err(Failure::usage)?;
    if unfinished.is_none() {
        let emptied = setup.launcher.log.set_len(0);
        emptied.with_context(|| log.display().to_string()).map_err(Failure::usage)?;
    }
    let date = args
        .date
        .or(unfinished)
        .unwrap_or_else(|| jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date());
    let known = match &plan.known_issues {
        Some(path) => KnownIssues::read(path, date).map_err(Failure::usage)?,
        None => KnownIssues::default(),
    };
    let regressions = match &plan.regressions {
        Some(path) => read_regressions(path).map_err(Failure::usage)?,
        None => Vec::new(),
    };
    let named = plan.runs.iter().map(images_of).collect::<Result<Vec<_>, _>>()?;
    let units = units(&plan, named);
    let regressions = regressions.into_iter().map(planned).collect();
    let campaign = Campaign { plan, units, regressions, part, known, date };

    let progress = Progress(bar(0, "cases"));
    let report = campaign.run(&setup, &progress).map_err(Failure::usage)?;
    progress.0.finish_and_clear();
    let history = args.history.unwrap_or_else(|| folder.join("history.db"));
    // The parts of a campaign are recorded when they are merged.
    let history = (part == Part::ALL).then_some(history);
    write(&folder, history.as_deref(), report)
}

fn part(asked: Option<Part>) -> Result<Part, Failure> {
    if let Some(part) = asked {
        return Ok(part);
    }
    let told = Part::of_environment(|name| std::env::var(name).ok());
    let told = told.map_err(|error| Failure::usage(anyhow!(error)))?;
    Ok(told.map_or(Part::ALL, |(part, variable)| {
        complain(format_args!("part {part} of the campaign, as {variable} says"));
        part
    }))
}

fn setup(folder: &Path, log: &Path, jobs: Option<u16>) -> Result<Setup, Failure> {
    // Not emptied here: another campaign may be running in this folder.
    let opened = File::options().append(true).create(true).open(log);
    let log = opened.with_context(|| log.display().to_string()).map_err(Failure::usage)?;
    let program = std::env::current_exe().context("this program's path")?;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Setup {
        launcher: Launcher { program, log },
        jobs: jobs.map_or_else(cores, usize::from),
        journal: folder.join("journal.jsonl"),
        program: nightly::program_digest().context("this program")?,
    })
}

/// The images that one run of a plan names.
fn images_of(run: &PlannedRun) -> Result<Vec<Named>, Failure> {
    let mut named = Vec::new();
    for set in &run.sets {
        named.extend(images::named(set)?);
    }
    for pattern in &run.images {
        let paths = images::expand(pattern)?;
        named.extend(images::resolve(&paths)?.into_iter().map(Ok));
    }
    Ok(named)
}

fn planned(regression: Regression) -> PlannedRegression {
    let input = input(&regression);
    PlannedRegression { regression, input }
}

fn input(regression: &Regression) -> Result<(CaseFile, UnitImage), String> {
    let file = CaseFile::read(&regression.case).map_err(|error| error.to_string())?;
    let corpus = Corpus::open(None).map_err(|error| error.to_string())?;
    let entry = corpus.entry(&regression.image).map_err(|error| error.to_string())?;
    let cached = corpus.cached(entry).map_err(|error| error.to_string())?;
    let path = cached.ok_or_else(|| format!("{} is not fetched", regression.image))?.path;
    let image = Image::open(&path).map_err(|error| error.to_string())?;
    Ok((file, UnitImage { path, sha256: image.sha256() }))
}

/// Writes the report in all its forms beside each other, and prints the one for people.
fn write(folder: &Path, history: Option<&Path>, mut report: Report) -> Result<Exit, Failure> {
    write_cases(folder, &mut report).map_err(|error| Failure::usage(anyhow!(error)))?;
    let newest = folder.join("report.json");
    if newest.exists() {
        std::fs::rename(&newest, folder.join("previous.json"))
            .with_context(|| newest.display().to_string())
            .map_err(Failure::usage)?;
    }
    for (name, format) in [
        ("report.json", Format::Json),
        ("report.txt", Format::Text),
        ("report.mail", Format::Mail),
        ("report.xml", Format::Junit),
        ("report.ktap", Format::Ktap),
    ] {
        output::report(&report, format, Some(&folder.join(name)))?;
    }
    let past = history.map_or_else(Past::default, |file| remember(file, &report));
    let page = folder.join("index.html");
    std::fs::write(&page, report::html(&report, &past))
        .with_context(|| page.display().to_string())
        .map_err(Failure::usage)?;
    // In the folder they are named from there; who stands here types the whole path.
    for file in report.files_mut() {
        *file = folder.join(&*file).display().to_string();
    }
    output::report(&report, Format::Text, None)?;
    complain(format_args!("all reports are in {}", folder.display()));
    Ok(report.exit())
}

struct Progress(ProgressBar);

impl NightlyProgress for Progress {
    fn started(&self, finished: usize, cases: usize) {
        if finished > 0 {
            complain(format_args!("going on after {finished} of {cases} cases"));
        }
        self.0.set_length(cases as u64);
        self.0.set_position(finished as u64);
    }

    fn case_done(&self, image: &str) {
        self.0.inc(1);
        self.0.set_message(image.to_owned());
    }

    fn image_done(&self, image: &ImageDone) {
        let ImageDone { name, failure, cases, diverging, known, not_judged } = image;
        let text = match (failure, diverging, not_judged) {
            (Some(failure), ..) => format!("{name}: {failure}"),
            (None, 0, 0) => format!("{name}: {cases} of {cases} cases conform"),
            (None, 0, doubts) => format!("{name}: {doubts} of {cases} cases cannot be judged"),
            (None, diverging, _) => {
                format!("{name}: {}", report::diverging(*cases, *diverging, *known))
            }
        };
        // Without a terminal there is no bar, and a log should show that something happens.
        if self.0.is_hidden() {
            complain(text);
        } else if failure.is_some() || diverging + not_judged > 0 {
            self.0.println(text);
        }
    }
}
