// SPDX-License-Identifier: GPL-2.0-only
//! The memory map that a loader passes on, and the RAM of the machine behind it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{CaseError, impossible};
use crate::hex;
use crate::machine::PAGE;
use crate::range::Range;

/// Entries that boot_params has room for (E820_MAX_ENTRIES_ZEROPAGE, asm/setup_data.h).
pub const MAX_E820_ENTRIES: usize = 128;
/// What a PC always has at the bottom, whatever the memory map says.
pub const FIRST_MEGABYTE: Range = Range { start: 0, end: 0x10_0000 };
/// The number of bits that a physical address of an x86 CPU can have.
const PHYSICAL_BITS: u32 = 52;
/// The most RAM that one machine is given, in bytes.
const MOST_RAM: u64 = 16 << 40;

/// The kinds of memory in a memory map (`enum e820_type`, arch/x86/include/asm/e820/types.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryKind {
    /// Free RAM.
    Usable,
    /// Not to be touched; the machine has nothing there.
    Reserved,
    /// ACPI tables, free once they are read.
    Acpi,
    /// ACPI non-volatile storage.
    Nvs,
    /// Broken RAM; the machine has nothing there.
    Unusable,
    /// Persistent memory.
    Pmem,
    /// RAM that is there but stands in no memory map, such as what a crash kernel must leave alone.
    Unlisted,
}

impl MemoryKind {
    /// The type in an e820 entry; `None` if there is no entry.
    pub fn e820(self) -> Option<u32> {
        match self {
            MemoryKind::Usable => Some(1),
            MemoryKind::Reserved => Some(2),
            MemoryKind::Acpi => Some(3),
            MemoryKind::Nvs => Some(4),
            MemoryKind::Unusable => Some(5),
            MemoryKind::Pmem => Some(7),
            MemoryKind::Unlisted => None,
        }
    }

    fn is_ram(self) -> bool {
        !matches!(self, MemoryKind::Reserved | MemoryKind::Unusable)
    }
}

/// One entry of the memory map that the loader passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryEntry {
    /// First address.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub start: u64,
    /// First address behind.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub end: u64,
    /// What it is.
    pub kind: MemoryKind,
}

impl MemoryEntry {
    /// Free RAM from `start` to `end`.
    pub fn usable(start: u64, end: u64) -> MemoryEntry {
        MemoryEntry { start, end, kind: MemoryKind::Usable }
    }

    /// The addresses.
    pub fn range(&self) -> Range {
        Range::new(self.start, self.end)
    }
}

/// The entries that stand in boot_params.
pub fn listed(memory: &[MemoryEntry]) -> impl Iterator<Item = (&MemoryEntry, u32)> {
    memory.iter().filter_map(|entry| Some((entry, entry.kind.e820()?)))
}

/// Whether memory from `start` to `end` can exist at all; the message names `field`.
pub fn check_bounds(field: &'static str, range: Range) -> Result<(), CaseError> {
    if range.end <= range.start || range.end > 1 << PHYSICAL_BITS {
        let problem = format!("{range} is empty or passes {PHYSICAL_BITS} bits");
        return Err(impossible(field, problem));
    }
    Ok(())
}

/// The RAM of the machine, in whole pages: the first megabyte, the entries that are RAM, and `more`.
pub fn ram(
    memory: &[MemoryEntry],
    more: impl Iterator<Item = Range>,
) -> Result<Vec<Range>, CaseError> {
    let count = listed(memory).count();
    if count > MAX_E820_ENTRIES {
        let problem = format!("{count} entries, boot_params has room for {MAX_E820_ENTRIES}");
        return Err(impossible("memory", problem));
    }
    let mut ranges = vec![FIRST_MEGABYTE];
    for entry in memory {
        check_bounds("memory", entry.range())?;
        if entry.kind.is_ram() {
            ranges.push(Range::new(entry.start.next_multiple_of(PAGE), entry.end & !(PAGE - 1)));
        }
    }
    ranges.extend(
        more.map(|range| Range::new(range.start & !(PAGE - 1), range.end.next_multiple_of(PAGE))),
    );
    let merged = merge(ranges);
    let total: u64 = merged.iter().map(|range| range.len()).sum();
    if total > MOST_RAM {
        let problem = format!("{total:#x} bytes of RAM, at most {MOST_RAM:#x} can be emulated");
        return Err(impossible("memory", problem));
    }
    Ok(merged)
}

/// `ram` with the pages of which the map gives away only a part: a stub may use that part, and a machine has no half pages.
pub fn with_partial_pages(memory: &[MemoryEntry], mut ram: Vec<Range>) -> Vec<Range> {
    let entries = memory.iter().filter(|entry| entry.kind.is_ram());
    ram.extend(
        entries
            .map(|entry| Range::new(entry.start & !(PAGE - 1), entry.end.next_multiple_of(PAGE))),
    );
    merge(ram)
}

/// The same addresses in ascending ranges that do not touch.
fn merge(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start: u64, end: u64, kind: MemoryKind) -> MemoryEntry {
        MemoryEntry { start, end, kind }
    }

    #[test]
    fn ram_is_what_is_not_reserved_in_whole_pages() {
        use MemoryKind::*;
        let memory = [
            entry(0x10_0000, 0x20_0800, Usable),
            entry(0x20_0000, 0x30_0000, Acpi),
            entry(0x30_0000, 0x40_0000, Reserved),
            entry(0x40_0100, 0x40_3000, Unlisted),
            entry(0x50_0100, 0x50_0f00, Usable),
        ];
        let more = [Range::new(0x60_0800, 0x60_0801)];
        let expected = [(0, 0x30_0000), (0x40_1000, 0x40_3000), (0x60_0000, 0x60_1000)];
        assert_eq!(
            ram(&memory, more.into_iter()).unwrap(),
            expected.map(|(start, end)| Range::new(start, end))
        );
    }

    #[test]
    fn a_machine_has_no_half_pages() {
        let memory = [
            entry(0x10_0000, 0x20_0800, MemoryKind::Usable),
            entry(0x30_0800, 0x30_1000, MemoryKind::Reserved),
            entry(0x40_0fff, 0x40_1001, MemoryKind::Acpi),
        ];
        let inner = ram(&memory, std::iter::empty()).unwrap();
        let expected = [Range::new(0, 0x20_1000), Range::new(0x40_0000, 0x40_2000)];
        assert_eq!(with_partial_pages(&memory, inner), expected);
    }

    #[test]
    fn impossible_memory_is_refused() {
        for memory in [
            vec![entry(0x1000, 0x1000, MemoryKind::Usable)],
            vec![entry(0x2000, 0x1000, MemoryKind::Reserved)],
            vec![entry(0, (1 << 52) + 1, MemoryKind::Reserved)],
            vec![entry(1 << 30, 1 << 50, MemoryKind::Usable)],
            vec![entry(0x1000, 0x2000, MemoryKind::Usable); 129],
        ] {
            assert_eq!(ram(&memory, std::iter::empty()).unwrap_err().field, "memory");
        }
        let unlisted = vec![entry(0x1000, 0x2000, MemoryKind::Unlisted); 129];
        assert!(ram(&unlisted, std::iter::empty()).is_ok());
    }
}
