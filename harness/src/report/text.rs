// SPDX-License-Identifier: GPL-2.0-only
//! The report for people: a table of images, then what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::json::Summary;
use crate::campaign::ImageResult;
use crate::case::{Case, Protocol};
use crate::oracle::{Finding, Judgement, Rule, Verdict};

/// More findings of one case than this are only counted.
const SHOWN_FINDINGS: usize = 6;

/// The verdict table, one row per image, with the findings of the simplest failing case below.
pub fn table(results: &[ImageResult]) -> String {
    let header = ["IMAGE", "KERNEL", "PROTOCOL", "CASES", "KASLR", ">4G", "VERDICT", "TIME"];
    let mut rows: Vec<[String; 8]> = vec![header.map(str::to_owned)];
    rows.extend(results.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let verdict = number.checked_sub(1).map(|image| results[image].verdict());
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
    for result in results {
        details(&mut text, result);
    }
    text
}

fn row(result: &ImageResult) -> [String; 8] {
    let summary = Summary::of(result);
    let time: Duration = result.cases.iter().map(|case| case.duration).sum();
    let (kernel, protocols) = match &result.image {
        Err(_) => ("-".to_owned(), "-".to_owned()),
        Ok(facts) => (
            format!(
                "{} {} {}",
                facts.release.as_deref().unwrap_or("?"),
                facts.word,
                facts.compression
            ),
            facts.protocols.iter().map(Protocol::to_string).collect::<Vec<_>>().join("+"),
        ),
    };
    [
        result.input.name.clone(),
        kernel,
        protocols,
        summary.cases.to_string(),
        summary.kaslr.to_string(),
        summary.above_4g.to_string(),
        result.verdict().to_string(),
        format!("{:.1} s", time.as_secs_f64()),
    ]
}

fn details(text: &mut String, result: &ImageResult) {
    let summary = Summary::of(result);
    let mut lines: Vec<String> = Vec::new();
    if let Ok(facts) = &result.image {
        if let Some(why) = &facts.unpredicted {
            lines.push(format!("KASLR's choice is not predicted: {why}"));
        }
        lines.extend(facts.findings.iter().map(Finding::to_string));
        let open: Vec<&String> =
            result.cases.iter().filter_map(|case| case.judgement.unpredicted.as_ref()).collect();
        if let (Some(first), None) = (open.first(), &facts.unpredicted) {
            lines.push(format!("not predicted in {} cases: {first}", open.len()));
        }
        if summary.diverging > 0 {
            lines.push(format!("{} of {} cases diverge", summary.diverging, summary.cases));
            lines.extend(by_rule(result));
        }
        if let Some((case, judgement)) = &result.shrunk {
            lines.push(format!("simplest: {}", brief(case)));
            lines.extend(findings(&judgement.findings));
        }
        let doubts = result.cases.iter().flat_map(|case| &case.judgement.not_judged);
        if let Some(first) = doubts.clone().next() {
            let more = summary.not_judged.saturating_sub(1);
            let rest = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            lines.push(format!("cannot judge: {first}{rest}"));
        }
    }
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{}:", result.input.name);
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
}

/// In how many cases each rule is broken, the image's own findings aside.
fn by_rule(result: &ImageResult) -> Vec<String> {
    let mut rules: BTreeMap<Rule, (usize, usize)> = BTreeMap::new();
    for (number, case) in result.cases.iter().enumerate() {
        let broken: BTreeSet<Rule> = case.judgement.findings.iter().map(|f| f.rule).collect();
        for rule in broken {
            rules.entry(rule).or_insert((0, number)).0 += 1;
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
    for line in findings(&judgement.findings) {
        let _ = writeln!(text, "  {line}");
    }
    for why in &judgement.not_judged {
        let _ = writeln!(text, "  cannot judge: {why}");
    }
    text
}

fn findings(findings: &[Finding]) -> impl Iterator<Item = String> + '_ {
    let more = findings.len().saturating_sub(SHOWN_FINDINGS);
    let rest = (more > 0).then(|| format!("and {more} more findings"));
    findings.iter().take(SHOWN_FINDINGS).map(Finding::to_string).chain(rest)
}

/// A case in one line: where, how, and what is unusual about it.
fn brief(case: &Case) -> String {
    let kaslr = if case.asks_for_kaslr() { "on" } else { "off" };
    let mut text = format!("load {:#x}, {}-bit entry, KASLR {kaslr}", case.load, case.protocol);
    let plain = Case::default();
    let unusual = [
        (case.loader != plain.loader, case.loader.name()),
        (case.command_line.is_none(), "no command line"),
        (case.kernel_alignment.is_some(), "kernel_alignment"),
        (case.init_size.is_some(), "init_size"),
        (case.sentinel.is_some(), "sentinel"),
        (case.initrd.is_some(), "initrd"),
        (!case.setup_data.is_empty(), "setup_data"),
        (case.efi.is_some(), "EFI"),
        (case.acpi.is_some(), "ACPI"),
        (case.cpu != plain.cpu, "CPU"),
        (case.entry != plain.entry, "entry state"),
        (case.places != plain.places, "places"),
        (case.second_fill.is_some(), "two fills"),
    ];
    for (_, what) in unusual.iter().filter(|(present, _)| *present) {
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
