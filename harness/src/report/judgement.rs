// SPDX-License-Identifier: GPL-2.0-only
//! The judgement of one case, for people.

use std::fmt::Write;

use super::plain::count;
use super::replay::{blame_lines, origins_text};
use super::text::color;
use crate::case::Case;
use crate::oracle::{Finding, Judgement};
use crate::record::{Blame, Origins};

/// More findings of one case than this are only counted.
const SHOWN_FINDINGS: usize = 6;

/// What the oracles say of one case, in full.
pub fn judgement_text(case: &Case, judgement: &Judgement) -> String {
    let mut text = head(case, judgement);
    for line in findings(judgement.findings.iter()) {
        let _ = writeln!(text, "  {line}");
    }
    text + &doubts(judgement)
}

/// What the oracles say of one case, with the explanations of its findings, one for each or none; what is missing to explain
/// more; and what was run.
pub fn replay_text(
    case: &Case,
    judgement: &Judgement,
    blame: &[Blame],
    not_explained: &[String],
    origins: &Origins,
) -> String {
    let mut text = head(case, judgement);
    let mut explained = blame.iter();
    for finding in judgement.findings.iter().take(SHOWN_FINDINGS) {
        let _ = writeln!(text, "  {finding}");
        for line in explained.next().map(blame_lines).unwrap_or_default() {
            let _ = writeln!(text, "    {line}");
        }
    }
    let more = judgement.findings.len().saturating_sub(SHOWN_FINDINGS);
    if more > 0 {
        let _ = writeln!(text, "  and {}: see --format json", count(more, "more finding"));
    }
    text += &doubts(judgement);
    for why in not_explained {
        let _ = writeln!(text, "  not explained: {why}");
    }
    text + "\n" + &origins_text(origins)
}

fn head(case: &Case, judgement: &Judgement) -> String {
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
    text
}

fn doubts(judgement: &Judgement) -> String {
    let doubt = |why: &String| format!("  cannot judge: {why}\n");
    judgement.not_judged.iter().map(doubt).collect()
}

/// The first findings, one a line.
pub fn findings<'a>(
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
