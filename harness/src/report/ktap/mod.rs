// SPDX-License-Identifier: GPL-2.0-only
//! KTAP, version 1, as the kernel's own test tools print and read it (Documentation/dev-tools/ktap.rst): a test for each
//! image, and in it a subtest for each case.
//!
//! A known issue is `ok` with the directive XFAIL: the failure is expected, and tools that do not know the directive go by
//! `ok`. TODO says the same, but ktap.rst discourages it.

use std::fmt::Write;

use super::checks::{Check, Outcome, Suite, suites};
use super::plain::one_line;
use crate::record::Report;

/// Renders `report`.
pub fn ktap(report: &Report) -> String {
    let suites = suites(report);
    let mut text = format!("KTAP version 1\n1..{}\n", suites.len());
    for (number, suite) in (1..).zip(&suites) {
        test(&mut text, number, suite);
    }
    text
}

fn test(text: &mut String, number: usize, suite: &Suite) {
    // An image that cannot be checked has no subtests.
    if let [Check { outcome: outcome @ (Outcome::Broken(_) | Outcome::Skipped(_)), .. }] =
        &suite.checks[..]
    {
        result(text, "", number, &suite.name, outcome);
        return;
    }
    let _ = writeln!(text, "  KTAP version 1\n  1..{}", suite.checks.len());
    for (number, check) in (1..).zip(&suite.checks) {
        for line in &check.details {
            let _ = writeln!(text, "  # {}: {}", description(&check.name), one_line(line));
        }
        result(text, "  ", number, &check.name, &check.outcome);
    }
    let failed = |check: &&Check| matches!(check.outcome, Outcome::Failed(_) | Outcome::Broken(_));
    let passed = |check: &&Check| matches!(check.outcome, Outcome::Passed | Outcome::Known(_));
    let outcome = match suite.checks.iter().filter(failed).count() {
        0 if suite.checks.iter().any(|check| passed(&check)) => Outcome::Passed,
        0 => Outcome::Skipped("nothing could be judged".into()),
        count => Outcome::Failed(format!("{count} of {} failed", suite.checks.len())),
    };
    result(text, "", number, &suite.name, &outcome);
}

/// A result line. What fails says so in diagnostic lines before it, so that the line itself stays short.
fn result(text: &mut String, indent: &str, number: usize, name: &str, outcome: &Outcome) {
    let name = description(name);
    let why = |why: &str| one_line(why).trim().to_owned();
    let _ = match outcome {
        Outcome::Passed => writeln!(text, "{indent}ok {number} {name}"),
        Outcome::Failed(_) => writeln!(text, "{indent}not ok {number} {name}"),
        Outcome::Known(known) => {
            writeln!(text, "{indent}ok {number} {name} # XFAIL {}", why(known))
        }
        Outcome::Skipped(doubt) => {
            writeln!(text, "{indent}ok {number} {name} # SKIP {}", why(doubt))
        }
        Outcome::Broken(error) => {
            writeln!(text, "{indent}not ok {number} {name} # ERROR {}", why(error))
        }
    };
}

/// A description can be any words, but for the sign that ends it. It does not begin with what some tools take for a
/// separator.
fn description(name: &str) -> String {
    let name = one_line(name).replace('#', "_");
    let words: Vec<&str> = name.split_whitespace().collect();
    match words.join(" ").trim_start_matches("- ") {
        "" => "(no name)".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod parser;
#[cfg(test)]
mod tests;
