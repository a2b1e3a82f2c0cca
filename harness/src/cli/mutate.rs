// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck mutate`: does relocheck find the mistakes that an image could have?

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::bar::bar;
use super::jobs::Jobs;
use super::{Failure, Format, images, output};
use crate::campaign::Input;
use crate::exit::Exit;
use crate::image::Image;
use crate::machine::UnicornEngine;
use crate::mutate::{self, Bench, Choice, Class, Fate, Symbols, Twin};
use crate::report::MutationReport;

/// Make mutants of an image, each with one mistake, and see which of them relocheck finds out.
///
/// The mutants are judged by what the unmutated image demands, in a few cases of `relocheck check` that together run most of
/// its stub. A mutant is killed if an oracle speaks, and equivalent if it is proved that it does the same. All others
/// survive: without any difference, with one that nobody reads any more, or with one that an oracle should have seen.
///
/// The kernel is compressed anew for each mutant of table and payload: that takes a fraction of a second for gzip and LZ4, and
/// too long for kernels of distributions that are packed with xz or zstd.
///
/// Exit codes: 0 all are found out, equivalent, or not reached by any case; 1 some survive; 2 a file or the command line
/// cannot be used; 125 something could not be judged.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck mutate --class stub --count 300 arch/x86/boot/bzImage
  relocheck mutate --class table,payload --seed 7 bzImage
  relocheck mutate --class header --format json -o mutants.json bzImage")]
pub struct Args {
    /// A bzImage file, or a directory in which a kernel was built.
    image: PathBuf,

    /// What the mistakes are in. [default: all]
    #[arg(long = "class", value_name = "CLASS", value_delimiter = ',')]
    classes: Vec<Class>,

    /// Mutants of each class.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,

    /// Seed of the mutants: the same seed gives the same report.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Cases of `relocheck check` from which those for the mutants are picked.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    consider: u32,

    /// Cases for the mutants, at most.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=64))]
    cases: u32,

    /// The ELF file of the stub, for names. [default: arch/x86/boot/compressed/vmlinux of the image's build folder]
    #[arg(long, value_name = "FILE")]
    stub: Option<PathBuf>,

    #[command(flatten)]
    jobs: Jobs,

    /// How to print: text for people, JSON for programs.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write the report to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

impl ValueEnum for Class {
    fn value_variants<'a>() -> &'a [Class] {
        &Class::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// Makes, judges and prints.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let inputs = images::resolve(std::slice::from_ref(&args.image))?;
    let [Input { name, path, .. }] = &inputs[..] else { unreachable!("one path is one image") };
    let named = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    let image =
        Image::open(path).map_err(|error| Failure { exit: error.exit(), error: named(&error) })?;
    let symbols = match &args.stub {
        None => mutate::symbols_beside(path),
        Some(file) => {
            let bytes = std::fs::read(file)
                .with_context(|| file.display().to_string())
                .map_err(Failure::usage)?;
            Symbols::read(&bytes)
                .map_err(|error| Failure::usage(anyhow!("{}: {error}", file.display())))?
        }
    };
    let sha256 = image.sha256();
    let twin = Twin::new(image)
        .map_err(|failure| Failure { exit: failure.exit, error: named(&failure.message) })?;
    let pool = args.jobs.pool()?;
    let engine = UnicornEngine::new();
    let choice = Choice { considered: args.consider as usize, most: args.cases as usize };
    let progress = bar(choice.considered, "cases looked at");
    let bench = pool.install(|| Bench::new(&engine, &twin, symbols, choice, &|| progress.inc(1)));
    progress.finish_and_clear();
    let bench =
        bench.map_err(|failure| Failure { exit: failure.exit, error: named(&failure.message) })?;

    let wanted = |class: &Class| args.classes.is_empty() || args.classes.contains(class);
    let mutants: Vec<_> = Class::ALL
        .into_iter()
        .filter(wanted)
        .flat_map(|class| mutate::draw(&bench, class, args.count as usize, args.seed))
        .collect();
    let progress = bar(mutants.len(), "mutants");
    let results = pool.install(|| mutate::judge(&engine, &bench, mutants, &|_| progress.inc(1)));
    progress.finish_and_clear();

    let report = MutationReport {
        name,
        sha256: &sha256,
        seed: args.seed,
        considered: choice.considered,
        bench: &bench,
        results: &results,
    };
    let text = match args.format {
        Format::Text => report.text(),
        Format::Json => report.json().context("JSON")?,
    };
    output::text(&text, args.output.as_deref())?;
    let survives = |fate: &Fate| {
        matches!(fate, Fate::Same | Fate::Idle(_) | Fate::Believed | Fate::Differs(_))
    };
    let doubtful = |fate: &Fate| matches!(fate, Fate::NotJudged(_) | Fate::NotBuilt(_));
    let any = |chosen: &dyn Fn(&Fate) -> bool| results.iter().any(|(_, fate)| chosen(fate));
    Ok(match (any(&survives), any(&doubtful)) {
        (true, _) => Exit::Diverges,
        (false, true) => Exit::CannotJudge,
        (false, false) => Exit::Conforms,
    })
}
