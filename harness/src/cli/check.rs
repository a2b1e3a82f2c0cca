// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck check`: explore images.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use indicatif::ProgressBar;

use super::bar::bar;
use super::jobs::Jobs;
use super::{Failure, case, complain, images, output};
use crate::campaign::{self, ImageResult, Input, Plan, Progress};
use crate::case::{Loader, Protocols};
use crate::exit::Exit;
use crate::machine::UnicornEngine;
use crate::oracle::Verdict;
use crate::report::Format;

/// Check that images relocate themselves correctly, from many load addresses.
///
/// Each case loads the image at an address, enters it as a boot loader would, runs its own stub to the jump into the
/// kernel, and compares memory, registers and side effects with a reference computed from the image alone. The first
/// failing case of an image is made as simple as possible and written to a file that `relocheck replay` runs again.
///
/// Exit codes: 0 all conform, 1 an image diverges, 2 a file cannot be used, 125 something could not be judged.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck check /boot/vmlinuz-*
  relocheck check --bases 64 --seed 1 arch/x86/boot/bzImage
  relocheck check ~/linux                      a kernel build directory
  relocheck check --vmlinux vmlinux bzImage    compares its relocation table with the one in vmlinux, too
  relocheck check --corpus default             the kernels that `relocheck corpus fetch` got
  relocheck check --loader kdump,kexec-64 /boot/vmlinuz-*
  relocheck check --format json -o report.json /boot/vmlinuz-6.1.0-*
  relocheck check --format junit -o junit.xml arch/x86/boot/bzImage
  relocheck check .                            the tree at hand, as `git bisect run` does (see the README)")]
pub struct Args {
    /// bzImage files, or directories in which a kernel was built.
    #[arg(value_name = "IMAGE", required_unless_present = "corpus")]
    images: Vec<PathBuf>,

    /// Check the fetched images of this corpus set, too.
    #[arg(long, value_name = "SET")]
    corpus: Option<String>,

    /// The ELF file that the one image was made from: its relocations tell what the image's table must have. Up to 6.14 it is
    /// vmlinux, from 6.15 on vmlinux.unstripped. [default: the one in the image's build directory, if it is in one]
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    /// Cases per image.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bases: u32,

    /// Seed of everything that is drawn: the same seed gives the same cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Entry protocol.
    #[arg(long, value_enum, default_value_t = Protocols::All)]
    protocol: Protocols,

    /// Loaders whose addresses and habits the cases have, such as kdump,coreboot. [default: whatever the boot protocol
    /// allows, and each loader now and then]
    #[arg(long = "loader", value_name = "LOADER", value_delimiter = ',')]
    loaders: Vec<Loader>,

    #[command(flatten)]
    jobs: Jobs,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write the report to this file instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,

    /// Where failing cases are written.
    #[arg(long, value_name = "DIR", default_value = "reports/cases")]
    case_dir: PathBuf,
}

/// Runs for shrinking one failing case.
const SHRINK_RUNS: usize = 64;

/// Checks the images; the exit code is that of the worst one.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let mut inputs = images::resolve(&args.images)?;
    if let Some(set) = &args.corpus {
        inputs.extend(images::of_set(set)?);
    }
    if args.vmlinux.is_some() {
        let [input] = &mut inputs[..] else {
            return Err(Failure::usage(anyhow!(
                "--vmlinux belongs to one image, and there are {}: check them one by one",
                inputs.len()
            )));
        };
        input.vmlinux = args.vmlinux;
    }
    let plan = Plan {
        bases: args.bases as usize,
        seed: args.seed,
        protocols: args.protocol,
        loaders: args.loaders,
        shrink_runs: SHRINK_RUNS,
    };
    let pool = args.jobs.pool()?;
    let engine = UnicornEngine::new();
    let bar = Bar(bar(inputs.len() * plan.bases, "cases"));
    let results = pool.install(|| campaign::check(&engine, &inputs, &plan, &bar));
    bar.0.finish_and_clear();

    let mut report = campaign::report(&plan, &results);
    for (result, image) in results.iter().zip(&mut report.images) {
        let file = save(&args.case_dir, result)?;
        if let (Some(shrunk), Some(file)) = (&mut image.shrunk, file) {
            shrunk.file = Some(file.display().to_string());
        }
    }
    // People need no table of files that could not be opened: why is said below. A file must not stay what it was.
    let opened = results.iter().any(|result| result.image.is_ok());
    if opened || args.format != Format::Text || args.output.is_some() {
        output::report(&report, args.format, args.output.as_deref())?;
    }
    for result in &results {
        if let Err(failure) = &result.image {
            complain(format_args!("{}: {}", result.input.path.display(), failure.message));
        }
    }
    Ok(results
        .iter()
        .map(ImageResult::exit)
        .max_by_key(|exit| severity(*exit))
        .unwrap_or(Exit::Conforms))
}

/// A divergence is the news; an unusable file comes before a doubt.
fn severity(exit: Exit) -> u8 {
    match exit {
        Exit::Conforms => 0,
        Exit::CannotJudge => 1,
        Exit::Usage => 2,
        Exit::Diverges => 3,
        Exit::Internal => 4,
    }
}

/// Writes the simplest failing case of an image.
fn save(dir: &Path, result: &ImageResult) -> anyhow::Result<Option<PathBuf>> {
    let (Some((shrunk, judgement)), Ok(facts)) = (&result.shrunk, &result.image) else {
        return Ok(None);
    };
    let image = &result.input.path;
    case::save(dir, image, &facts.sha256, &facts.findings, shrunk, judgement).map(Some)
}

struct Bar(ProgressBar);

impl Progress for Bar {
    fn case_done(&self, image: &Input, verdict: Verdict) {
        self.0.inc(1);
        self.0.set_message(match verdict {
            Verdict::Diverges => format!("{} diverges", image.name),
            _ => image.name.clone(),
        });
    }
}
