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

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, image};
    use super::*;
    use crate::case::Case;
    use crate::image::{Group, RelocKind};

    /// A kernel whose table was changed: it has the entries 0x81000008, 0x81000010 (inverse) and 0x81000020 (64 bits).
    fn said(change: impl FnOnce(&mut Kernel)) -> Vec<String> {
        let run = Run::new(WordSize::Bits64);
        let mut kernel = run.subject.image.kernel().unwrap();
        change(&mut kernel);
        let found = judge(&run.subject.image, &kernel, run.subject.link);
        found.iter().map(|f| format!("{}: {} ({})", f.place, f.actual, f.ranges)).collect()
    }

    fn entries(kernel: &mut Kernel, kind: RelocKind) -> &mut Vec<u32> {
        let group = kernel.table.groups.iter_mut().find(|group| group.kind == kind);
        &mut group.unwrap().entries
    }

    #[test]
    fn the_structure_is_what_the_stub_reads() {
        assert_eq!(said(|_| ()), [] as [&str; 0]);
        assert_eq!(said(|k| k.table.trailing = 3), ["table: 3 bytes too many (1)"]);
        assert_eq!(
            said(|k| k.table.missing_terminators = 2),
            ["table: 2 missing: the stub reads on into the kernel (1)"]
        );
        assert_eq!(
            said(|k| k.table.unread = 4),
            ["word 4 of the table: a terminator too many: 4 words are never read (1)"]
        );
        let none = |kernel: &mut Kernel| {
            kernel.table.words.clear();
            kernel.table.groups.clear();
        };
        assert_eq!(said(none), ["table: no table behind the ELF file (1)"]);
    }

    #[test]
    fn a_stub_without_loops_needs_no_table_and_one_for_64_bits_needs_two() {
        let structure = |words: &str, word, empty: bool| {
            let mut fixture = super::super::testing::fixture(word, "6.1.192", "");
            fixture.stub_text = words.to_owned();
            let run = Run::of(super::super::testing::build(fixture), Case::default());
            let mut kernel = run.subject.image.kernel().unwrap();
            if empty {
                kernel.table.words.clear();
            }
            let found = super::structure(&run.subject.image, &kernel);
            found.into_iter().map(|found| found.actual).collect::<Vec<_>>()
        };
        let one = crate::image::fixture::BITS32;
        assert_eq!(structure("", WordSize::Bits64, true), [] as [&str; 0]);
        assert_eq!(structure(one, WordSize::Bits32, false), [] as [&str; 0]);
        assert_eq!(structure(one, WordSize::Bits64, true), ["no table behind the ELF file"]);
        let found = structure(one, WordSize::Bits64, false);
        assert_eq!(found.last().unwrap(), "only a loop for 32-bit relocations");
    }

    #[test]
    fn entries_ascend() {
        let run = Run::of(image(WordSize::Bits64, "6.1.192", ""), Case::default());
        let table = RelocTable { words: vec![0; 9], ..run.subject.table };
        let found = |entries: &[u32]| {
            let group = Group { kind: RelocKind::Abs32, entries: entries.to_vec(), first_word: 3 };
            let found = order(&table, &group);
            found.map(|f| (f.place, f.actual, f.ranges))
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[1, 2, 3]), None);
        let (place, actual, ranges) = found(&[1, 5, 4, 4]).unwrap();
        assert_eq!(place, "32-bit group, word 5 of 9");
        assert_eq!((&actual[..], ranges), ("0x4 behind 0x5", 2));
        assert_eq!(found(&[7, 7]).unwrap().1, "0x7 again");
    }

    #[test]
    fn fields_lie_in_segments() {
        let with = |entry: u32| said(|k| entries(k, RelocKind::Abs64).push(entry));
        assert_eq!(with(0x8100_0038), [] as [&str; 0], "the last eight bytes");
        assert_eq!(with(0x8100_0039), ["64-bit group, entry 0x81000039: output+0x39 (1)"]);
        let below = said(|k| entries(k, RelocKind::Abs32).insert(0, 0x80ff_ffff));
        assert_eq!(below, ["32-bit group, entry 0x80ffffff: output+0xffffffffffffffff (1)"]);
        let two = said(|k| entries(k, RelocKind::Abs64).extend([0x8100_0050, 0x8100_0060]));
        assert_eq!(two, ["64-bit group, entry 0x81000060: output+0x60 (2)"]);
    }

    #[test]
    fn fields_lie_apart() {
        let abs32 = |entry: u32| said(move |k| entries(k, RelocKind::Abs32).push(entry));
        assert_eq!(abs32(0x8100_000c), [] as [&str; 0], "up to the next one");
        let into = "the field of the 32-bit entry 0x8100000d reaches into it (1)";
        assert_eq!(abs32(0x8100_000d), [format!("inverse 32-bit entry 0x81000010: {into}")]);
        assert_eq!(abs32(0x8100_0028), [] as [&str; 0], "behind a field of eight bytes");
        assert_eq!(abs32(0x8100_0027).len(), 1);
        // The same field in two groups is two mistakes in one place; in one group it is a matter of order.
        let both = abs32(0x8100_0010);
        assert_eq!(both.len(), 1);
        let again = said(|k| entries(k, RelocKind::Abs32).push(0x8100_0008));
        assert_eq!(again, ["32-bit group, word 6 of 6: 0x81000008 again (1)"]);
        let twice = said(|k| entries(k, RelocKind::Abs32).extend([0x8100_000d, 0x8100_0021]));
        assert_eq!(twice.len(), 1);
        assert!(twice[0].ends_with("(2)"), "{twice:?}");
    }
}
