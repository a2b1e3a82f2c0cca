// SPDX-License-Identifier: GPL-2.0-only
//! JUnit XML, as Jenkins and GitLab read it: a testsuite for each image, a testcase for each case.
//!
//! Cases rather than rules, as a case is what runs: it takes time, can fail to be judged, and has a command that shows it
//! again. Its name, "case 12", is the same for every build of an image, which is by what these tools tell since when it
//! fails. A known issue is `skipped` with its name, as is what cannot be judged with the reason: both are seen, and neither
//! turns a build red. `failure` is exit code 1, `error` 2 or 70.
//!
//! The same report gives the same bytes: there are no time stamps, no host names and no random numbers.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::checks::{Check, Outcome, Suite, suites};
use super::plain::one_line;
use crate::record::Report;

/// Renders `report`.
pub fn junit(report: &Report) -> String {
    let name = report.campaign.as_ref().map_or("relocheck", |campaign| &campaign.name);
    let mut document = quick_junit::Report::new(clean(name));
    document.add_test_suites(suites(report).iter().map(suite));
    let xml = document.to_string().expect("writing to memory does not fail");
    without_skipped_in_root(&xml)
}

fn suite(suite: &Suite) -> TestSuite {
    let mut element = TestSuite::new(clean(&suite.name));
    for (name, value) in &suite.facts {
        element.add_property((*name, &clean(value)[..]));
    }
    element.add_test_cases(suite.checks.iter().map(|check| testcase(&suite.name, check)));
    let durations = suite.checks.iter().filter_map(|check| check.duration_ms);
    element.set_time(Duration::from_millis(durations.fold(0, u64::saturating_add)));
    element
}

fn testcase(suite: &str, check: &Check) -> TestCase {
    let mut status = match &check.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Broken(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Known(_) | Outcome::Skipped(_) => TestCaseStatus::skipped(),
    };
    let (kind, message) = match &check.outcome {
        Outcome::Passed => ("", ""),
        Outcome::Failed(why) => ("diverges", &why[..]),
        Outcome::Known(why) => ("known-issue", &why[..]),
        Outcome::Skipped(why) => ("cannot-judge", &why[..]),
        Outcome::Broken(why) => ("unusable", &why[..]),
    };
    if check.outcome != Outcome::Passed {
        status.set_type(kind).set_message(clean(message));
        if !check.details.is_empty() {
            let lines: Vec<String> = check.details.iter().map(|line| clean(line)).collect();
            status.set_description(lines.join("\n"));
        }
    }
    let mut element = TestCase::new(clean(&check.name), status);
    element.set_classname(clean(suite));
    if let Some(duration) = check.duration_ms {
        element.set_time(Duration::from_millis(duration));
    }
    element
}

/// One line without the characters that XML 1.0 cannot hold (section 2.2), not even escaped. The library removes the
/// control characters among them, and would take what follows an escape character for a part of a sequence.
fn clean(text: &str) -> String {
    one_line(text).replace(['\u{fffe}', '\u{ffff}'], "")
}

/// The library counts skipped tests in `testsuites`, too, where the schema that Jenkins validates by has no such attribute.
fn without_skipped_in_root(xml: &str) -> String {
    let root = xml.find("<testsuites ").unwrap_or(0);
    let end = xml[root..].find('>').map_or(xml.len(), |end| root + end);
    // Quotes inside attributes are escaped: this is the attribute and no part of a name.
    let Some(start) = xml[root..end].find(" skipped=\"").map(|start| root + start) else {
        return xml.into();
    };
    let quotes = xml[start..end].match_indices('"').nth(1);
    let behind = quotes.map_or(end, |(quote, _)| start + quote + 1);
    [&xml[..start], &xml[behind..]].concat()
}

#[cfg(test)]
mod schema;
#[cfg(test)]
mod tests;
