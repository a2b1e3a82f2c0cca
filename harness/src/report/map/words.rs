// SPDX-License-Identifier: GPL-2.0-only
//! The words on the picture.

use super::places::Space;
use super::{LETTERS, MapReport};
use crate::explain::phases::Phase;
use crate::explain::trace::told;
use crate::machine::End;
use crate::report::plain::{count, one_line};
use crate::report::size::size;

/// More findings are only counted.
const MOST_FINDINGS: usize = 12;
/// A name has at most so many letters.
const LONGEST_NAME: usize = 48;

/// What the picture shows.
pub fn title(report: &MapReport) -> String {
    // Images in the cache are called by their SHA-256.
    let digest = report.name.len() == 64 && report.name.chars().all(|c| c.is_ascii_hexdigit());
    let most = if digest { 12 } else { LONGEST_NAME };
    let name: String = one_line(report.name).chars().take(most).collect();
    let release =
        report.subject.image.release().map_or(String::new(), |release| release.to_string());
    let release: String = one_line(&release).chars().take(LONGEST_NAME).collect();
    format!("Memory while {name} ({release} {}) relocates itself", report.subject.word)
}

/// The run in a line.
pub fn subtitle(report: &MapReport) -> String {
    let case = report.case;
    let mut parts = vec![format!("loaded at {:#x}, {}-bit entry", case.load, case.protocol)];
    match (report.expected, report.judgement.landing) {
        (Some(expected), Some(_)) => parts.push(format!(
            "kernel of {} at {:#x}, relocated for {:#x}",
            size(report.subject.moved.len() as u64),
            expected.landing.output,
            expected.landing.virt
        )),
        (Some(expected), None) => parts.push(format!(
            "kernel not started, expected at {:#x} for {:#x}",
            expected.landing.output, expected.landing.virt
        )),
        (None, _) => parts.push("nobody knows where the kernel would have gone".into()),
    }
    parts.push(count(report.phases.blocks() as usize, "block"));
    parts.push(report.judgement.verdict().to_string());
    parts.join("; ")
}

/// The head of a column.
pub fn heading(phase: Phase, end: &End) -> &'static str {
    match (phase, end) {
        (Phase::Loaded, _) => "loaded",
        (Phase::Copied, _) => "copied",
        (Phase::Decompressed, _) => "decompressed",
        (Phase::Moved, _) => "moved",
        (Phase::Relocated, _) => "relocated",
        (Phase::Ended, End::HandOff) => "handed off",
        (Phase::Ended, End::Halted) => "halted",
        (Phase::Ended, _) => "ended",
    }
}

/// How much of the run a phase took.
pub fn duration(report: &MapReport, phase: Phase) -> String {
    let phases = report.phases;
    let Some(blocks) = phases.get(phase).blocks else { return why_not(report, phase).into() };
    let before = phases.records.iter().filter(|record| record.phase < phase);
    let before = before.filter_map(|record| record.blocks).max().unwrap_or(0);
    if phase == Phase::Loaded {
        return "before block 1".into();
    }
    let tenths = u128::from(blocks - before) * 1000 / u128::from(phases.blocks().max(1));
    let unit = if blocks - before == 1 { "block" } else { "blocks" };
    format!("{} {unit}, {}.{}%", short(blocks - before), tenths / 10, tenths % 10)
}

/// A count in three digits or so.
fn short(blocks: u64) -> String {
    match blocks {
        0..10_000 => blocks.to_string(),
        10_000..10_000_000 => format!("{}k", blocks / 1000),
        _ => format!("{}M", blocks / 1_000_000),
    }
}

/// Lines below the picture: phases that never happened, how the run ended, what was found, what is not shown.
pub fn below(report: &MapReport, space: &Space) -> Vec<String> {
    let mut lines: Vec<String> = Phase::ALL
        .into_iter()
        .filter(|phase| report.phases.get(*phase).blocks.is_none())
        .map(|phase| never(report, phase))
        .collect();
    if *report.end != End::HandOff {
        lines.push(format!("The run ended before the jump into the kernel: {}.", told(report.end)));
    }
    let findings = &report.judgement.findings;
    lines.extend(findings.iter().take(MOST_FINDINGS).map(|finding| format!("✗ {finding}")));
    if findings.len() > MOST_FINDINGS {
        lines.push(format!("and {} more findings", findings.len() - MOST_FINDINGS));
    }
    lines.extend(report.judgement.not_judged.iter().map(|why| format!("cannot judge: {why}")));
    if !space.left_out.is_empty() {
        let parts = space.left_out.iter().map(|(count, what)| format!("{what}: {count}"));
        lines.push(format!("Not drawn: {}.", parts.collect::<Vec<_>>().join("; ")));
    }
    lines.iter().flat_map(|line| wrapped(line)).collect()
}

/// Why a phase is not there, in a word or two.
pub fn why_not(report: &MapReport, phase: Phase) -> &'static str {
    match (phase, report.expected) {
        (Phase::Moved, Some(expected)) if !expected.moved => "not needed",
        (Phase::Relocated, Some(expected)) if !expected.relocated => "not needed",
        (Phase::Decompressed | Phase::Moved | Phase::Relocated, None) => "not known",
        _ => "never",
    }
}

fn never(report: &MapReport, phase: Phase) -> String {
    let what = heading(phase, report.end);
    let why = match (phase, report.expected) {
        (Phase::Copied, _) => "the stub never ran from a copy of all of itself",
        (_, None) => "where the kernel goes is not known, so nobody could watch it",
        (Phase::Decompressed, _) => {
            "the last byte of the kernel was never written by a stub that had copied itself"
        }
        (Phase::Moved, Some(expected)) if !expected.moved => "no segment has to move",
        (Phase::Moved, _) => "the last byte of the last segment was never moved",
        (Phase::Relocated, Some(expected)) if !expected.relocated => {
            "not needed, the kernel runs where it was linked to run"
        }
        (Phase::Relocated, _) => "none of the first and last fields of the table was written",
        (Phase::Loaded | Phase::Ended, _) => "the run never began",
    };
    format!("Not {what}: {why}.")
}

fn wrapped(line: &str) -> Vec<String> {
    let options = textwrap::Options::new(LETTERS).subsequent_indent("   ");
    textwrap::wrap(&one_line(line), options).into_iter().map(|line| line.into_owned()).collect()
}
