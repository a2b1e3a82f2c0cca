// SPDX-License-Identifier: GPL-2.0-only
//! The bugs of corpus/bugs that are built are found, and their twins conform. What is not built is not tested: that is
//! said on standard error, and the test counts as ignored.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::civil::Date;
use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::campaign::bugs::{Bug, Catalogue, Hunt, Hunted, Quarry, altered, check_twins, hunt};
use relocheck::campaign::nightly::KnownIssues;
use relocheck::campaign::{Input, Progress};
use relocheck::corpus::build::Builds;
use relocheck::machine::UnicornEngine;
use relocheck::oracle::Verdict;

/// As many as `relocheck bugs` runs.
const CASES: usize = 256;
/// Fewer for what conforms, and so runs all of them.
const TWIN_CASES: usize = 32;
const SEED: u64 = 1;
/// A day on which the known issues stand.
const TODAY: Date = Date::constant(2026, 11, 1);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let catalogue = Catalogue::load(None).expect("the built-in catalogue");
    let builds = Builds::open(None).expect("a folder for caches");
    let bugs = catalogue.select(&[]).expect("all bugs");
    let altered = altered(&builds, &bugs).expect("twins of the matrix");
    let mut trials = Vec::new();
    let mut twins: Vec<Quarry> = Vec::new();
    for (bug, altered) in bugs.into_iter().zip(altered) {
        let image = builds.get_altered(&altered).ok().flatten().map(|build| build.image());
        let bug = bug.clone();
        let name = format!("{}_is_found", bug.entry.name);
        trials.push(trial(&name, image, move |image| is_found(&bug, image)));
        let image = builds.get(&altered.twin).ok().flatten().map(|build| build.image());
        let quarry = Quarry {
            input: Input {
                name: altered.twin.name(),
                path: image.unwrap_or_default(),
                vmlinux: None,
            },
            protocols: relocheck::case::Protocols::All,
            loaders: Vec::new(),
        };
        if !twins.contains(&quarry) {
            twins.push(quarry);
        }
    }
    for twin in twins {
        let there = twin.input.path != Path::new("");
        let image = there.then(|| twin.input.path.clone());
        let name = format!("{}_conforms", twin.input.name);
        trials.push(trial(&name, image, move |_| conforms(&twin)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(
    name: &str,
    image: Option<PathBuf>,
    test: impl FnOnce(PathBuf) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    const WHY: &str = "not built: run `relocheck corpus build bugs`";
    if image.is_none() {
        eprintln!("SKIPPED: {name}: {WHY}");
    }
    let missing = image.is_none();
    Trial::test(name, move || test(image.ok_or(WHY)?)).with_ignored_flag(missing)
}

fn is_found(bug: &Bug, image: PathBuf) -> Result<(), Failed> {
    let known = KnownIssues::built_in(TODAY)?;
    let how = Hunt { cases: CASES, seed: SEED, known: &known };
    let engine = UnicornEngine::new();
    match &hunt(&engine, &[(bug, image)], how, &|_, _| {})[..] {
        [Hunted::Found(_)] => Ok(()),
        other => Err(format!("{:?} had to speak: {other:?}", bug.entry.rules).into()),
    }
}

fn conforms(twin: &Quarry) -> Result<(), Failed> {
    let known = KnownIssues::built_in(TODAY)?;
    let engine = UnicornEngine::new();
    let records =
        check_twins(&engine, std::slice::from_ref(twin), (TWIN_CASES, SEED), &known, &Silent);
    let alarm = records
        .iter()
        .flat_map(|record| record.findings())
        .find(|(_, found)| found.known.is_none());
    match (alarm, records.iter().all(|record| record.exit_code == 0)) {
        (None, true) => Ok(()),
        (alarm, _) => Err(format!("a false alarm: {alarm:?}").into()),
    }
}

struct Silent;

impl Progress for Silent {
    fn case_done(&self, _image: &Input, _verdict: Verdict) {}
}
