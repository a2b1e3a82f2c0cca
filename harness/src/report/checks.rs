// SPDX-License-Identifier: GPL-2.0-only
//! A report as suites of checks, which is what test formats know: a suite for each image, and in it a check for the image
//! itself and one for each case; a suite for the regression cases.
//!
//! What fails is what gives exit code 1, what is broken gives 2 or 70. Known issues and what cannot be judged (exit code
//! 125) are told, and fail nothing.

use super::again;
use super::plain::{count, one_line};
use crate::exit::Exit;
use crate::oracle::Verdict;
use crate::record::{
    CaseRecord, Expected, Found, ImageRecord, JudgementRecord, RegressionRecord, Report, Standing,
};

/// More findings of one check than this are only counted.
const SHOWN_FINDINGS: usize = 20;

/// The checks of one image, or the regression cases.
pub struct Suite {
    /// Its name.
    pub name: String,
    /// What it is about: names and values.
    pub facts: Vec<(&'static str, String)>,
    /// The checks; none is without.
    pub checks: Vec<Check>,
}

/// One check.
pub struct Check {
    /// Its name: the same for the same case of any build of the image.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// More about it, in lines.
    pub details: Vec<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
}

/// What came of a check; a line that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it must be.
    Passed,
    /// A new divergence.
    Failed(String),
    /// A divergence that belongs to a known issue.
    Known(String),
    /// Nothing can be said.
    Skipped(String),
    /// The file cannot be used, or relocheck failed.
    Broken(String),
}

/// The checks that a report is about.
pub fn suites(report: &Report) -> Vec<Suite> {
    let regressions = (!report.regressions.is_empty()).then(|| Suite {
        name: "regressions".into(),
        facts: Vec::new(),
        checks: report.regressions.iter().map(regression).collect(),
    });
    regressions.into_iter().chain(report.images.iter().map(|image| suite(report, image))).collect()
}

fn suite(report: &Report, image: &ImageRecord) -> Suite {
    let mut facts = vec![("path", one_line(&image.path)), ("seed", report.seed.to_string())];
    if let Some(known) = &image.facts {
        facts.push(("sha256", one_line(&known.sha256)));
        facts.extend(known.release.iter().map(|release| ("release", one_line(release))));
        facts.push(("word_bits", known.word_bits.to_string()));
        facts.push(("compression", one_line(&known.compression)));
    }
    let mut checks = vec![itself(report, image)];
    checks.extend(image.cases.iter().map(|one| case(report, image, one)));
    if image.not_run > 0 {
        let why = format!("{}: the time for this image was used up", count(image.not_run, "case"));
        checks.push(Check {
            name: "cases not run".into(),
            outcome: Outcome::Skipped(why),
            details: Vec::new(),
            duration_ms: None,
        });
    }
    Suite { name: one_line(&image.title()), facts, checks }
}

fn itself(report: &Report, image: &ImageRecord) -> Check {
    let found = image.facts.iter().flat_map(|facts| &facts.image_findings);
    let found: Vec<&Found> = found.collect();
    let mut details = findings(&found);
    if let Some(group) = image.groups().iter().find(|group| group.first.is_none()) {
        details.push(again::rule(report.seed, image, group.rule, None));
    }
    let outcome = match &image.error {
        Some(error) if image.exit_code == Exit::CannotJudge as u8 => {
            Outcome::Skipped(one_line(error))
        }
        Some(error) => Outcome::Broken(one_line(error)),
        None => diverging(&found).unwrap_or(Outcome::Passed),
    };
    Check { name: "image".into(), outcome, details, duration_ms: None }
}

fn case(report: &Report, image: &ImageRecord, case: &CaseRecord) -> Check {
    let (outcome, mut details) = judgement(&case.judgement);
    if outcome != Outcome::Passed {
        let kaslr = if case.kaslr { "on" } else { "off" };
        let loader = one_line(case.loader.name());
        let entry = format!("{}-bit entry, KASLR {kaslr}, loader {loader}", case.protocol);
        details.insert(0, format!("load {:#x}, {entry}", case.load));
        details.push(again::case(report.seed, image, case));
    }
    let name = format!("case {}", case.number);
    Check { name, outcome, details, duration_ms: Some(case.duration_ms) }
}

