// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay`: run one case again.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;

use super::{Failure, print};
use crate::campaign;
use crate::case::{CaseFile, Fault, place};
use crate::exit::Exit;
use crate::image::Image;
use crate::machine::UnicornEngine;
use crate::oracle::{Subject, Verdict};
use crate::report::{judgement_report, judgement_text};

/// Run the case in a case file again, and say what it shows.
///
/// The image is the one that the case was written for, told by its SHA-256.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck replay reports/cases/0123456789ab-memory.toml
  relocheck replay case.toml --image arch/x86/boot/bzImage    the same case, another build")]
pub struct Args {
    /// The case file.
    #[arg(value_name = "CASE")]
    case: PathBuf,

    /// Run the case on this image, whatever its SHA-256.
    #[arg(long)]
    image: Option<PathBuf>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Print what the stub wrote to its serial port, too.
    #[arg(long)]
    console: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs the case once.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = CaseFile::read(&args.case).map_err(Failure::usage)?;
    let path = args.image.as_ref().unwrap_or(&file.image.path);
    let image = Image::open(path).map_err(|error| Failure {
        exit: error.exit(),
        error: anyhow!("{}: {error}", path.display()),
    })?;
    let sha256 = image.sha256();
    if args.image.is_none() && sha256 != file.image.sha256 {
        return Err(Failure::cannot_judge(anyhow!(
            "{}: SHA-256 is {sha256}, the case is for {}; name the right file with --image",
            path.display(),
            file.image.sha256
        )));
    }
    let subject = Subject::new(image).map_err(|error| Failure {
        exit: error.exit(),
        error: anyhow!("{}: {error}", path.display()),
    })?;
    if let Err(error) = place(&subject.image, subject.word, &file.case)
        && error.fault == Fault::Case
    {
        return Err(Failure::usage(anyhow!("{}: case.{error}", args.case.display())));
    }

    let run = campaign::run(&UnicornEngine::new(), &subject, &file.case);
    let mut text = match args.format {
        Format::Text => judgement_text(&file.case, &run.judgement),
        Format::Json => {
            let report = judgement_report(&run.judgement);
            serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)? + "\n"
        }
    };
    if args.console {
        text += &String::from_utf8_lossy(&run.serial);
    }
    print(&text)?;
    Ok(match run.judgement.verdict() {
        Verdict::Conforms => Exit::Conforms,
        Verdict::Diverges => Exit::Diverges,
        Verdict::CannotJudge => Exit::CannotJudge,
    })
}
