// SPDX-License-Identifier: GPL-2.0-only
//! The image's relocation table against the one that is derived from `vmlinux`, entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use super::Compared;
use super::place::{full, place};
use crate::image::{Image, RelocKind};
use crate::oracle::{Finding, Rule, Subject};
use crate::reference::{Derived, Entry, type_name};
use crate::vmlinux::Vmlinux;

/// So many entries of a kind are shown one by one.
const SHOWN: usize = 3;

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Missing,
    Extra,
    /// It stands in this other group.
    Misplaced(RelocKind),
    /// It moves a field of a note.
    Note,
}

/// Group and address.
type Key = (RelocKind, u32);

/// Compares the tables.
pub fn judge(subject: &Subject, vmlinux: &Vmlinux, derived: &Derived) -> (Vec<Finding>, Compared) {
    let groups = subject.table.groups.iter();
    let image: BTreeSet<Key> =
        groups.flat_map(|group| group.entries.iter().map(|entry| (group.kind, *entry))).collect();
    let key = |entry: &Entry| (entry.kind, entry.address);
    let mut expected: BTreeMap<Key, Entry> =
        derived.entries.iter().map(|entry| (key(entry), *entry)).collect();
    let notes: BTreeMap<Key, Entry> =
        derived.notes.iter().map(|entry| (key(entry), *entry)).collect();

    // A tool that moves notes moves all of them.
    let all_notes = !notes.is_empty() && notes.keys().all(|key| image.contains(key));
    let in_notes = if all_notes && may_move_notes(&subject.image) { notes.len() } else { 0 };
    if in_notes > 0 {
        expected.extend(notes.iter().map(|(key, entry)| (*key, *entry)));
    }

    let wrong = differences(&image, &expected, &notes);
    let misplaced = wrong.iter().filter(|(_, wrong)| matches!(wrong, Wrong::Misplaced(_)));
    let missing = wrong.iter().filter(|(_, wrong)| *wrong == Wrong::Missing);
    let compared = Compared {
        equal: expected.len() - missing.count() - misplaced.count(),
        in_notes,
        unlisted: derived.unlisted.clone(),
    };
    let describe = |key: Key, wrong: Wrong| {
        let entry = expected.get(&key).or_else(|| notes.get(&key));
        finding(subject, vmlinux, key, wrong, entry)
    };
    (findings(wrong, describe), compared)
}

/// What is wrong, in the order of the expected groups.
fn differences(
    image: &BTreeSet<Key>,
    expected: &BTreeMap<Key, Entry>,
    notes: &BTreeMap<Key, Entry>,
) -> Vec<(Key, Wrong)> {
    let extra: Vec<Key> = image.iter().filter(|key| !expected.contains_key(key)).copied().collect();
    let mut elsewhere: BTreeMap<u32, BTreeSet<RelocKind>> = BTreeMap::new();
    for (kind, address) in &extra {
        elsewhere.entry(*address).or_default().insert(*kind);
    }
    let missing = expected.keys().filter(|key| !image.contains(key));
    let mut wrong: Vec<(Key, Wrong)> = missing
        .map(|key| match elsewhere.get_mut(&key.1).and_then(BTreeSet::pop_last) {
            Some(kind) => (*key, Wrong::Misplaced(kind)),
            None => (*key, Wrong::Missing),
        })
        .collect();
    let left = extra.into_iter().filter(|(kind, address)| elsewhere[address].contains(kind));
    wrong.extend(left.map(|key| {
        let note = notes.contains_key(&key);
        (key, if note { Wrong::Note } else { Wrong::Extra })
    }));
    wrong
}

/// The first few of each kind, and how many more there are.
fn findings(wrong: Vec<(Key, Wrong)>, describe: impl Fn(Key, Wrong) -> Finding) -> Vec<Finding> {
    let mut by_kind: BTreeMap<(Wrong, RelocKind), Vec<u32>> = BTreeMap::new();
    for ((kind, address), wrong) in wrong {
        by_kind.entry((wrong, kind)).or_default().push(address);
    }
    let mut findings = Vec::new();
    for ((wrong, kind), addresses) in by_kind {
        let (shown, rest) = addresses.split_at(SHOWN.min(addresses.len()));
        findings.extend(shown.iter().map(|address| describe((kind, *address), wrong)));
        if let [first, .., last] | [first @ last] = rest {
            let place = format!("{} more {kind} entries, {first:#x} to {last:#x}", rest.len());
            let like = describe((kind, *first), wrong);
            findings.push(Finding { place, ranges: rest.len() as u64, ..like });
        }
    }
    findings
}

