// SPDX-License-Identifier: GPL-2.0-only
//! The page tables with which a loader enters at 64 bits: some memory, each address mapped to itself.

use crate::machine::PAGE;
use crate::range::Range;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;
/// Bits of a top-level entry that the CPU ignores (Intel SDM volume 3, table 4-15).
const IGNORED: u64 = 0x7ff << 52 | 0xf << 8;

/// What the tables look like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Five levels instead of four.
    pub five_levels: bool,
    /// Pages of 1 GiB instead of 2 MiB.
    pub gib_pages: bool,
    /// The top level's ignored bits are set.
    pub ignored_bits: bool,
}

/// Tables for `ranges`, to be placed at `base`; the top level comes first. `None` when they need more than
/// `limit` bytes.
pub fn build(base: u64, limit: u64, shape: Shape, ranges: &[Range]) -> Option<Vec<u8>> {
    let mut tables = Tables { base, limit, shape, pages: vec![[0; 512]] };
    let size = if shape.gib_pages { 1 << 30 } else { 2 << 20 };
    for range in ranges {
        let mut address = range.start & !(size - 1);
        while address < range.end {
            tables.map(address)?;
            address = address.checked_add(size)?;
        }
    }
    if shape.ignored_bits {
        for entry in tables.pages[0].iter_mut().filter(|entry| **entry != 0) {
            *entry |= IGNORED;
        }
    }
    Some(tables.pages.iter().flatten().flat_map(|entry| entry.to_le_bytes()).collect())
}

struct Tables {
    base: u64,
    limit: u64,
    shape: Shape,
    pages: Vec<[u64; 512]>,
}

impl Tables {
    fn map(&mut self, address: u64) -> Option<()> {
        let slot = |shift: u32| (address >> shift & 0x1ff) as usize;
        let mut page = 0;
        let leaf = if self.shape.gib_pages { 30 } else { 21 };
        let levels = if self.shape.five_levels { &[48, 39, 30][..] } else { &[39, 30] };
        for &shift in levels.iter().filter(|shift| **shift > leaf) {
            let entry = self.pages[page][slot(shift)];
            page = if entry == 0 {
                let next = self.pages.len();
                let physical = self.base + next as u64 * PAGE;
                if physical + PAGE > self.base + self.limit {
                    return None;
                }
                self.pages.push([0; 512]);
                self.pages[page][slot(shift)] = physical | PRESENT_WRITABLE;
                next
            } else {
                ((entry & !(PAGE - 1)) - self.base) as usize / PAGE as usize
            };
        }
        self.pages[page][slot(leaf)] = address | PRESENT_WRITABLE | LARGE;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Access, CR0_PG, CR4_LA57, CR4_PAE, EFER_LMA, Fill, Paging, Ram, Tile};

    const PLAIN: Shape = Shape { five_levels: false, gib_pages: false, ignored_bits: false };

    #[test]
    fn what_is_mapped_is_found_at_its_own_address() {
        let ranges = [
            Range::new(0, 0x10_0000),
            Range::new(1 << 32, (1 << 32) + 0x40_0000),
            Range::new(1 << 45, (1 << 45) + 1),
        ];
        for (five_levels, gib_pages, ignored_bits) in
            [(false, false, false), (true, false, true), (false, true, true), (true, true, false)]
        {
            let shape = Shape { five_levels, gib_pages, ignored_bits };
            let tables = build(0x4000, 0x10000, shape, &ranges).unwrap();
            let mut ram =
                Ram::new(&Tile::new(Fill(0)).unwrap(), &[Range::new(0, 0x2_0000)]).unwrap();
            ram.write(0x4000, &tables).unwrap();
            let cr4 = CR4_PAE | if five_levels { CR4_LA57 } else { 0 };
            let paging = Paging { cr0: CR0_PG, cr3: 0x4000, cr4, efer: EFER_LMA };
            for address in [0, 0x12_3456, 0x1_0020_0001, (1 << 45) + 0x1f_ffff] {
                let found = paging.translate(&ram, address, Access::Write);
                assert_eq!(found, Ok(address), "{address:#x} {shape:?}");
            }
            for address in [0x4020_0000, 0x1_4040_0000, 1 << 46] {
                let found = paging.translate(&ram, address, Access::Read);
                assert!(found.is_err(), "{address:#x} {shape:?}");
            }
        }
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        assert_eq!(build(0x4000, 0x3000, PLAIN, &[Range::new(0, 2 << 30)]), None);
        assert!(build(0x4000, 0x4000, PLAIN, &[Range::new(0, 2 << 30)]).is_some());
    }
}
