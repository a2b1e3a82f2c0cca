// SPDX-License-Identifier: GPL-2.0-only
//! The plan of a campaign: which images, entered how, by which loaders, in how many cases.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::case::{Loader, Protocol, Protocols};
use crate::toml_file;

/// The version of the format that this program reads.
const SCHEMA: u32 = 1;
/// The most cases that one image may have, as on the command line of `relocheck check`.
const MOST_CASES: usize = 1_000_000;

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NightlyPlan {
    #[serde(rename = "schema")]
    _schema: u32,
    /// What reports and the history call the campaign.
    pub name: String,
    /// Seed of everything that is drawn.
    #[serde(default = "one")]
    pub seed: u64,
    /// Seconds that the cases of one image may take in all.
    pub seconds_per_image: Option<u64>,
    /// A list of cases that showed a mistake once, such as corpus/cases/findings.toml; they are run first.
    pub regressions: Option<PathBuf>,
    /// The file of known issues.
    pub known_issues: Option<PathBuf>,
    /// What is run, in this order.
    #[serde(rename = "run")]
    pub runs: Vec<PlannedRun>,
}

/// Images, and what is done with each of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRun {
    /// Sets of the corpus.
    #[serde(default)]
    pub sets: Vec<String>,
    /// Image files, build directories, or patterns of them.
    #[serde(default)]
    pub images: Vec<PathBuf>,
    /// Entry protocols: each is run for itself; `all` draws from those that the image has.
    #[serde(default = "all_protocols")]
    pub protocols: Vec<PlannedProtocol>,
    /// Loaders: each is run for itself; `any` is everything that the boot protocol allows.
    #[serde(default = "any_loader")]
    pub loaders: Vec<Loader>,
    /// Cases of each image, protocol and loader.
    pub cases: usize,
}

/// An entry protocol in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum PlannedProtocol {
    /// Whatever the image has.
    #[serde(rename = "all")]
    All,
    /// The 32-bit entry.
    #[serde(rename = "32")]
    Bits32,
    /// The 64-bit entry.
    #[serde(rename = "64")]
    Bits64,
}

/// A plan that cannot be used. The message is one line and names file and field.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct PlanError {
    /// The file.
    pub path: String,
    /// What is wrong, and where.
    pub problem: String,
}

fn one() -> u64 {
    1
}

fn all_protocols() -> Vec<PlannedProtocol> {
    vec![PlannedProtocol::All]
}

fn any_loader() -> Vec<Loader> {
    vec![Loader::Any]
}

impl NightlyPlan {
    /// Reads the plan at `path`. Relative paths in it start from the plan's folder.
    ///
    /// # Errors
    /// It is no TOML file of this format; unknown fields are errors.
    pub fn read(path: &Path) -> Result<NightlyPlan, PlanError> {
        let error = |problem| PlanError { path: path.display().to_string(), problem };
        let text = toml_file::read(path, "a plan").map_err(error)?;
        let mut plan = NightlyPlan::parse(&text).map_err(error)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let below = |path: &mut PathBuf| *path = folder.join(&path);
        plan.regressions.iter_mut().for_each(below);
        plan.known_issues.iter_mut().for_each(below);
        plan.runs.iter_mut().flat_map(|run| &mut run.images).for_each(below);
        Ok(plan)
    }

    fn parse(text: &str) -> Result<NightlyPlan, String> {
        let plan: NightlyPlan = toml_file::parse_versioned(text, SCHEMA)?;
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if plan.name.is_empty() || !plan.name.chars().all(named) || plan.name.starts_with('.') {
            return Err(format!("name: expected letters, digits and -_., found {:?}", plan.name));
        }
        if plan.seconds_per_image == Some(0) {
            return Err("seconds_per_image: expected at least 1".into());
        }
        if plan.runs.is_empty() {
            return Err("run: expected at least one [[run]]".into());
        }
        for (number, run) in plan.runs.iter().enumerate() {
            let error = |problem| Err(format!("run number {}: {problem}", number + 1));
            if !(1..=MOST_CASES).contains(&run.cases) {
                return error(format!("cases: expected 1 to {MOST_CASES}, found {}", run.cases));
            }
            if run.sets.is_empty() && run.images.is_empty() {
                return error("expected sets or images".into());
            }
            if run.protocols.is_empty() || run.loaders.is_empty() {
                return error("protocols, loaders: expected at least one, or no such field".into());
            }
        }
        Ok(plan)
    }

    /// The time that the cases of one image may take.
    pub fn time_limit(&self) -> Option<Duration> {
        self.seconds_per_image.map(Duration::from_secs)
    }
}

impl From<PlannedProtocol> for Protocols {
    fn from(protocol: PlannedProtocol) -> Protocols {
        match protocol {
            PlannedProtocol::All => Protocols::All,
            PlannedProtocol::Bits32 => Protocols::Only(Protocol::Bits32),
            PlannedProtocol::Bits64 => Protocols::Only(Protocol::Bits64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "schema = 1\nname = \"n\"\n[[run]]\nsets = [\"default\"]\ncases = 4\n";

    #[test]
    fn what_is_left_out_has_its_default() {
        let plan = NightlyPlan::parse(PLAN).unwrap();
        assert_eq!((plan.seed, plan.time_limit()), (1, None));
        assert_eq!(plan.runs[0].protocols, [PlannedProtocol::All]);
        assert_eq!(plan.runs[0].loaders, [Loader::Any]);
    }

    #[test]
    fn errors_are_one_line_that_names_the_field() {
        for (from, to, expected) in [
            ("schema = 1", "schema = 2", "schema: expected 1, found 2"),
            ("\"n\"", "\"a b\"", "name: expected letters"),
            ("\"n\"", "\"../x\"", "name: expected letters"),
            ("cases = 4", "cases = 0", "run number 1: cases: expected 1 to 1000000, found 0"),
            ("cases = 4", "cases = 4\nspeed = 2", "unknown field `speed`"),
            ("sets = [\"default\"]", "", "run number 1: expected sets or images"),
            ("cases = 4", "cases = 4\nloaders = [\"lilo\"]", "unknown variant `lilo`"),
            ("cases = 4", "cases = 4\nprotocols = []", "run number 1: protocols, loaders"),
            ("\"n\"", "\"n\"\nseconds_per_image = 0", "seconds_per_image: expected at least 1"),
        ] {
            assert!(PLAN.contains(from), "{from}");
            let error = NightlyPlan::parse(&PLAN.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
