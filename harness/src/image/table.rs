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

impl RelocKind {
    /// Bytes of the field that an entry of this kind names.
    pub fn width(self) -> usize {
        match self {
            RelocKind::Abs32 | RelocKind::Inverse32 => 4,
            RelocKind::Abs64 => 8,
        }
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THREE: [RelocKind; 3] = [RelocKind::Abs32, RelocKind::Inverse32, RelocKind::Abs64];

    fn parse(words: &[u32], bits64: bool, loops: &[RelocKind]) -> RelocTable {
        let mut payload = vec![0xee; 16];
        payload.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let stub = Stub { loops: loops.to_vec(), ..Stub::default() };
        RelocTable::parse(&payload, 16, bits64, &stub)
    }

    fn entries() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(1u32.., 0..20)
    }

    proptest! {
        #[test]
        fn groups_come_back_as_they_were_written(r64 in entries(), inverse in entries(), r32 in entries(), known: bool) {
            let words = [&[0], &r64[..], &[0], &inverse[..], &[0], &r32[..]].concat();
            let table = parse(&words, true, if known { &THREE } else { &[] });
            prop_assert_eq!(table.groups.len(), 3);
            prop_assert_eq!(table.entries(RelocKind::Abs32), &r32[..]);
            prop_assert_eq!(table.entries(RelocKind::Inverse32), &inverse[..]);
            prop_assert_eq!(table.entries(RelocKind::Abs64), &r64[..]);
            for group in &table.groups {
                let place = group.first_word..group.first_word + group.entries.len();
                prop_assert_eq!(&table.words[place], &group.entries[..]);
            }
            prop_assert_eq!((table.unread, table.missing_terminators, table.trailing), (0, 0, 0));
        }

        #[test]
        fn every_word_is_accounted_for(words in prop::collection::vec(0u32..3, 0..30), bits64: bool, loops in 0usize..4) {
            let table = parse(&words, bits64, &THREE[..loops]);
            let entries: usize = table.groups.iter().map(|group| group.entries.len()).sum();
            let terminators = words.iter().filter(|&&word| word == 0).count();
            let unread_terminators = words[..table.unread].iter().filter(|&&word| word == 0).count();
            prop_assert_eq!(&table.words, &words);
            prop_assert_eq!(entries + terminators - unread_terminators + table.unread, words.len());
        }
    }

    #[test]
    fn an_i386_stub_reads_one_group() {
        let table = parse(&[0, 7, 8], false, &[]);
        assert_eq!(
            table.groups,
            [Group { kind: RelocKind::Abs32, entries: vec![7, 8], first_word: 1 }]
        );
        assert_eq!(parse(&[0, 5, 0, 7], false, &[]).unread, 2);
    }

    #[test]
    fn a_terminator_too_many_leaves_words_unread() {
        let table = parse(&[0, 1, 0, 2, 0, 3], true, &[RelocKind::Abs32, RelocKind::Abs64]);
        assert_eq!(table.entries(RelocKind::Abs32), [3]);
        assert_eq!(table.entries(RelocKind::Abs64), [2]);
        assert_eq!((table.unread, table.missing_terminators), (2, 0));
    }

    #[test]
    fn loops_without_a_terminator_are_counted() {
        let table = parse(&[1, 0, 2], true, &THREE);
        assert_eq!(table.entries(RelocKind::Abs32), [2]);
        assert_eq!(table.entries(RelocKind::Inverse32), [1]);
        assert_eq!((table.unread, table.missing_terminators), (0, 2));
    }

    #[test]
    fn no_relocation_data_is_no_table() {
        let table = parse(&[], true, &THREE);
        assert!(table.words.is_empty() && table.groups.is_empty());
        assert_eq!(table.missing_terminators, 0);
    }

    #[test]
    fn words_are_counted_from_the_end_of_the_payload() {
        let payload = [0xee, 0xaa, 0xbb, 0, 0, 0, 0, 9, 0, 0, 0];
        let stub = Stub::default();
        let table = RelocTable::parse(&payload, 1, false, &stub);
        assert_eq!((table.trailing, table.offset), (2, 3));
        assert_eq!(table.words, [0, 9]);
    }
}