fn finding(
    subject: &Subject,
    vmlinux: &Vmlinux,
    (kind, address): Key,
    wrong: Wrong,
    entry: Option<&Entry>,
) -> Finding {
    let named = place(vmlinux, subject.link, full(subject.link, address));
    let named = named.unwrap_or_else(|| "in no loaded section".to_owned());
    let place = format!("{kind} entry {address:#x} ({named})");
    let reason = entry.map_or(String::new(), |entry| {
        let symbol = vmlinux.symbol(entry.symbol as usize);
        let symbol = symbol.map(|symbol| vmlinux.symbol_name(&symbol)).unwrap_or_default();
        format!("{} `{symbol}`", type_name(vmlinux.word, entry.reloc_type))
    });
    let (expected, actual) = match wrong {
        Wrong::Missing => (format!("it in the table, for {reason}"), "no such entry".to_owned()),
        Wrong::Misplaced(other) => {
            (format!("it in the {kind} group, for {reason}"), format!("it in the {other} group"))
        }
        Wrong::Extra => {
            ("no entry: no relocation of vmlinux asks for it".to_owned(), "an entry".to_owned())
        }
        Wrong::Note => ("no entry: notes do not move".to_owned(), "an entry".to_owned()),
    };
    Finding::new(Rule::Table, place, expected, actual)
}

/// Whether the tool that made the image's table may have been one that moves notes: those before 6.10, and of stable
/// kernels those that were not seen to have the fix (76e9762d6637): 5.10.223 and 6.1.176 have it.
fn may_move_notes(image: &Image) -> bool {
    let Some((major, minor, patch)) = version(image.kernel_version().unwrap_or_default()) else {
        return true;
    };
    match (major, minor) {
        (5, 10) => patch < 223,
        (6, 1) => patch < 176,
        newer => newer < (6, 10),
    }
}