fn judgement(judgement: &JudgementRecord) -> (Outcome, Vec<String>) {
    let found: Vec<&Found> = judgement.findings.iter().collect();
    let mut details = findings(&found);
    let doubts = judgement.not_judged.iter().map(|why| one_line(&format!("cannot judge: {why}")));
    details.extend(doubts);
    let doubt = || match judgement.verdict {
        Verdict::Conforms => Outcome::Passed,
        Verdict::CannotJudge | Verdict::Diverges => {
            let first = judgement.not_judged.first().map(String::as_str);
            Outcome::Skipped(one_line(first.unwrap_or("no reason is given")))
        }
    };
    (diverging(&found).unwrap_or_else(doubt), details)
}

/// What findings make of a check: the first that is new decides, or else the first.
fn diverging(found: &[&Found]) -> Option<Outcome> {
    let new = found.iter().find(|found| found.known.is_none());
    let outcome = match new {
        Some(new) => Outcome::Failed(one_line(&new.finding.to_string())),
        None => Outcome::Known(line(found.first()?)),
    };
    Some(outcome)
}

fn findings(found: &[&Found]) -> Vec<String> {
    let mut lines: Vec<String> =
        found.iter().take(SHOWN_FINDINGS).map(|found| line(found)).collect();
    let more = found.len().saturating_sub(SHOWN_FINDINGS);
    if more > 0 {
        lines.push(format!("and {} more", count(more, "finding")));
    }
    lines
}

/// A finding with its known issue, in one line.
pub fn line(found: &Found) -> String {
    let known = found.known.as_ref().map(|id| format!("known issue {id}: ")).unwrap_or_default();
    one_line(&format!("{known}{}", found.finding))
}

fn regression(record: &RegressionRecord) -> Check {
    let (outcome, mut details) = match &record.judgement {
        Some(shown) => judgement(shown),
        None => (Outcome::Passed, Vec::new()),
    };
    let doubt =
        |otherwise: &str| Outcome::Skipped(one_line(record.error.as_deref().unwrap_or(otherwise)));
    let outcome = match (record.standing, outcome) {
        (Standing::AsExpected, _) => Outcome::Passed,
        (Standing::Regressed, Outcome::Known(why) | Outcome::Failed(why)) => Outcome::Failed(why),
        (Standing::Regressed, _) => Outcome::Failed("the mistake is back".into()),
        (Standing::NotShown, _) => doubt(&expectation(record)),
        (Standing::CannotJudge, Outcome::Skipped(why)) => doubt(&why),
        (Standing::CannotJudge, _) => doubt("it could not be judged"),
    };
    if record.standing == Standing::AsExpected {
        details.clear();
    } else {
        details.push(again::regression(record));
    }
    Check {
        name: one_line(&format!("{} on {}", record.case, record.image)),
        outcome,
        details,
        duration_ms: Some(record.duration_ms),
    }
}

/// What a regression case should show and does not.
pub fn expectation(record: &RegressionRecord) -> String {
    match record.expected {
        Expected::Shows(rule) => format!("expected to break the rule {rule}, and does not"),
        Expected::Conforms => "expected to conform, and does not".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    #[test]
    fn only_news_fail() {
        let suites = suites(&samples::everything());
        let names: Vec<&str> = suites.iter().map(|suite| &suite.name[..]).collect();
        let cloud = "debian-cloud (64-bit, kdump)";
        let others = ["debian-amd64", "debian-cloud-newest", "gone", "i386-old"];
        assert_eq!(names[..2], ["regressions", cloud]);
        assert_eq!(names[2..], others);
        let letters = suites.iter().map(|suite| {
            let letter = |check: &Check| match check.outcome {
                Outcome::Passed => 'p',
                Outcome::Failed(_) => 'F',
                Outcome::Known(_) => 'k',
                Outcome::Skipped(_) => 's',
                Outcome::Broken(_) => 'B',
            };
            suite.checks.iter().map(letter).collect::<String>()
        });
        assert_eq!(letters.collect::<Vec<_>>(), ["pFss", "kpFFkss", "pk", "pp", "B", "s"]);
    }

    #[test]
    fn a_failure_tells_the_news_first_and_how_to_see_it_again() {
        let suites = suites(&samples::everything());
        let check = &suites[1].checks[2];
        assert_eq!(check.name, "case 1");
        let Outcome::Failed(why) = &check.outcome else { panic!("{:?}", check.outcome) };
        assert!(why.starts_with("fault: stub+0x7bd197 at 0x5f95"), "{why}");
        assert_eq!(check.details[0], "load 0x1200000, 64-bit entry, KASLR off, loader any");
        assert!(check.details[2].starts_with("known issue chatty: ports: "), "{:?}", check.details);
        assert_eq!(check.details[3], "relocheck replay reports/cases/000000000001-case.toml");
    }
}
