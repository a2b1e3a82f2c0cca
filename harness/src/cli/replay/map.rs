// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay --map`: memory over the phases of the run, as a picture.

use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::super::{Failure, bar};
use super::target::Target;
use crate::explain::phases::{Cells, Expected, Recorder};
use crate::oracle::Judgement;
use crate::report::{MapReport, map};

/// Where the picture goes to.
#[derive(clap::Args)]
#[command(next_help_heading = "Picture")]
pub struct MapArgs {
    /// Run the case again, and draw memory as each phase of the run left it, with what is wrong: an SVG file.
    #[arg(long = "map", value_name = "FILE.svg")]
    map: Option<PathBuf>,
}

/// Draws the picture, if one is wanted.
pub fn run(args: &MapArgs, target: &Target, judgement: &Judgement) -> Result<(), Failure> {
    let Some(path) = &args.map else { return Ok(()) };
    if path.extension().is_none_or(|extension| extension != "svg") {
        let error = anyhow!("{}: expected a name that ends in .svg", path.display());
        return Err(Failure::usage(error));
    }
    let setup = target.setup()?;
    let Target { name, subject, case, .. } = target;
    let expected = Expected::new(subject, case, &setup, judgement.landing);
    let cells = expected.map(|expected| Cells::new(subject, &expected)).unwrap_or_default();
    let interest = Recorder::interest(&cells);
    let spinner = bar::spinner("blocks watched");
    let tick = spinner.clone();
    let recorder = Recorder::new(&setup, cells, move |blocks| tick.set_position(blocks));
    let run = target.observe(&setup, &interest, recorder);
    spinner.finish_and_clear();
    let (outcome, recorder) = run?;
    let phases = recorder.finish(&outcome);
    let picture = map(&MapReport {
        name,
        subject,
        case,
        setup: &setup,
        judgement,
        end: &outcome.end,
        expected,
        phases: &phases,
    });
    std::fs::write(path, picture)
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)
}
