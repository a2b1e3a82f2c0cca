// SPDX-License-Identifier: GPL-2.0-only
//! The memory map: which regions are worth showing, what their kinds are called, and their classes in the style sheets.

use std::cmp::Reverse;

use crate::case::{MemoryEntry, MemoryKind};
use crate::range::Range;

/// Physical addresses of x86 have at most so many bits.
pub const PHYSICAL_BITS: u32 = 52;
/// More regions of the memory map are only counted.
const MOST_REGIONS: usize = 14;

/// The regions worth showing, by address: those that hold something, then the largest.
pub fn worth_showing(memory: &[MemoryEntry], holds: impl Fn(Range) -> bool) -> Vec<MemoryEntry> {
    let mut regions: Vec<MemoryEntry> =
        memory.iter().filter(|entry| !entry.range().is_empty()).copied().collect();
    regions.sort_by_key(|entry| {
        let range = entry.range();
        (!holds(range), Reverse(range.len()), range.start)
    });
    regions.truncate(MOST_REGIONS);
    regions.sort_by_key(|entry| (entry.start, entry.end));
    regions
}

/// The class of a kind of memory in the style sheet.
pub fn memory_class(kind: MemoryKind) -> &'static str {
    match kind {
        MemoryKind::Usable => "m-ram",
        MemoryKind::Reserved => "m-rsv",
        MemoryKind::Acpi => "m-acpi",
        MemoryKind::Nvs => "m-nvs",
        MemoryKind::Unusable => "m-bad",
        MemoryKind::Pmem => "m-pmem",
        MemoryKind::Unlisted => "m-unl",
    }
}

/// A word for a kind of memory that fits into a narrow strip, and what it stands for.
pub fn memory_words(kind: MemoryKind) -> (&'static str, &'static str) {
    match kind {
        MemoryKind::Usable => ("RAM", "usable RAM"),
        MemoryKind::Reserved => ("rsv", "reserved, no RAM"),
        MemoryKind::Acpi => ("ACPI", "ACPI tables"),
        MemoryKind::Nvs => ("NVS", "ACPI non-volatile storage"),
        MemoryKind::Unusable => ("bad", "broken RAM"),
        MemoryKind::Pmem => ("pmem", "persistent memory"),
        MemoryKind::Unlisted => ("unl", "RAM in no memory map"),
    }
}
