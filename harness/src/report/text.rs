// SPDX-License-Identifier: GPL-2.0-only
//! The report for people: a table of images, then what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::again;
use super::checks::expectation;
use super::judgement::{brief, findings};
use super::plain::{count, one_line};
use crate::case::Protocol;
use crate::oracle::{Rule, Verdict};
use crate::record::{
    Found, ImageRecord, KnownIssueRecord, KnownState, RegressionRecord, Report, Standing, State,
};

/// A row for each image with what was found in it below, then the regression cases that are not as expected and the known
/// issues. In colour.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    if !report.images.is_empty() {
        table(&mut text, &report.images);
    }
    report.images.iter().for_each(|image| details(&mut text, image));
    regressions(&mut text, &report.regressions);
    known_issues(&mut text, &report.known_issues);
    text
}

fn table(text: &mut String, images: &[ImageRecord]) {
    let header = ["IMAGE", "KERNEL", "PROTOCOL", "CASES", "KASLR", ">4G", "VERDICT", "TIME"];
    let mut rows: Vec<[String; 8]> = vec![header.map(str::to_owned)];
    rows.extend(images.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (number, row) in rows.iter().enumerate() {
        let state = number.checked_sub(1).map(|image| images[image].state());
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Numbers stand to the right.
            let padded = match column {
                3..=5 | 7 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            };
            let style = match (column, state) {
                (6, Some(State::New)) => color(Verdict::Diverges),
                (6, Some(State::Known | State::CannotJudge)) => color(Verdict::CannotJudge),
                (6, Some(State::Conforms)) => color(Verdict::Conforms),
                (_, None) => Style::new().bold(),
                _ => Style::new(),
            };
            let _ = write!(text, "{gap}{style}{padded}{style:#}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

fn row(image: &ImageRecord) -> [String; 8] {
    let durations = image.cases.iter().map(|case| case.duration_ms);
    let time = durations.fold(0, u64::saturating_add);
    let (kernel, protocols) = match &image.facts {
        None => ("-".to_owned(), "-".to_owned()),
        Some(facts) => (
            format!(
                "{} {}-bit {}",
                one_line(facts.release.as_deref().unwrap_or("?")),
                facts.word_bits,
                one_line(&facts.compression)
            ),
            facts.protocols.iter().map(Protocol::to_string).collect::<Vec<_>>().join("+"),
        ),
    };
    [
        one_line(&image.title()),
        kernel,
        protocols,
        image.summary.cases.to_string(),
        image.summary.kaslr.to_string(),
        image.summary.above_4g.to_string(),
        match image.state() {
            State::Known => "diverges (known)".into(),
            _ => image.verdict.to_string(),
        },
        format!("{:.1} s", Duration::from_millis(time).as_secs_f64()),
    ]
}

fn details(text: &mut String, image: &ImageRecord) {
    let summary = image.summary;
    let mut lines: Vec<String> = image.error.iter().cloned().collect();
    let Some(facts) = &image.facts else {
        return list(text, &image.title(), lines);
    };
    if let Some(why) = &facts.kaslr_not_predicted {
        lines.push(format!("KASLR's choice is not predicted: {why}"));
    }
    if let Some(equal) = facts.entries_equal_to_vmlinux {
        lines.push(format!(
            "table compared with vmlinux: {equal} of {} entries equal",
            facts.table_entries
        ));
    }
    lines.extend(facts.vmlinux_remarks.iter().map(|remark| format!("  {remark}")));
    if let Some(why) = &facts.not_compared_with_vmlinux {
        lines.push(format!("table not compared with vmlinux: {why}"));
    }
    lines.extend(facts.image_findings.iter().map(super::checks::line));
    let open: Vec<&String> =
        image.cases.iter().filter_map(|case| case.judgement.not_predicted.as_ref()).collect();
    if let (Some(first), None) = (open.first(), &facts.kaslr_not_predicted) {
        lines.push(format!("not predicted in {} cases: {first}", open.len()));
    }
    if summary.diverging > 0 {
        lines.push(diverging(summary.cases, summary.diverging, summary.known));
        lines.extend(by_rule(image));
    }
    if let Some(shrunk) = &image.shrunk {
        lines.push(format!("simplest: {}", brief(&shrunk.case)));
        let shown = shrunk.findings.iter().map(|found| &found.finding);
        lines.extend(findings(shown));
    }
    if let Some(file) = image.shrunk.as_ref().and_then(|shrunk| shrunk.file.as_ref()) {
        lines.push(format!("to see it again: {}", again::replay(file)));
    }
    let doubts = image.cases.iter().flat_map(|case| &case.judgement.not_judged);
    if let Some(first) = doubts.clone().next() {
        let more = summary.not_judged.saturating_sub(1);
        let rest = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        lines.push(format!("cannot judge: {first}{rest}"));
    }
    if image.not_run > 0 {
        lines.push(format!("{} not run: the time was used up", count(image.not_run, "case")));
    }
    list(text, &image.title(), lines);
}

/// How many cases diverge, and in how many of them all that is wrong is known.
pub fn diverging(cases: usize, diverging: usize, known: usize) -> String {
    let known = match known {
        0 => String::new(),
        known if known == diverging => ", all in known ways".into(),
        known => format!(", {known} of them in known ways only"),
    };
    format!("{diverging} of {cases} cases diverge{known}")
}

/// A headed list, unless it is empty.
fn list(text: &mut String, head: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}:", one_line(head));
    for line in lines {
        let _ = writeln!(text, "  {}", one_line(&line));
    }
}

/// In how many cases each rule is broken, and by which known issue if by one.
fn by_rule(image: &ImageRecord) -> Vec<String> {
    let mut rules: BTreeMap<(Rule, Option<&str>), (usize, usize)> = BTreeMap::new();
    for case in &image.cases {
        let broken: BTreeSet<_> = case.judgement.findings.iter().map(broken).collect();
        for rule in broken {
            rules.entry(rule).or_insert((0, case.number)).0 += 1;
        }
    }
    let lines = rules.into_iter().map(|((rule, known), (count, first))| {
        let known = known.map(|id| format!(", known issue {id}")).unwrap_or_default();
        format!("  {rule}: {count}, first in case {first}{known}")
    });
    lines.collect()
}

fn broken(found: &Found) -> (Rule, Option<&str>) {
    (found.finding.rule, found.known.as_deref())
}

/// The regression cases that are not as expected.
fn regressions(text: &mut String, records: &[RegressionRecord]) {
    let unexpected = records.iter().filter(|record| record.standing != Standing::AsExpected);
    let lines = |record: &RegressionRecord| {
        let shown = record.judgement.as_ref();
        let finding = shown.and_then(|shown| shown.findings.first()).map(super::checks::line);
        let doubt = shown.and_then(|shown| shown.not_judged.first().cloned());
        let why = match record.standing {
            Standing::Regressed => format!("the mistake is back: {}", finding.unwrap_or_default()),
            _ => record.error.clone().or(doubt).unwrap_or_else(|| expectation(record)),
        };
        let ran = shown.map(|_| format!("  to see it again: {}", again::regression(record)));
        [Some(format!("{} on {}: {why}", record.case, record.image)), ran].into_iter().flatten()
    };
    list(text, "regressions", unexpected.flat_map(lines).collect());
}

fn known_issues(text: &mut String, issues: &[KnownIssueRecord]) {
    let line = |issue: &KnownIssueRecord| {
        let seen = if issue.cases > 0 { count(issue.cases, "case") } else { "not seen".into() };
        let state = match issue.state {
            KnownState::Active => "until",
            KnownState::Expired => "EXPIRED on",
        };
        format!("{}: {seen}, {}, {state} {}", issue.id, issue.owner, issue.expires)
    };
    list(text, "known issues", issues.iter().map(line).collect());
}

/// How a verdict is shown on a terminal.
pub fn color(verdict: Verdict) -> Style {
    let color = match verdict {
        Verdict::Conforms => AnsiColor::Green,
        Verdict::CannotJudge => AnsiColor::Yellow,
        Verdict::Diverges => AnsiColor::Red,
    };
    Style::new().fg_color(Some(color.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    fn plain(report: &Report) -> String {
        anstream::adapter::strip_str(&text(report)).to_string()
    }

    #[test]
    fn what_is_known_is_told_from_what_is_new() {
        let text = plain(&samples::everything());
        let column = text.find("VERDICT").unwrap();
        let rows = text.lines().take_while(|line| !line.is_empty());
        let verdicts: Vec<&str> =
            rows.filter_map(|line| line[column..].split("  ").next()).collect();
        let expected =
            ["VERDICT", "diverges", "diverges (known)", "conforms", "cannot judge", "cannot judge"];
        assert_eq!(verdicts, expected, "{text}");
        for line in [
            "  3 of 5 cases diverge, 1 of them in known ways only",
            "    fault: 2, first in case 1",
            "    ports: 2, first in case 1, known issue chatty",
            "  to see it again: relocheck replay reports/cases/3d616aa853fe-fault.toml",
            "  1 of 1 cases diverge, all in known ways",
            "  3 cases not run: the time was used up",
            "  corpus/cases/case-2.toml on debian-cloud: expected to break the rule memory, and does not",
            "    to see it again: relocheck replay corpus/cases/case-2.toml --image \"$(relocheck corpus path debian-cloud)\"",
            "  corpus/cases/case-3.toml on debian-cloud: the image is not cached",
            "  stale: not seen, someone@example.org, EXPIRED on 2027-01-31",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("case-0.toml"), "as expected is no news:\n{text}");
    }

    #[test]
    fn no_name_moves_the_cursor_and_no_number_overflows() {
        let mut report = samples::everything();
        report.images[0].name = "a\x1b[2Jb\nc".into();
        report.images[0].cases[0].duration_ms = u64::MAX;
        let text = plain(&report);
        assert!(text.contains("\na [2Jb c (64-bit, kdump)"), "{text}");
    }
}
