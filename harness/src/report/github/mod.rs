// SPDX-License-Identifier: GPL-2.0-only
//! What GitHub Actions shows of a run: annotations, which are workflow commands in the log, and the summary of a step, in
//! Markdown (docs.github.com, "Workflow commands for GitHub Actions").

use std::fmt::Write;

use super::again;
use super::checks::{Check, Outcome, Suite, line, suites};
use super::headline::headline;
use super::plain::one_line;
use crate::record::{ImageRecord, Report, Standing, State};

/// GitHub shows so many annotations of a kind for each step.
const ANNOTATIONS: usize = 10;
/// A summary may have 1 MiB; where findings reach this many bytes, the rest is only counted.
const SUMMARY_BYTES: usize = 900_000;

/// The annotations: an error for each new divergence and each file that cannot be used, a warning for each known issue and
/// each doubt of an image, and one notice. Every line is a command, so nothing that a file says can be taken for one.
pub fn annotations(report: &Report) -> String {
    let mut found = Annotations::default();
    found.divergences(report);
    found.suites(report);
    let mut text = String::new();
    commands(&mut text, "error", &found.errors);
    commands(&mut text, "warning", &found.warnings);
    command(&mut text, "notice", "relocheck", &headline(report));
    text
}

/// Titles and messages, the most important first.
#[derive(Default)]
struct Annotations {
    errors: Vec<(String, String)>,
    warnings: Vec<(String, String)>,
}

impl Annotations {
    fn divergences(&mut self, report: &Report) {
        for record in report.regressions.iter().filter(|one| one.standing == Standing::Regressed) {
            let found = record.judgement.iter().flat_map(|shown| &shown.findings).next();
            let text = found.map_or_else(|| "the mistake is back".into(), line);
            let title = format!("{} on {}", record.case, record.image);
            self.errors.push((title, format!("{text}\n{}", again::regression(record))));
        }
        for image in &report.images {
            for group in image.groups() {
                let known = group.known.map(|id| format!("known issue {id}: "));
                let finding = format!("{}{}", known.unwrap_or_default(), group.finding);
                let command = again::rule(report.seed, image, group.rule, group.first);
                let text = format!("{}\n{}\n{command}", one_line(&finding), group.extent(image));
                let list =
                    if group.known.is_some() { &mut self.warnings } else { &mut self.errors };
                list.push((image.title(), text));
            }
        }
    }

    /// What cannot be used, and the first doubt of each image.
    fn suites(&mut self, report: &Report) {
        for suite in suites(report) {
            let broken = |check: &&Check| matches!(check.outcome, Outcome::Broken(_));
            for text in suite.checks.iter().filter(broken).filter_map(message) {
                self.errors.push((suite.name.clone(), text));
            }
            let doubtful = |check: &&Check| matches!(check.outcome, Outcome::Skipped(_));
            let doubt = suite.checks.iter().find(doubtful).and_then(message);
            self.warnings.extend(doubt.map(|text| (suite.name, text)));
        }
    }
}

fn message(check: &Check) -> Option<String> {
    match &check.outcome {
        Outcome::Broken(why) | Outcome::Skipped(why) => Some(format!("{}: {why}", check.name)),
        Outcome::Passed | Outcome::Failed(_) | Outcome::Known(_) => None,
    }
}

fn commands(text: &mut String, kind: &str, list: &[(String, String)]) {
    let shown = if list.len() > ANNOTATIONS { ANNOTATIONS - 1 } else { list.len() };
    for (title, message) in &list[..shown] {
        command(text, kind, title, message);
    }
    let more = list.len() - shown;
    if more > 0 {
        command(text, kind, "relocheck", &format!("{more} more of this kind are in the summary"));
    }
}

fn command(text: &mut String, kind: &str, title: &str, message: &str) {
    let _ = writeln!(text, "::{kind} title={}::{}", property(&one_line(title)), data(message));
}

/// Escapes what comes after the second pair of colons.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The summary of the step: the headline, a table of images, and what was found in each.
pub fn summary(report: &Report) -> String {
    let mut text = format!("### relocheck: {}\n", markdown(&headline(report)));
    if !report.images.is_empty() {
        text += "\n| image | kernel | cases | diverging | known | not judged | verdict |\n";
        text += "|---|---|--:|--:|--:|--:|---|\n";
        report.images.iter().for_each(|image| row(&mut text, image));
    }
    let mut left_out = 0;
    for suite in suites(report) {
        let details = details(&suite);
        if text.len() + details.len() > SUMMARY_BYTES {
            left_out += 1;
        } else {
            text += &details;
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "\nThere was no room for what was found in {left_out} more.");
    }
    text
}

fn row(text: &mut String, image: &ImageRecord) {
    let kernel = image.facts.as_ref().map(|facts| {
        let release = facts.release.as_deref().unwrap_or("?");
        format!("{release} {}-bit {}", facts.word_bits, facts.compression)
    });
    let summary = image.summary;
    let verdict = match image.state() {
        State::New => ":x: diverges",
        State::Known => ":warning: known issue",
        State::CannotJudge => ":grey_question: cannot judge",
        State::Conforms => ":white_check_mark: conforms",
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {verdict} |",
        markdown(&image.title()),
        markdown(kernel.as_deref().unwrap_or("-")),
        image.cases.len(),
        summary.diverging,
        summary.known,
        summary.not_judged,
    );
}

/// The checks of a suite that have something to say; open where something failed.
fn details(suite: &Suite) -> String {
    let told: Vec<&Check> =
        suite.checks.iter().filter(|check| check.outcome != Outcome::Passed).collect();
    if told.is_empty() {
        return String::new();
    }
    let failed = |check: &&Check| matches!(check.outcome, Outcome::Failed(_) | Outcome::Broken(_));
    let open = if told.iter().any(failed) { " open" } else { "" };
    let name = markdown(&suite.name);
    let mut text = format!("\n<details{open}><summary>{name}</summary>\n\n");
    for check in told {
        let (mark, why) = match &check.outcome {
            Outcome::Passed => continue,
            Outcome::Failed(why) => ("diverges", why),
            Outcome::Known(why) => ("diverges", why),
            Outcome::Skipped(why) => ("cannot judge", why),
            Outcome::Broken(why) => ("unusable", why),
        };
        let _ = writeln!(text, "- {}, {mark}: {}", markdown(&check.name), markdown(why));
        if let Some(command) = check.details.last().filter(|line| line.starts_with("relocheck ")) {
            let _ = writeln!(text, "  <br><code>{}</code>", markdown(command));
        }
    }
    text + "\n</details>\n"
}

/// Text in which nothing is markup, in a table, too.
fn markdown(text: &str) -> String {
    let mut plain = String::new();
    for c in one_line(text).chars() {
        match c {
            '&' | '<' | '>' | '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '@' | '$'
            | '!' | ':' => {
                let _ = write!(plain, "&#{};", u32::from(c));
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
