// SPDX-License-Identifier: GPL-2.0-only
//! The structure of the image's relocation table: from the ELF's end to the payload's end, just the groups
//! that the stub reads, each sorted and free of duplicates, every field inside a loaded segment and apart
//! from every other.
//!
//! A *missing* entry is invisible here: for that the table is compared with the one that `vmlinux` gives (`second/`).

use super::{Finding, Rule};
use crate::image::{Image, Kernel, RelocTable, WordSize};
use crate::reference::{Link, fields};

/// Judges the table of `kernel`.
pub fn judge(image: &Image, kernel: &Kernel, link: Link) -> Vec<Finding> {
    let table = &kernel.table;
    let mut findings = structure(image, kernel);
    for group in &table.groups {
        findings.extend(order(table, group));
    }
    findings.extend(places(kernel, link));
    findings
}

fn finding(place: String, expected: impl Into<String>, actual: impl Into<String>) -> Finding {
    Finding::new(Rule::Table, place, expected, actual)
}

fn structure(image: &Image, kernel: &Kernel) -> Vec<Finding> {
    let table = &kernel.table;
    let mut findings = Vec::new();
    if table.trailing > 0 {
        findings.push(finding(
            "table".into(),
            "whole 32-bit words from the end of the ELF file on",
            format!("{} bytes too many", table.trailing),
        ));
    }
    let loops = image.stub().loops.len();
    if table.words.is_empty() {
        if loops > 0 {
            findings.push(finding(
                "table".into(),
                format!("the {loops} groups that the stub reads"),
                "no table behind the ELF file",
            ));
        }
        return findings;
    }
    if table.missing_terminators > 0 {
        findings.push(finding(
            "table".into(),
            "a zero word before each group",
            format!("{} missing: the stub reads on into the kernel", table.missing_terminators),
        ));
    }
    if table.unread > 0 {
        // Behind the word that ended the last group too early; in front of it lies what nobody reads.
        findings.push(finding(
            format!("word {} of the table", table.unread),
            format!("the table's first word to end its last group ({} groups)", table.groups.len()),
            format!("a terminator too many: {} words are never read", table.unread),
        ));
    }
    if kernel.word == WordSize::Bits64 && loops == 1 {
        findings.push(finding(
            "stub".into(),
            "a loop for 64-bit relocations",
            "only a loop for 32-bit relocations",
        ));
    }
    findings
}

/// Sorted ascending, no duplicate.
fn order(table: &RelocTable, group: &crate::image::Group) -> Option<Finding> {
    let bad: Vec<usize> =
        (1..group.entries.len()).filter(|&i| group.entries[i] <= group.entries[i - 1]).collect();
    let first = *bad.first()?;
    let (before, here) = (group.entries[first - 1], group.entries[first]);
    let actual = if before == here {
        format!("{here:#x} again")
    } else {
        format!("{here:#x} behind {before:#x}")
    };
    let place =
        format!("{} group, word {} of {}", group.kind, group.first_word + first, table.words.len());
    Some(Finding { ranges: bad.len() as u64, ..finding(place, "entries that ascend", actual) })
}

/// Every field inside a segment, none over another.
fn places(kernel: &Kernel, link: Link) -> Vec<Finding> {
    let inside = |start: u64, end: u64| {
        kernel.segments.iter().any(|s| {
            let first = s.paddr.wrapping_sub(link.physical);
            first <= start && end <= first.saturating_add(s.filesz)
        })
    };
    let mut outside: Option<Finding> = None;
    let mut spans = Vec::new();
    for (kind, start, entry) in fields(&kernel.table, link) {
        let end = start.saturating_add(kind.width() as u64);
        if inside(start, end) {
            spans.push((start, end, kind, entry));
        } else {
            let found = outside.get_or_insert_with(|| Finding {
                ranges: 0,
                ..finding(
                    format!("{kind} group, entry {entry:#x}"),
                    "the address of a field inside a loaded segment",
                    format!("output+{:#x}", start as i64),
                )
            });
            found.ranges += 1;
        }
    }
    spans.sort_unstable_by_key(|span| (span.0, span.1));
    let mut overlap: Option<Finding> = None;
    for pair in spans.windows(2) {
        let [(_, end, kind, entry), (start, _, next_kind, next)] = [pair[0], pair[1]];
        // The same entry twice in one group is a matter of order.
        if start < end && (kind != next_kind || entry != next) {
            let found = overlap.get_or_insert_with(|| Finding {
                ranges: 0,
                ..finding(
                    format!("{next_kind} entry {next:#x}"),
                    "fields that do not overlap",
                    format!("the field of the {kind} entry {entry:#x} reaches into it"),
                )
            });
            found.ranges += 1;
        }
    }
    outside.into_iter().chain(overlap).collect()
}
