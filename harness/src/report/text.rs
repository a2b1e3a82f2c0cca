// SPDX-License-Identifier: GPL-2.0-only
//! The report for people: a table of images, then what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::case::{Case, Loader, Protocol};
use crate::oracle::{Finding, Judgement, Rule, Verdict};
use crate::record::{Found, ImageRecord};

/// More findings of one case than this are only counted.
const SHOWN_FINDINGS: usize = 6;

/// The verdict table, one row per image, with the findings of the simplest failing case below.
pub fn table(images: &[ImageRecord]) -> String {
    let header = ["IMAGE", "KERNEL", "PROTOCOL", "CASES", "KASLR", ">4G", "VERDICT", "TIME"];
    let mut rows: Vec<[String; 8]> = vec![header.map(str::to_owned)];
    rows.extend(images.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let verdict = number.checked_sub(1).map(|image| images[image].verdict);
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Numbers stand to the right.
            let padded = match column {
                3..=5 | 7 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            };
            let style = match (column, verdict) {
                (6, Some(verdict)) => color(verdict),
                (_, None) => Style::new().bold(),
                _ => Style::new(),
            };
            let _ = write!(text, "{gap}{style}{padded}{style:#}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for image in images {
        details(&mut text, image);
    }
    text
}

fn row(image: &ImageRecord) -> [String; 8] {
    let time: u64 = image.cases.iter().map(|case| case.duration_ms).sum();
    let (kernel, protocols) = match &image.facts {
        None => ("-".to_owned(), "-".to_owned()),
        Some(facts) => (
            format!(
                "{} {}-bit {}",
                facts.release.as_deref().unwrap_or("?"),
                facts.word_bits,
                facts.compression
            ),
            facts.protocols.iter().map(Protocol::to_string).collect::<Vec<_>>().join("+"),
        ),
    };
    [
        image.name.clone(),
        kernel,
        protocols,
        image.summary.cases.to_string(),
        image.summary.kaslr.to_string(),
        image.summary.above_4g.to_string(),
        image.verdict.to_string(),
        format!("{:.1} s", Duration::from_millis(time).as_secs_f64()),
    ]
}

fn details(text: &mut String, image: &ImageRecord) {
    let Some(facts) = &image.facts else { return };
    let summary = image.summary;
    let mut lines: Vec<String> = Vec::new();
    if let Some(why) = &facts.kaslr_not_predicted {
        lines.push(format!("KASLR's choice is not predicted: {why}"));
    }
    lines.extend(facts.image_findings.iter().map(|found| found.finding.to_string()));
    let open: Vec<&String> =
        image.cases.iter().filter_map(|case| case.judgement.not_predicted.as_ref()).collect();
    if let (Some(first), None) = (open.first(), &facts.kaslr_not_predicted) {
        lines.push(format!("not predicted in {} cases: {first}", open.len()));
    }
    if summary.diverging > 0 {
        lines.push(format!("{} of {} cases diverge", summary.diverging, summary.cases));
        lines.extend(by_rule(image));
    }
    if let Some(shrunk) = &image.shrunk {
        lines.push(format!("simplest: {}", brief(&shrunk.case)));
        let shown = shrunk.findings.iter().map(|found| &found.finding);
        lines.extend(findings(shown));
    }
    let doubts = image.cases.iter().flat_map(|case| &case.judgement.not_judged);
    if let Some(first) = doubts.clone().next() {
        let more = summary.not_judged.saturating_sub(1);
        let rest = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        lines.push(format!("cannot judge: {first}{rest}"));
    }
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{}:", image.name);
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
}

/// In how many cases each rule is broken, the image's own findings aside.
fn by_rule(image: &ImageRecord) -> Vec<String> {
    let mut rules: BTreeMap<Rule, (usize, usize)> = BTreeMap::new();
    for case in &image.cases {
        let rule = |found: &Found| found.finding.rule;
        let broken: BTreeSet<Rule> = case.judgement.findings.iter().map(rule).collect();
        for rule in broken {
            rules.entry(rule).or_insert((0, case.number)).0 += 1;
        }
    }
    let lines = rules.into_iter();
    lines
        .map(|(rule, (count, first))| format!("  {rule}: {count}, first in case {first}"))
        .collect()
}

/// What the oracles say of one case, in full.
pub fn judgement_text(case: &Case, judgement: &Judgement) -> String {
    let mut text = String::new();
    let verdict = judgement.verdict();
    let style = color(verdict);
    let _ = writeln!(text, "{style}{verdict}{style:#}: {}", brief(case));
    if let Some(landing) = judgement.landing {
        let _ = writeln!(
            text,
            "  kernel at {:#x}, relocated for {:#x}, {} fields",
            landing.output,
            landing.virt,
            judgement.applied.total()
        );
    }
    if judgement.refused {
        let _ = writeln!(text, "  the stub refused, as it must at this address");
    }
    for line in findings(judgement.findings.iter()) {
        let _ = writeln!(text, "  {line}");
    }
    for why in &judgement.not_judged {
        let _ = writeln!(text, "  cannot judge: {why}");
    }
    text
}

fn findings<'a>(
    findings: impl ExactSizeIterator<Item = &'a Finding>,
) -> impl Iterator<Item = String> {
    let more = findings.len().saturating_sub(SHOWN_FINDINGS);
    let rest = (more > 0).then(|| format!("and {more} more findings"));
    findings.take(SHOWN_FINDINGS).map(Finding::to_string).chain(rest)
}

/// A case in one line: where, how, and what is unusual about it.
pub fn brief(case: &Case) -> String {
    let kaslr = if case.asks_for_kaslr() { "on" } else { "off" };
    let mut text = format!("load {:#x}, {}-bit entry, KASLR {kaslr}", case.load, case.protocol);
    let loader = (case.loader != Loader::Any).then(|| case.loader.name());
    for what in loader.into_iter().chain(case.features()) {
        text += ", ";
        text += what;
    }
    text
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
