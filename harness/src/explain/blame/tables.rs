// SPDX-License-Identifier: GPL-2.0-only
//! The entry of the page tables that decides where an address leads.

use crate::machine::{CR4_LA57, Ram, Registers};
use crate::range::Range;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;

/// Where that entry lies: the first on the way that is not present, or else the last.
pub fn deciding(ram: &Ram, registers: &Registers, linear: u64) -> Option<Range> {
    let levels = if registers.cr4 & CR4_LA57 != 0 { 5 } else { 4 };
    let mut table = registers.cr3 & ADDRESS;
    let mut level = levels - 1;
    loop {
        let slot = table + (linear >> (12 + 9 * level) & 0x1ff) * 8;
        let entry = ram.read_u64(slot).ok()?;
        let leaf = level == 0 || level <= 2 && entry & LARGE != 0;
        if leaf || entry & PRESENT == 0 {
            return Some(Range::sized(slot, 8));
        }
        table = entry & ADDRESS;
        level -= 1;
    }
}
