// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck kaslr`: what KASLR makes of a machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::bar::bar;
use super::jobs::Jobs;
use super::values::{address, size};
use super::{Failure, Format, case, images, print};
use crate::campaign::Input;
use crate::campaign::kaslr::{Survey, SurveyError, Surveyed, case_of, survey};
use crate::case::{Case, CaseError, CaseFile, FIRST_MEGABYTE, MemoryEntry, Protocol, budget};
use crate::exit::Exit;
use crate::image::Image;
use crate::machine::UnicornEngine;
use crate::oracle::{Subject, Verdict};
use crate::report::KaslrReport;

/// Show what KASLR chooses on one machine, and whether the image does as its source says.
///
/// The model of the stub draws many times, with random answers of RDRAND: how many places are there, which are never
/// chosen, is the draw even? Then the image itself runs with some of the same answers, and has to put the kernel where
/// the model says; every rule of `relocheck check` is applied to these runs.
///
/// Exit codes: 0 all runs conform, 1 one diverges, 2 a file or the command line cannot be used, 125 something could not
/// be judged or predicted. A draw that is not even is told, and changes no exit code: the model draws, not the image.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck kaslr /boot/vmlinuz-$(uname -r)
  relocheck kaslr --memory 64G --samples 1000000 --svg kaslr.svg bzImage
  relocheck kaslr --memory 256M --runs 0 bzImage              the model alone
  relocheck kaslr --command-line mem=2G --load 0x4000000 bzImage
  relocheck kaslr --case reports/cases/0123456789ab-memory.toml bzImage    the machine of a case file
  relocheck kaslr --format json bzImage | jq .physical.slots")]
pub struct Args {
    /// A bzImage file, or a directory in which a kernel was built.
    image: PathBuf,

    /// Draws of the model.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    samples: u32,

    /// Draws that the image repeats in the emulator.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    runs: u32,

    /// Seed of what RDRAND answers: the same seed gives the same report.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// RAM of the PC, from 2M to 16T: all of it free but for the top of the first megabyte, and from 3 GiB on continued at
    /// 4 GiB.
    #[arg(long, value_name = "SIZE", default_value = "8G", value_parser = memory_size)]
    memory: u64,

    /// Load address. [default: where the kernel was linked]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    load: Option<u64>,

    /// Entry protocol. [default: 32, from 4 GiB on 64]
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,

    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", default_value = "")]
    command_line: String,

    /// Take the machine of this case file, whichever image it was written for.
    #[arg(long, value_name = "CASE", conflicts_with_all = ["memory", "load", "protocol", "command_line"])]
    case: Option<PathBuf>,

    #[command(flatten)]
    jobs: Jobs,

    /// How to print: text for people, JSON for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Draw a picture, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Where the first run that fails is written.
    #[arg(long, value_name = "DIR", default_value = "reports/cases")]
    case_dir: PathBuf,
}

const GIB: u64 = 1 << 30;
const FOUR_GIB: u64 = 4 * GIB;

fn memory_size(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 2 << 20;
    const MOST: u64 = 16 << 40;
    let bytes = size(text)?;
    match bytes.is_multiple_of(4096) && (LEAST..=MOST).contains(&bytes) {
        true => Ok(bytes),
        false => Err("expected 2M to 16T in whole pages of 4K".into()),
    }
}

/// Samples, runs, and prints.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let inputs = images::resolve(std::slice::from_ref(&args.image))?;
    let [Input { name, path, .. }] = &inputs[..] else { unreachable!("one path is one image") };
    let named = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    let image =
        Image::open(path).map_err(|error| Failure { exit: error.exit(), error: named(&error) })?;
    let subject = Subject::new(image)
        .map_err(|error| Failure { exit: error.exit(), error: named(&error) })?;
    let described = match &args.case {
        Some(file) => CaseFile::read(file).map_err(Failure::usage)?.case,
        None => machine(&args, &subject),
    };
    let plan = Survey { samples: args.samples as usize, runs: args.runs as usize, seed: args.seed };
    let pool = args.jobs.pool()?;
    let engine = UnicornEngine::new();
    let bar = bar(plan.runs, "runs");
    let surveyed = pool.install(|| survey(&engine, &subject, &described, plan, &|| bar.inc(1)));
    bar.finish_and_clear();
    let surveyed = surveyed.map_err(|error| match error {
        SurveyError::Case(error) => Failure::usage(misplaced(&args, &error)),
        SurveyError::Unpredictable(_) => Failure::cannot_judge(named(&error)),
    })?;

    let report =
        KaslrReport { name, path, subject: &subject, seed: args.seed, surveyed: &surveyed };
    if let Some(file) = &args.svg {
        std::fs::write(file, report.svg())
            .with_context(|| file.display().to_string())
            .map_err(Failure::usage)?;
    }
    let saved = save(&args.case_dir, path, &subject, &surveyed)?;
    match args.format {
        Format::Json => print(&report.json().context("JSON")?)?,
        Format::Text => {
            let again = saved
                .map(|path| format!("\nto see it again: relocheck replay {}\n", path.display()));
            print(&(report.text() + again.as_deref().unwrap_or_default()))?;
        }
    }
    Ok(match surveyed.verdict() {
        Verdict::Conforms => Exit::Conforms,
        Verdict::Diverges => Exit::Diverges,
        Verdict::CannotJudge => Exit::CannotJudge,
    })
}

/// The PC that the arguments describe.
fn machine(args: &Args, subject: &Subject) -> Case {
    const HOLE: u64 = 3 * GIB;
    let load = args.load.unwrap_or(subject.link.physical);
    let protocol = match args.protocol {
        Some(protocol) => protocol,
        None if load >= FOUR_GIB => Protocol::Bits64,
        None => Protocol::Bits32,
    };
    let mut case = Case {
        protocol,
        load,
        command_line: Some(args.command_line.clone()),
        budget: budget(subject.image.payload()),
        ..Case::default()
    };
    case.memory.truncate(1);
    case.memory.push(MemoryEntry::usable(FIRST_MEGABYTE.end, args.memory.min(HOLE)));
    if args.memory > HOLE {
        case.memory.push(MemoryEntry::usable(FOUR_GIB, FOUR_GIB + args.memory - HOLE));
    }
    // So that page tables for terabytes fit into the first megabyte.
    case.cpu.gib_pages = protocol == Protocol::Bits64;
    case
}

/// The error in the words of whoever described the machine.
fn misplaced(args: &Args, error: &CaseError) -> anyhow::Error {
    match (&args.case, error.field) {
        (Some(file), _) => anyhow!("{}: case.{error}", file.display()),
        (None, "load") => anyhow!("--load or --memory: {}", error.problem),
        (None, "protocol" | "xloadflags") => anyhow!("--protocol: {}", error.problem),
        (None, "command_line") => anyhow!("--command-line: {}", error.problem),
        (None, _) => anyhow!("{error}"),
    }
}

/// Writes the first run with a finding of its own.
fn save(
    dir: &Path,
    image: &Path,
    subject: &Subject,
    surveyed: &Surveyed,
) -> anyhow::Result<Option<PathBuf>> {
    let own = surveyed.image_findings.len();
    let failing = surveyed.runs.iter().find(|run| run.judgement.findings.len() > own);
    failing
        .map(|run| {
            let sha256 = subject.image.sha256();
            let shown = case_of(&surveyed.case, run);
            case::save(dir, image, &sha256, &surveyed.image_findings, &shown, &run.judgement)
        })
        .transpose()
}
