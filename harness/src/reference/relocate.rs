// SPDX-License-Identifier: GPL-2.0-only
//! The relocations of `handle_relocations()` (arch/x86/boot/compressed/misc.c), applied to the moved kernel.

use super::{Link, ReferenceError};
use crate::image::{RelocKind, RelocTable, WordSize};

/// How many fields of each kind were changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// 32-bit fields.
    pub abs32: usize,
    /// PC-relative 32-bit fields.
    pub inverse32: usize,
    /// 64-bit fields.
    pub abs64: usize,
}

impl Applied {
    /// All of them.
    pub fn total(self) -> usize {
        self.abs32 + self.inverse32 + self.abs64
    }
}

/// Every field that the table names, in the order in which the stub changes them: kind, offset in the
/// output, and the entry itself.
pub fn fields(
    table: &RelocTable,
    link: Link,
) -> impl Iterator<Item = (RelocKind, u64, u32)> + Clone + '_ {
    table.groups.iter().flat_map(move |group| {
        group.entries.iter().rev().map(move |entry| (group.kind, link.field_offset(*entry), *entry))
    })
}

/// Relocates `output`, which [`moved`](super::moved) made, for a kernel that runs at the physical address
/// `output_address` and the virtual base `virt`.
///
/// i386 moves by the distance of `output_address` from the link address, x86_64 by that of `virt`. Nothing
/// is applied at a distance of zero.
///
/// # Errors
///
/// An entry whose field leaves the output, or a loop without terminator.
pub fn relocate(
    output: &mut [u8],
    table: &RelocTable,
    link: Link,
    output_address: u64,
    virt: u64,
) -> Result<Applied, ReferenceError> {
    let runs_at = match link.word {
        WordSize::Bits32 => output_address,
        WordSize::Bits64 => virt,
    };
    let delta = runs_at.wrapping_sub(link.physical);
    let mut applied = Applied::default();
    if delta == 0 {
        return Ok(applied);
    }
    if table.missing_terminators > 0 {
        return Err(ReferenceError::Unterminated);
    }
    for (kind, offset, entry) in fields(table, link) {
        let outside = ReferenceError::EntryOutside { kind, entry };
        let field = usize::try_from(offset)
            .ok()
            .and_then(|start| output.get_mut(start..start.checked_add(kind.width())?))
            .ok_or(outside)?;
        match kind {
            RelocKind::Abs32 => {
                add32(field, delta as u32);
                applied.abs32 += 1;
            }
            RelocKind::Inverse32 => {
                add32(field, (delta as u32).wrapping_neg());
                applied.inverse32 += 1;
            }
            RelocKind::Abs64 => {
                let value = u64::from_le_bytes(field.try_into().expect("eight bytes"));
                field.copy_from_slice(&value.wrapping_add(delta).to_le_bytes());
                applied.abs64 += 1;
            }
        }
    }
    Ok(applied)
}

fn add32(field: &mut [u8], delta: u32) {
    let value = u32::from_le_bytes(field.try_into().expect("four bytes"));
    field.copy_from_slice(&value.wrapping_add(delta).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::Group;

    const WIDE: Link =
        Link { physical: 0x100_0000, map: 0xffff_ffff_8000_0000, word: WordSize::Bits64 };
    const NARROW: Link = Link { physical: 0x100_0000, map: 0xc000_0000, word: WordSize::Bits32 };

    fn table(groups: &[(RelocKind, &[u32])]) -> RelocTable {
        let group = |&(kind, entries): &(RelocKind, &[u32])| Group {
            kind,
            entries: entries.to_vec(),
            first_word: 0,
        };
        RelocTable { groups: groups.iter().map(group).collect(), ..RelocTable::default() }
    }

    #[test]
    fn each_kind_moves_its_own_way() {
        let table = table(&[
            (RelocKind::Abs32, &[0x8100_0000]),
            (RelocKind::Inverse32, &[0x8100_0004]),
            (RelocKind::Abs64, &[0x8100_0008]),
        ]);
        let mut output = [0u8; 16];
        output[..4].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
        output[8..].copy_from_slice(&0xffff_ffff_8100_0000u64.to_le_bytes());
        let applied = relocate(&mut output, &table, WIDE, 0x500_0000, 0x120_0000).unwrap();
        assert_eq!(applied, Applied { abs32: 1, inverse32: 1, abs64: 1 });
        assert_eq!(Applied { abs32: 1, inverse32: 2, abs64: 4 }.total(), 7);
        assert_eq!(output[..4], 0x001f_fff0u32.to_le_bytes());
        assert_eq!(output[4..8], 0xffe0_0000u32.to_le_bytes());
        assert_eq!(output[8..], 0xffff_ffff_8120_0000u64.to_le_bytes());
    }

    #[test]
    fn i386_moves_with_the_physical_address() {
        let table = table(&[(RelocKind::Abs32, &[0xc100_0000])]);
        let mut output = [0u8; 4];
        relocate(&mut output, &table, NARROW, 0x300_0000, 0).unwrap();
        assert_eq!(u32::from_le_bytes(output), 0x200_0000);
    }

    #[test]
    fn x86_64_stays_where_only_the_physical_address_moves() {
        let table = table(&[(RelocKind::Abs32, &[0x8100_0000])]);
        let mut output = [0u8; 4];
        assert_eq!(relocate(&mut output, &table, WIDE, 0x900_0000, 0x100_0000).unwrap().total(), 0);
        assert_eq!(output, [0; 4]);
    }

    #[test]
    fn a_loop_without_a_terminator_runs_on_into_the_kernel() {
        let endless = RelocTable { missing_terminators: 1, ..table(&[]) };
        let at = |virt| relocate(&mut [0; 4], &endless, WIDE, 0, virt);
        assert_eq!(at(0x120_0000), Err(ReferenceError::Unterminated));
        assert!(at(0x100_0000).is_ok(), "nothing is applied");
    }

    #[test]
    fn entries_outside_are_refused_with_their_value() {
        for entry in [0x8100_0001, 0x80ff_ffff, 0x100_0000, 0x8100_0004] {
            let error = relocate(&mut [0; 4], &table(&[(RelocKind::Abs32, &[entry])]), WIDE, 0, 0);
            assert_eq!(error, Err(ReferenceError::EntryOutside { kind: RelocKind::Abs32, entry }));
        }
    }

    proptest! {
        #[test]
        fn there_and_on_equals_straight(
            bytes in proptest::collection::vec(any::<u8>(), 64),
            slots in proptest::collection::btree_set(0u32..8, 1..6),
            first in any::<u64>(),
            second in any::<u64>(),
        ) {
            let entries: Vec<u32> = slots.iter().map(|slot| 0x8100_0000 + slot * 8).collect();
            let table = table(&[(RelocKind::Abs64, &entries)]);
            let mut twice = bytes.clone();
            relocate(&mut twice, &table, WIDE, 0, first).unwrap();
            // A kernel that was linked for the first place, its fields where they are.
            let moved_map = WIDE.map.wrapping_add(WIDE.physical).wrapping_sub(first);
            let linked_there = Link { physical: first, map: moved_map, ..WIDE };
            relocate(&mut twice, &table, linked_there, 0, second).unwrap();
            let mut straight = bytes;
            relocate(&mut straight, &table, WIDE, 0, second).unwrap();
            prop_assert_eq!(twice, straight);
        }
    }
}