/// The version in the image's version string. Distributions often leave the release at 6.1.0 and put the version behind it:
/// "6.1.0-50-amd64 (builder@host) #1 SMP Debian 6.1.176-1".
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let numbers = |word: &str| {
        let digits = word.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut parts = digits.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
    };
    let mut words = text.split_whitespace().filter_map(numbers);
    let first = words.next()?;
    let same = words.filter(|found| (found.0, found.1) == (first.0, first.1));
    Some(same.fold(first, Ord::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RelocKind = RelocKind::Abs32;
    const I: RelocKind = RelocKind::Inverse32;
    const W: RelocKind = RelocKind::Abs64;

    fn map(keys: &[Key]) -> BTreeMap<Key, Entry> {
        let entry =
            |&(kind, address)| Entry { kind, address, reloc_type: 1, symbol: 0, section: 0 };
        keys.iter().map(|key| (*key, entry(key))).collect()
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let image = [(A, 1), (A, 2), (W, 3), (I, 9), (W, 7)].into_iter().collect();
        let found = differences(&image, &map(&[(A, 1), (I, 2), (W, 3), (W, 4)]), &map(&[(W, 7)]));
        assert_eq!(
            found,
            [
                ((I, 2), Wrong::Misplaced(A)),
                ((W, 4), Wrong::Missing),
                ((I, 9), Wrong::Extra),
                ((W, 7), Wrong::Note),
            ]
        );
    }

    #[test]
    fn a_few_are_shown_and_the_rest_is_counted() {
        let wrong = (0..10).map(|address| ((A, address), Wrong::Missing)).collect();
        let describe = |key: Key, _| Finding::new(Rule::Table, key.1.to_string(), "it", "nothing");
        let found = findings(wrong, describe);
        let places: Vec<&str> = found.iter().map(|finding| &finding.place[..]).collect();
        assert_eq!(places, ["0", "1", "2", "7 more 32-bit entries, 0x3 to 0x9"]);
        assert_eq!(found[3].ranges, 7);
    }

    #[test]
    fn the_version_stands_at_one_of_two_places() {
        assert_eq!(version("6.1.0-50-amd64 (a@b) #1 SMP Debian 6.1.176-1"), Some((6, 1, 176)));
        assert_eq!(version("7.3.0-rc7 (gcc 12.2.0) #1"), Some((7, 3, 0)));
        assert_eq!(version("5.10.223 (a@b)"), Some((5, 10, 223)));
        assert_eq!(version("memtest"), None);
    }

    use super::super::testing::{TABLE, X64, elf, subject};

    /// What is said of an image of this release with this table, for a kernel with an address in its notes.
    fn said(release: &str, table: &[u32]) -> (Vec<String>, Compared) {
        let mut elf = elf();
        let foo = elf.symbol("note_of", elf.address(0) + 0x100, 0);
        elf.reloc(2, 0x10, X64, foo);
        let file = elf.build();
        let vmlinux = Vmlinux::parse(file.clone()).unwrap();
        let derived = Derived::new(&vmlinux).unwrap();
        let (found, compared) = judge(&subject(&file, table, release), &vmlinux, &derived);
        let text = |f: Finding| format!("{}: {}; {}", f.place, f.expected, f.actual);
        (found.into_iter().map(text).collect(), compared)
    }

    #[test]
    fn each_finding_names_its_place_and_its_reason() {
        let (found, compared) = said("6.15.0", &[0, 0x8100_0018, 0, 0x8100_1004, 0]);
        assert_eq!(
            found,
            [
                "64-bit entry 0x81000008 (start+0x8, .text): it in the table, for R_X86_64_64 `foo`; no such entry",
                "64-bit entry 0x81000018 (start+0x18, .text): no entry: no relocation of vmlinux asks for it; an entry",
                "32-bit entry 0x81001004 (foo+0x4, .data): it in the 32-bit group, for R_X86_64_32S `foo`; it in the inverse 32-bit group",
            ]
        );
        assert_eq!(compared.equal, 0);
    }

    #[test]
    fn notes_may_move_in_images_of_old_tools_and_then_all_of_them() {
        let with_note = &[0, 0x8100_0008, 0x8100_2010, 0, 0, 0x8100_1004];
        let (found, compared) = said("6.1.100", with_note);
        assert_eq!((found, compared.equal, compared.in_notes), (vec![], 3, 1));
        let (found, compared) = said("6.1.176", with_note);
        assert_eq!(
            found,
            ["64-bit entry 0x81002010 (note+0x10, .notes): no entry: notes do not move; an entry"]
        );
        assert_eq!((compared.equal, compared.in_notes), (2, 0));
        let (found, compared) = said("6.1.100", TABLE);
        assert_eq!((found, compared.equal, compared.in_notes), (vec![], 2, 0));
    }

    #[test]
    fn which_tools_moved_notes_the_version_says() {
        let may = |release: &str| may_move_notes(&subject(&elf().build(), TABLE, release).image);
        for (release, expected) in [
            ("5.10.222", true),
            ("5.10.223", false),
            ("6.1.175", true),
            ("6.1.176", false),
            ("5.15.999", true),
            ("6.9.999", true),
            ("6.10.0", false),
            ("7.0.0", false),
        ] {
            assert_eq!(may(release), expected, "{release}");
        }
        assert_eq!(version("6.1.5 6.12.9 6.1.4"), Some((6, 1, 5)), "of the same series");
        assert_eq!(version("6.1.0 5.1.7"), Some((6, 1, 0)));
    }

    #[test]
    fn one_more_is_told_by_its_place_alone() {
        let wrong = (0..4).map(|address| ((A, address), Wrong::Extra)).collect();
        let describe = |key: Key, _| Finding::new(Rule::Table, key.1.to_string(), "it", "nothing");
        let found = findings(wrong, describe);
        assert_eq!(found[3].place, "1 more 32-bit entries, 0x3 to 0x3");
        let few = (0..3).map(|address| ((A, address), Wrong::Extra)).collect();
        assert_eq!(findings(few, describe).len(), 3);
    }

    #[test]
    fn an_entry_that_stands_in_two_groups_is_extra_in_one() {
        let image = [(A, 1), (I, 1)].into_iter().collect();
        let found = differences(&image, &map(&[(A, 1)]), &map(&[]));
        assert_eq!(found, [((I, 1), Wrong::Extra)]);
        let found = differences(&[(A, 1), (W, 1)].into_iter().collect(), &map(&[]), &map(&[]));
        assert_eq!(found, [((A, 1), Wrong::Extra), ((W, 1), Wrong::Extra)]);
        let image = [(A, 1), (W, 1)].into_iter().collect();
        let found = differences(&image, &map(&[(I, 1)]), &map(&[]));
        assert_eq!(found, [((I, 1), Wrong::Misplaced(W)), ((A, 1), Wrong::Extra)]);
    }
}
