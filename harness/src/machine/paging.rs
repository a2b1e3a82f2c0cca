// SPDX-License-Identifier: GPL-2.0-only
//! The walk through the guest's page tables (Intel SDM volume 3, chapter "Paging"; AMD APM volume 2,
//! chapter 5), 4- and 5-level. The stub of an i386 kernel never switches paging on.

use super::outcome::Access;
use super::ram::Ram;

/// CR0.PG: paging is on.
pub const CR0_PG: u64 = 1 << 31;
/// CR0.WP: the supervisor, too, obeys read-only pages.
pub const CR0_WP: u64 = 1 << 16;
/// CR4.PAE: wide page-table entries.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.LA57: a fifth level.
pub const CR4_LA57: u64 = 1 << 12;
/// EFER.LMA: long mode is active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE: pages may forbid execution.
pub const EFER_NXE: u64 = 1 << 11;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The registers that say how addresses are translated.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    /// Control register 0.
    pub cr0: u64,
    /// Control register 3.
    pub cr3: u64,
    /// Control register 4.
    pub cr4: u64,
    /// MSR 0xc0000080.
    pub efer: u64,
}

/// Why an address has no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// A page fault with this error code.
    PageFault(u64),
    /// A page table lies where there is no RAM.
    TableOutsideRam(u64),
    /// A kind of paging that no stub uses.
    Unsupported,
}

impl Paging {
    /// The physical address for the linear address `linear`.
    pub fn translate(&self, ram: &Ram, linear: u64, access: Access) -> Result<u64, Miss> {
        if self.cr0 & CR0_PG == 0 {
            return Ok(linear & 0xffff_ffff);
        }
        if self.efer & EFER_LMA == 0 || self.cr4 & CR4_PAE == 0 {
            return Err(Miss::Unsupported);
        }
        let write_code = u64::from(access == Access::Write) << 1;
        let fetch_code = u64::from(access == Access::Fetch && self.efer & EFER_NXE != 0) << 4;
        let not_present = Miss::PageFault(write_code | fetch_code);

        let levels = if self.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
        let mut table = self.cr3 & ADDRESS;
        let (mut writable, mut executable) = (true, true);
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let slot = table + (linear >> shift & 0x1ff) * 8;
            let entry = ram.read_u64(slot).map_err(|_| Miss::TableOutsideRam(slot))?;
            if entry & PRESENT == 0 {
                return Err(not_present);
            }
            writable &= entry & WRITABLE != 0;
            executable &= entry & NO_EXECUTE == 0 || self.efer & EFER_NXE == 0;
            let leaf = level == 0 || level <= 2 && entry & LARGE != 0;
            if leaf {
                let offset = (1 << shift) - 1;
                let refused = access == Access::Write && !writable && self.cr0 & CR0_WP != 0
                    || access == Access::Fetch && !executable;
                if refused {
                    return Err(Miss::PageFault(PRESENT | write_code | fetch_code));
                }
                return Ok(entry & ADDRESS & !offset | linear & offset);
            }
            table = entry & ADDRESS;
        }
        unreachable!("level 0 is always a leaf")
    }
}

#[cfg(test)]
mod tests {
    use super::super::ram::{Fill, Tile};
    use super::*;
    use crate::range::Range;

    const LONG: Paging =
        Paging { cr0: CR0_PG | CR0_WP, cr3: 0x1000, cr4: CR4_PAE, efer: EFER_LMA | EFER_NXE };

    fn tables(entries: &[(u64, u64)]) -> Ram {
        let tile = Tile::new(Fill(0)).unwrap();
        let mut ram = Ram::new(&tile, &[Range::new(0, 0x10000)]).unwrap();
        for page in (0..0x10000).step_by(4096) {
            ram.write(page, &[0; 4096]).unwrap();
        }
        for (address, entry) in entries {
            ram.write(*address, &entry.to_le_bytes()).unwrap();
        }
        ram
    }

    #[test]
    fn without_paging_addresses_wrap_at_4_gib() {
        let off = Paging { cr0: 1, ..LONG };
        assert_eq!(off.translate(&tables(&[]), 0x1_0000_0123, Access::Write), Ok(0x123));
    }

    #[test]
    fn pages_of_every_size_are_found() {
        let ram = tables(&[
            (0x1000, 0x2003),
            (0x2000, 0x3003),
            (0x2008, 0xc000_0083),
            (0x3000, 0x4003),
            (0x3008, 0x60_0083),
            (0x4008, 0xabc_d003),
        ]);
        assert_eq!(LONG.translate(&ram, 0x1234, Access::Read), Ok(0xabc_d234));
        assert_eq!(LONG.translate(&ram, 0x21_2345, Access::Write), Ok(0x61_2345));
        assert_eq!(LONG.translate(&ram, 0x4765_4321, Access::Fetch), Ok(0xc765_4321));
    }

    #[test]
    fn a_fifth_level_is_walked_when_switched_on() {
        let five = Paging { cr3: 0x5000, cr4: CR4_PAE | CR4_LA57, ..LONG };
        let ram = tables(&[(0x5008, 0x1003), (0x1000, 0x2003), (0x2000, 0x4000_0083)]);
        assert_eq!(five.translate(&ram, 1 << 48, Access::Read), Ok(0x4000_0000));
    }

    #[test]
    fn refusals_carry_the_error_code() {
        let ram = tables(&[
            (0x1000, 0x2003),
            (0x2000, 0x81),
            (0x2008, 0x4000_0083 | NO_EXECUTE),
            (0x2010, 0x7_0000_0003),
        ]);
        assert_eq!(LONG.translate(&ram, 0, Access::Write), Err(Miss::PageFault(3)));
        assert_eq!(LONG.translate(&ram, 0x4000_0000, Access::Fetch), Err(Miss::PageFault(0x11)));
        assert_eq!(LONG.translate(&ram, 0xc000_0000, Access::Write), Err(Miss::PageFault(2)));
        let outside = Miss::TableOutsideRam(0x7_0000_0000);
        assert_eq!(LONG.translate(&ram, 0x8000_0000, Access::Read), Err(outside));
    }

    #[test]
    fn paging_outside_long_mode_is_not_judged() {
        let legacy = Paging { efer: 0, ..LONG };
        assert_eq!(legacy.translate(&tables(&[]), 0, Access::Read), Err(Miss::Unsupported));
    }
}
