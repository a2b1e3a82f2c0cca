// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck shrink`: make a failing case simpler.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;

use super::{Failure, case, print};
use crate::campaign::{run, shrink};
use crate::case::{CaseFile, place};
use crate::exit::Exit;
use crate::machine::UnicornEngine;
use crate::oracle::{Rule, Verdict};
use crate::report::judgement_text;

/// Make a failing case simpler, as long as it breaks the same rule.
///
/// What has no part in the failure goes: objects of the loader's, words of the command line, regions of memory; the
/// load address comes nearer to where the kernel was linked. The simpler case is printed, or written to a file.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck shrink reports/cases/0123456789ab-memory.toml
  relocheck shrink --keep fault -o simple.toml case.toml")]
pub struct Args {
    /// The case file.
    #[arg(value_name = "CASE")]
    case: PathBuf,

    /// The rule that must stay broken. [default: that of the first finding]
    #[arg(long, value_name = "RULE")]
    keep: Option<Rule>,

    /// Use this image, whatever its SHA-256.
    #[arg(long)]
    image: Option<PathBuf>,

    /// Runs that this may take.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,

    /// Write the simpler case to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Shrinks the case; diverges if it still shows what it showed.
pub fn run_command(args: Args) -> Result<Exit, Failure> {
    let (file, subject) = case::open(&args.case, args.image.as_ref())?;
    let engine = UnicornEngine::new();
    let judgement = run(&engine, &subject, &file.case).judgement;
    let own = judgement.findings.iter().skip(subject.image_findings.len());
    let Some(keep) = args.keep.or(own.map(|finding| finding.rule).next()) else {
        return Err(Failure::cannot_judge(anyhow!(
            "{}: the case {}: there is nothing to shrink",
            args.case.display(),
            judgement.verdict()
        )));
    };
    if !judgement.findings.iter().any(|finding| finding.rule == keep) {
        let why = anyhow!("{}: the case does not break the rule {keep}", args.case.display());
        return Err(Failure::cannot_judge(why));
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(250));
    let limit = args.runs as usize;
    let preferred = subject.link.physical;
    let mut tried = 0;
    let shrunk = shrink(file.case, judgement, keep, preferred, limit, |case| {
        place(&subject.image, subject.word, case).ok()?;
        tried += 1;
        bar.set_message(format!("{tried} cases tried"));
        Some(run(&engine, &subject, case).judgement)
    });
    bar.finish_and_clear();
    let text = CaseFile::new(file.image, shrunk.case.clone()).to_toml();
    match &args.output {
        None => print(&text)?,
        Some(path) => {
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
            print(&judgement_text(&shrunk.case, &shrunk.judgement))?;
        }
    }
    Ok(match shrunk.judgement.verdict() {
        Verdict::Conforms => Exit::Conforms,
        Verdict::Diverges => Exit::Diverges,
        Verdict::CannotJudge => Exit::CannotJudge,
    })
}
