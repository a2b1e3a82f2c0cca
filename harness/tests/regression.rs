// SPDX-License-Identifier: GPL-2.0-only
//! The regression reports of real kernels against the ones that a person has approved (`snapshots/`).
//!
//! Of the default corpus there is one for each family of images (word size and compressor): whichever kernel of a family the
//! corpus brings has to give the family's report. Of the set `generations` there is one for each entry, and of kernels that
//! were built from source one for each configuration, whatever the compressor.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::campaign::{Input, Plan, Progress, check, image_record};
use relocheck::case::Protocols;
use relocheck::corpus::build::{BuildError, Builds, CachedBuild};
use relocheck::image::{Compression, Image};
use relocheck::machine::UnicornEngine;
use relocheck::oracle::Verdict;
use relocheck::report::regression;

mod kernels;

/// The entries of the corpus set `default`.
const KERNELS: [&str; 4] =
    ["debian-amd64", "debian-cloud", "debian-686-pae", "debian-cloud-newest"];
/// Those of the set `generations` that are not of the set `default` anyway.
const GENERATIONS: [&str; 7] = [
    "bullseye-cloud",
    "bullseye-686-pae",
    "bookworm-cloud",
    "bookworm-686-pae",
    "trixie-cloud",
    "backports-6.18-cloud",
    "backports-cloud",
];
const SEED: u64 = 1;
const CASES: usize = 16;
/// Half as many still have both protocols, KASLR on and off, a loader of its own, and most themes.
const CASES_OF_GENERATION: usize = 8;
/// A 64-bit xz kernel takes ten times as long as an LZ4 one. Four cases still have both protocols, KASLR on and off,
/// and an address above 4 GiB.
const CASES_OF_SLOW: usize = 4;
const XLF_KERNEL_64: u16 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let families = KERNELS.iter().map(|entry| {
        kernels::trial(&format!("regression_{entry}"), entry, |path| family(entry, path))
    });
    let generations = GENERATIONS.iter().map(|entry| {
        let compare = |path| compare(entry, path, CASES_OF_GENERATION, "", entry, None);
        kernels::trial(&format!("generation_{entry}"), entry, compare)
    });
    let trials = families.chain(generations).chain(builds()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test for each build that is cached; without any, one that is ignored.
fn builds() -> Vec<Trial> {
    let cached = || -> Result<Vec<(String, String, CachedBuild)>, BuildError> {
        let builds = Builds::open(None)?;
        let mut cached = Vec::new();
        for build in builds.select(&[])? {
            if let Some(found) = builds.get(&build)?.filter(|_| build.family.is_relocatable()) {
                cached.push((build.name(), build.family.name.to_string(), found));
            }
        }
        Ok(cached)
    };
    let trial = |(name, family, build): (String, String, CachedBuild)| {
        let test_name = format!("build_{name}");
        let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots/builds");
        let snapshot = snapshots.join(format!("{family}.snap"));
        let test = move || {
            let any = Some("any compressor");
            compare(&name, build.image(), CASES_OF_GENERATION, "builds", &family, any)
        };
        // Which configurations are built depends on the machine; one that nobody has looked at yet is not compared.
        let unread = !snapshot.is_file() && !accepting();
        if unread {
            eprintln!("SKIPPED: {test_name}: there is no snapshot yet: see snapshots/README.md");
        }
        Trial::test(test_name, test).with_ignored_flag(unread)
    };
    let missing = |why: String| {
        eprintln!("SKIPPED: kernels built from source: {why}");
        let test = move || Err(Failed::from(why));
        vec![Trial::test("builds", test).with_ignored_flag(true)]
    };
    match cached() {
        Ok(builds) if builds.is_empty() => missing("none; run `relocheck corpus build`".into()),
        Ok(builds) => builds.into_iter().map(trial).collect(),
        Err(error) => missing(error.to_string()),
    }
}

/// Whether snapshots are being written, rather than compared.
fn accepting() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always" || update == "new")
}

/// Compares with the report of the image's family.
fn family(entry: &str, path: PathBuf) -> Result<(), Failed> {
    let image = Image::open(&path)?;
    let bits = if image.header().xloadflags.unwrap_or(0) & XLF_KERNEL_64 != 0 { 64 } else { 32 };
    let compression = image.payload().compression;
    let cases = if (bits, compression) == (64, Compression::Xz) { CASES_OF_SLOW } else { CASES };
    compare(entry, path, cases, "", &format!("{bits}-bit-{compression}"), None)
}

/// Compares an image with the snapshot `name` below `folder`. With `compressor` that word stands in the report.
fn compare(
    entry: &str,
    path: PathBuf,
    bases: usize,
    folder: &str,
    name: &str,
    compressor: Option<&str>,
) -> Result<(), Failed> {
    let plan =
        Plan { bases, seed: SEED, protocols: Protocols::All, loaders: vec![], shrink_runs: 0 };
    let input = Input { name: entry.to_owned(), path, vmlinux: None };
    let results = check(&UnicornEngine::new(), &[input], &plan, &Quiet);

    // A failure is easier to understand with the findings than with their number.
    for case in results.iter().flat_map(|result| &result.cases) {
        for finding in &case.judgement.findings {
            eprintln!("load {:#x}: {finding}", case.case.load);
        }
    }
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(Path::new("../../snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description("The regression report of a kind of kernel");
    let mut record = image_record(0, &plan, &results[0]);
    if let (Some(facts), Some(compressor)) = (&mut record.facts, compressor) {
        facts.compression = compressor.to_owned();
    }
    let report = regression(SEED, &record);
    settings.bind(|| insta::assert_snapshot!(name, report));
    Ok(())
}

struct Quiet;

impl Progress for Quiet {
    fn case_done(&self, _: &Input, _: Verdict) {}
}
