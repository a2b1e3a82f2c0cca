// SPDX-License-Identifier: GPL-2.0-only
//! A campaign's past for people: a row for each run, and since when what fails has been failing.

use std::fmt::Write;

use anstyle::Style;

use crate::history::Past;

/// The table, with what fails below.
pub fn trend(campaign: &str, past: &Past) -> String {
    let mut text = String::new();
    let bold = Style::new().bold();
    let _ = writeln!(text, "{bold}{}{bold:#}", visible(campaign));
    let _ = writeln!(
        text,
        "{:<10}  {:>5}  {:>5}  {:>6}  {:>8}  {:>8}  {:>12}",
        "DATE", "NEW", "KNOWN", "DOUBT", "CONFORM", "CASES", "FIELDS"
    );
    for run in &past.runs {
        let _ = writeln!(
            text,
            "{:<10}  {:>5}  {:>5}  {:>6}  {:>8}  {:>8}  {:>12}",
            visible(&run.date),
            run.new,
            run.known,
            run.not_judged,
            run.conforming,
            run.cases,
            run.fields
        );
    }
    for failing in &past.failing {
        let runs = if failing.since.runs == 1 { "run" } else { "runs" };
        let _ = writeln!(
            text,
            "{}: {} since {} ({} {runs})",
            visible(&failing.image),
            failing.rule,
            visible(&failing.since.date),
            failing.since.runs
        );
    }
    text
}

/// A name that cannot write over the terminal.
fn visible(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
