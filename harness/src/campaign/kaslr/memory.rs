// SPDX-License-Identifier: GPL-2.0-only
//! Free memory that KASLR never uses, and what keeps it from there.

use super::places::Places;
use crate::case::{Case, MemoryKind, objects};
use crate::image::Image;
use crate::range::Range;
use crate::reference::Placement;

/// What the stub keeps clear of (`mem_avoid_init()`, arch/x86/boot/compressed/kaslr.c), by the names of [`objects`].
const AVOIDED: [&str; 5] =
    ["boot_params", "command line", "initrd", "setup_data", "indirect setup_data"];

/// Memory that holds something that must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What.
    pub what: &'static str,
    /// Where.
    pub range: Range,
}

/// Free memory that no choice covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Where.
    pub range: Range,
    /// What keeps KASLR from there.
    pub why: String,
}

/// The free memory of a machine, in ascending ranges that do not overlap.
pub fn free(case: &Case) -> Vec<Range> {
    let usable = case.memory.iter().filter(|entry| entry.kind == MemoryKind::Usable);
    let mut ranges: Vec<Range> = usable.map(|entry| entry.range()).collect();
    ranges.sort_unstable();
    let mut free: Vec<Range> = Vec::new();
    for range in ranges {
        match free.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => free.push(range),
        }
    }
    free
}

/// What KASLR must not overwrite, in the order of addresses: what the loader placed, and the stub itself as it is when it
/// chooses.
pub fn kept(image: &Image, case: &Case, placement: &Placement) -> Vec<Kept> {
    let stub = placement.copy.zip(image.header().payload_offset);
    let stub = stub.map(|(copy, payload)| Kept {
        what: "stub and compressed kernel",
        range: Range::new(copy.saturating_add(payload.into()), placement.window.end),
    });
    let placed = objects(case).into_iter().filter(|object| AVOIDED.contains(&object.what));
    let placed = placed.map(|object| Kept { what: object.what, range: object.range });
    let mut kept: Vec<Kept> = stub.into_iter().chain(placed).collect();
    kept.sort_by_key(|kept| kept.range);
    kept
}

/// The free memory of `case` that a kernel of `needed` bytes covers from none of `places`; pieces of less than one step
/// between two places are left out.
pub fn unused(case: &Case, places: &Places, needed: u64, kept: &[Kept]) -> Vec<Unused> {
    let covered: Vec<Range> = places
        .stretches
        .iter()
        .map(|stretch| {
            let last = stretch.start + (stretch.count - 1) * places.step;
            Range::new(stretch.start, last.saturating_add(needed))
        })
        .collect();
    let ends = places.ends();
    let mut unused = Vec::new();
    for range in free(case).iter().flat_map(|range| without(*range, &covered)) {
        if range.len() < places.step && ends.is_some_and(|(low, _)| range.start > low) {
            continue;
        }
        unused.push(Unused { range, why: why(range, ends, needed, kept) });
    }
    unused
}

/// What is left of `range`; `covered` is in ascending order.
fn without(range: Range, covered: &[Range]) -> Vec<Range> {
    let mut left = Vec::new();
    let mut start = range.start;
    for taken in covered.iter().filter(|taken| taken.overlaps(range)) {
        left.push(Range::new(start, taken.start));
        start = start.max(taken.end);
    }
    left.push(Range::new(start, range.end));
    left.retain(|range| !range.is_empty());
    left
}

fn why(range: Range, ends: Option<(u64, u64)>, needed: u64, kept: &[Kept]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for kept in kept.iter().filter(|kept| kept.range.overlaps(range)) {
        if !names.contains(&kept.what) {
            names.push(kept.what);
        }
    }
    let holds = format!("holds {}", names.join(", "));
    match ends {
        Some((low, _)) if range.end <= low && names.is_empty() => "too low".into(),
        Some((low, _)) if range.end <= low => format!("too low, {holds}"),
        _ if !names.is_empty() => holds,
        Some((_, high)) if range.start > high && range.len() >= needed => "too high".into(),
        _ if range.len() < needed => "too small".into(),
        _ => "forbidden".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::MemoryEntry;

    fn entry(start: u64, end: u64) -> MemoryEntry {
        MemoryEntry::usable(start, end)
    }

    fn kept(what: &'static str, start: u64, end: u64) -> Kept {
        Kept { what, range: Range::new(start, end) }
    }

    #[test]
    fn every_gap_has_its_reason() {
        let case = Case {
            memory: vec![
                entry(0x10_0000, 0x20_0000),
                entry(0, 0x1000),
                entry(0x30_0000, 0x30_1000),
            ],
            ..Case::default()
        };
        let places =
            Places::new(&[(0x11_0000, 3), (0x15_0000, 1), (0x18_0000, 2)], 0x1000).unwrap();
        let kept = [
            kept("y", 0x800, 0x900),
            kept("initrd", 0x12_0000, 0x13_0000),
            kept("x", 0x12_5000, 0x12_6000),
        ];
        let found: Vec<_> = unused(&case, &places, 0x8000, &kept)
            .into_iter()
            .map(|unused| (unused.range.start, unused.range.end, unused.why))
            .collect();
        let expected = [
            (0, 0x1000, "too low, holds y"),
            (0x10_0000, 0x11_0000, "too low"),
            (0x11_a000, 0x15_0000, "holds initrd, x"),
            (0x15_8000, 0x18_0000, "forbidden"),
            (0x18_9000, 0x20_0000, "too high"),
            (0x30_0000, 0x30_1000, "too small"),
        ];
        assert_eq!(found, expected.map(|(start, end, why)| (start, end, why.to_owned())));
    }

    #[test]
    fn pieces_smaller_than_a_step_are_no_news() {
        let case = Case { memory: vec![entry(0, 0x8fff)], ..Case::default() };
        let places = Places::new(&[(0, 8)], 0x1000).unwrap();
        assert_eq!(unused(&case, &places, 0x1000, &[]), []);
        let nowhere = Places::new(&[], 0x1000).unwrap();
        assert_eq!(unused(&case, &nowhere, 0x10_0000, &[])[0].why, "too small");
    }

    #[test]
    fn memory_that_is_listed_twice_is_free_once() {
        let memory = [(0x3000, 0x5000), (0, 0x1000), (0x4000, 0x6000), (0x6000, 0x7000)];
        let memory = memory.map(|(start, end)| entry(start, end)).to_vec();
        let found = free(&Case { memory, ..Case::default() });
        assert_eq!(found, [Range::new(0, 0x1000), Range::new(0x3000, 0x7000)]);
    }
}
