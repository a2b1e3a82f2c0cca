// SPDX-License-Identifier: GPL-2.0-only
//! The regression reports of the default corpus against the ones that a person has approved (`snapshots/`).
//!
//! One report per family of images (word size and compressor), because that is what decides how a stub behaves here;
//! whichever kernel of a family the corpus brings has to give the family's report.

use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed};
use relocheck::campaign::{Input, Plan, Progress, check, image_record};
use relocheck::case::Protocols;
use relocheck::image::{Compression, Image};
use relocheck::machine::UnicornEngine;
use relocheck::oracle::Verdict;
use relocheck::report::regression;

mod kernels;

/// The entries of the corpus set `default`.
const KERNELS: [&str; 4] =
    ["debian-amd64", "debian-cloud", "debian-686-pae", "debian-cloud-newest"];
const SEED: u64 = 1;
const CASES: usize = 16;
/// A 64-bit xz kernel takes ten times as long as an LZ4 one. Four cases still have both protocols, KASLR on and off,
/// and an address above 4 GiB.
const CASES_OF_SLOW: usize = 4;
const XLF_KERNEL_64: u16 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = KERNELS
        .iter()
        .map(|entry| {
            kernels::trial(&format!("regression_{entry}"), entry, |path| compare(entry, path))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn compare(entry: &str, path: PathBuf) -> Result<(), Failed> {
    let image = Image::open(&path)?;
    let bits = if image.header().xloadflags.unwrap_or(0) & XLF_KERNEL_64 != 0 { 64 } else { 32 };
    let compression = image.payload().compression;
    let bases = if (bits, compression) == (64, Compression::Xz) { CASES_OF_SLOW } else { CASES };
    let plan =
        Plan { bases, seed: SEED, protocols: Protocols::All, loaders: vec![], shrink_runs: 0 };
    let input = Input { name: entry.to_owned(), path };
    let results = check(&UnicornEngine::new(), &[input], &plan, &Quiet);

    // A failure is easier to understand with the findings than with their number.
    for case in results.iter().flat_map(|result| &result.cases) {
        for finding in &case.judgement.findings {
            eprintln!("load {:#x}: {finding}", case.case.load);
        }
    }
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description("The regression report of one family of images");
    let family = format!("{bits}-bit-{compression}");
    let report = regression(SEED, &image_record(0, &plan, &results[0]));
    settings.bind(|| insta::assert_snapshot!(family, report));
    Ok(())
}

struct Quiet;

impl Progress for Quiet {
    fn case_done(&self, _: &Input, _: Verdict) {}
}
