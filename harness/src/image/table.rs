// SPDX-License-Identifier: GPL-2.0-only
//! The relocation table behind the kernel's ELF file (arch/x86/tools/relocs.c), taken apart as the stub reads it.
//!
//! The table is a sequence of little-endian u32 words. The stub starts at the payload's last word and walks down:
//! each loop consumes entries until it meets a zero word, which the next loop starts below. Whatever is odd about a
//! table is kept, not refused: it is for an oracle to judge.

use std::fmt;

use super::stub::Stub;

/// Bytes of one word of the table.
const WORD: usize = 4;

/// What one entry of a group asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RelocKind {
    /// Add delta to the u32 at the entry's address.
    Abs32,
    /// Subtract delta from the u32 at the entry's address: PC-relative references to per-cpu data, 3.19 to 6.14.
    Inverse32,
    /// Add delta to the u64 at the entry's address.
    Abs64,
}

impl fmt::Display for RelocKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RelocKind::Abs32 => "32-bit",
            RelocKind::Inverse32 => "inverse 32-bit",
            RelocKind::Abs64 => "64-bit",
        })
    }
}

/// The entries that one loop of the stub consumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What the loop does with them.
    pub kind: RelocKind,
    /// Low 32 bits of the link-time virtual address of each field, in stored order: ascending when sane.
    /// The stub applies them from the last to the first.
    pub entries: Vec<u32>,
    /// Index of the first entry in [`RelocTable::words`].
    pub first_word: usize,
}

/// The relocation table of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelocTable {
    /// Offset of the first word in the decompressed payload.
    pub offset: usize,
    /// All words between the ELF's end and the payload's end, as stored.
    pub words: Vec<u32>,
    /// Bytes (0 to 3) that make no whole word. The stub counts words from the payload's end, so they lie between the
    /// ELF's end and `offset`.
    pub trailing: usize,
    /// What the stub's loops consume, in the order in which the loops run, which is from the payload's end down.
    pub groups: Vec<Group>,
    /// Words in front that no loop reaches, in a table with more terminators than the stub has loops.
    pub unread: usize,
    /// Loops that find no terminator in the table: they run on into the ELF file.
    pub missing_terminators: usize,
}

impl RelocTable {
    /// Takes the bytes of `payload` from `elf_len` on apart, for the loops that `stub` has.
    pub(super) fn parse(payload: &[u8], elf_len: usize, bits64: bool, stub: &Stub) -> RelocTable {
        let bytes = payload.get(elf_len..).unwrap_or_default();
        let trailing = bytes.len() % WORD;
        let words: Vec<u32> = bytes
            .get(trailing..)
            .unwrap_or_default()
            .chunks_exact(WORD)
            .map(|word| word.try_into().map_or(0, u32::from_le_bytes))
            .collect();
        let mut table =
            RelocTable { offset: elf_len + trailing, words, trailing, ..RelocTable::default() };
        if table.words.is_empty() {
            return table;
        }

        let mut end = table.words.len();
        for kind in loops(bits64, stub, &table.words) {
            let below = table.words.get(..end).unwrap_or_default();
            let terminator = below.iter().rposition(|&word| word == 0);
            let first_word = terminator.map_or(0, |at| at + 1);
            let entries = below.get(first_word..).unwrap_or_default().to_vec();
            match terminator {
                Some(at) => end = at,
                None => {
                    table.missing_terminators += 1;
                    end = 0;
                    if entries.is_empty() {
                        continue;
                    }
                }
            }
            table.groups.push(Group { kind, entries, first_word });
        }
        table.unread = end;
        table
    }

    /// The entries of one kind, in stored order; empty when the table has no such group.
    pub fn entries(&self, kind: RelocKind) -> &[u32] {
        self.groups.iter().find(|group| group.kind == kind).map_or(&[], |group| &group.entries)
    }
}

/// The loops that read the table, in the order in which they run.
fn loops(bits64: bool, stub: &Stub, words: &[u32]) -> Vec<RelocKind> {
    if !bits64 {
        return vec![RelocKind::Abs32];
    }
    if !stub.loops.is_empty() {
        return stub.loops.clone();
    }
    match words.iter().filter(|&&word| word == 0).count() {
        0 | 1 => vec![RelocKind::Abs32],
        2 => vec![RelocKind::Abs32, RelocKind::Abs64],
        _ => vec![RelocKind::Abs32, RelocKind::Inverse32, RelocKind::Abs64],
    }
}
