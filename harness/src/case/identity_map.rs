// SPDX-License-Identifier: GPL-2.0-only
//! The page tables with which a loader enters at 64 bits: everything that is RAM, at its own address, in
//! 2 MiB pages.

use crate::machine::PAGE;
use crate::range::Range;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;
const LARGE_PAGE: u64 = 2 << 20;

/// Four-level tables for `ranges`, to be placed at `base`; the top level comes first. `None` when they
/// need more than `limit` bytes.
pub fn build(base: u64, limit: u64, ranges: &[Range]) -> Option<Vec<u8>> {
    let mut tables = Tables { base, limit, pages: vec![[0; 512]] };
    for range in ranges {
        let mut address = range.start & !(LARGE_PAGE - 1);
        while address < range.end {
            tables.map(address)?;
            address = address.checked_add(LARGE_PAGE)?;
        }
    }
    Some(tables.pages.iter().flatten().flat_map(|entry| entry.to_le_bytes()).collect())
}

struct Tables {
    base: u64,
    limit: u64,
    pages: Vec<[u64; 512]>,
}

impl Tables {
    fn map(&mut self, address: u64) -> Option<()> {
        let slot = |shift: u32| (address >> shift & 0x1ff) as usize;
        let mut page = 0;
        for shift in [39, 30] {
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
        self.pages[page][slot(21)] = address | PRESENT_WRITABLE | LARGE;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Access, CR0_PG, CR4_PAE, EFER_LMA, Fill, Paging, Ram, Tile};

    #[test]
    fn what_is_mapped_is_found_at_its_own_address() {
        let ranges = [
            Range::new(0, 0x10_0000),
            Range::new(1 << 32, (1 << 32) + 0x40_0000),
            Range::new(1 << 45, (1 << 45) + 1),
        ];
        let tables = build(0x4000, 0x10000, &ranges).unwrap();
        let mut ram = Ram::new(&Tile::new(Fill(0)).unwrap(), &[Range::new(0, 0x2_0000)]).unwrap();
        ram.write(0x4000, &tables).unwrap();
        let paging = Paging { cr0: CR0_PG, cr3: 0x4000, cr4: CR4_PAE, efer: EFER_LMA };
        for address in [0, 0x12_3456, 0x1_0020_0001, (1 << 45) + 0x1f_ffff] {
            assert_eq!(paging.translate(&ram, address, Access::Write), Ok(address), "{address:#x}");
        }
        for address in [0x20_0000, 0x1_0040_0000, 1 << 46] {
            assert!(paging.translate(&ram, address, Access::Read).is_err(), "{address:#x}");
        }
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        assert_eq!(build(0x4000, 0x3000, &[Range::new(0, 2 << 30)]), None);
    }
}
