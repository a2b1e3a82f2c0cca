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

/// Size in bytes of the largest page, which not every CPU has.
pub const GIB_PAGE: u64 = 1 << 30;

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

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Physical address.
    pub physical: u64,
    /// Size in bytes of the guest's page; 0 without paging.
    pub page_size: u64,
}

/// One entry that a walk read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// 1 for a page table, 4 or 5 for the top.
    pub level: u32,
    /// Physical address of the entry.
    pub slot: u64,
    /// What it holds.
    pub entry: u64,
}

impl Paging {
    /// The physical address for the linear address `linear`.
    ///
    /// # Errors
    ///
    /// The guest gets an exception, or what it does is not emulated.
    pub fn translate(&self, ram: &Ram, linear: u64, access: Access) -> Result<u64, Miss> {
        self.walk(ram, linear, access).map(|translation| translation.physical)
    }

    /// As [`Paging::translate`], and the size of the page.
    ///
    /// # Errors
    ///
    /// As for [`Paging::translate`].
    pub fn walk(&self, ram: &Ram, linear: u64, access: Access) -> Result<Translation, Miss> {
        self.walk_telling(ram, linear, access, |_| ())
    }

    /// As [`Paging::walk`], and tells each entry that is read.
    ///
    /// # Errors
    ///
    /// As for [`Paging::translate`].
    pub fn walk_telling(
        &self,
        ram: &Ram,
        linear: u64,
        access: Access,
        mut tell: impl FnMut(Step),
    ) -> Result<Translation, Miss> {
        if self.cr0 & CR0_PG == 0 {
            return Ok(Translation { physical: linear & 0xffff_ffff, page_size: 0 });
        }
        if self.efer & EFER_LMA == 0 || self.cr4 & CR4_PAE == 0 {
            return Err(Miss::Unsupported);
        }
        let kind = self.kind_code(access);

        let levels = if self.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
        let mut table = self.cr3 & ADDRESS;
        let (mut writable, mut executable) = (true, true);
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let slot = table + (linear >> shift & 0x1ff) * 8;
            let entry = ram.read_u64(slot).map_err(|_| Miss::TableOutsideRam(slot))?;
            tell(Step { level: level + 1, slot, entry });
            if entry & PRESENT == 0 {
                return Err(Miss::PageFault(kind));
            }
            writable &= entry & WRITABLE != 0;
            executable &= entry & NO_EXECUTE == 0 || self.efer & EFER_NXE == 0;
            let leaf = level == 0 || level <= 2 && entry & LARGE != 0;
            if leaf {
                let offset = (1 << shift) - 1;
                let refused = access == Access::Write && !writable && self.cr0 & CR0_WP != 0
                    || access == Access::Fetch && !executable;
                if refused {
                    return Err(Miss::PageFault(PRESENT | kind));
                }
                let physical = entry & ADDRESS & !offset | linear & offset;
                return Ok(Translation { physical, page_size: 1 << shift });
            }
            table = entry & ADDRESS;
        }
        unreachable!("level 0 is always a leaf")
    }

    /// The error code of a page fault because a page table has a reserved bit set.
    pub fn reserved_bit(&self, access: Access) -> u64 {
        const RESERVED: u64 = 1 << 3;
        PRESENT | RESERVED | self.kind_code(access)
    }

    /// The part of an error code that tells the kind of access.
    fn kind_code(&self, access: Access) -> u64 {
        let write = u64::from(access == Access::Write) << 1;
        let fetch = u64::from(access == Access::Fetch && self.efer & EFER_NXE != 0) << 4;
        write | fetch
    }
}

/// Guards CR4.LA57, which the engine lets a guest change at will. On a CPU, setting it without the feature
/// and changing it in long mode are general-protection faults (Intel SDM volume 3, "Control registers").
///
/// The engine forgets its translations when the bit changes, so the next fetch shows the change.
#[derive(Clone)]
pub struct Levels {
    five_known: bool,
    /// CR4.LA57, where the last translation was made in long mode.
    in_long_mode: Option<bool>,
}

impl Levels {
    /// For a CPU that has five levels if `five_known`.
    pub fn new(five_known: bool) -> Levels {
        Levels { five_known, in_long_mode: None }
    }

    /// Whether a CPU would have got to this state from that of the call before.
    pub fn permit(&mut self, paging: &Paging) -> bool {
        let five = paging.cr4 & CR4_LA57 != 0;
        let now = (paging.efer & EFER_LMA != 0).then_some(five);
        let before = std::mem::replace(&mut self.in_long_mode, now);
        let changed = before.is_some() && now.is_some() && before != now;
        !changed && (self.five_known || !five)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fill::{Fill, Tile};
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
    fn the_number_of_levels_changes_only_outside_long_mode_and_where_the_cpu_can() {
        let four = LONG;
        let five = Paging { cr4: CR4_PAE | CR4_LA57, ..LONG };
        let off = |paging: Paging| Paging { efer: 0, cr0: 1, ..paging };
        let run = |known, states: &[Paging]| {
            let mut levels = Levels::new(known);
            states.iter().map(|state| levels.permit(state)).collect::<Vec<_>>()
        };
        let there_and_back = [four, off(four), off(five), five, off(five), off(four), four];
        assert_eq!(run(true, &there_and_back), [true; 7]);
        assert_eq!(run(true, &[four, five]), [true, false]);
        assert_eq!(run(true, &[five, four]), [true, false]);
        assert_eq!(run(false, &[four, off(five)]), [true, false]);
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
