// SPDX-License-Identifier: GPL-2.0-only
//! The loader's descriptor table: flat segments at the selectors that boot.rst names.

use super::{GdtLayout, Protocol};
use crate::machine::{BOOT_CS, BOOT_DS};

const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
const CODE_64: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;
const TSS: u64 = 0x0080_8900_0000_0000;
/// A descriptor that is not present, with everything else set: nobody should use it.
const TRAP: u64 = 0x00cf_7bff_ffff_ffff;
const CROWD: usize = 32;

/// The bytes of the table. The one with a TSS at 0x20 serves 64-bit stubs before 5.7, which load it.
pub fn bytes(protocol: Protocol, layout: GdtLayout) -> Vec<u8> {
    let (len, filler) = match layout {
        GdtLayout::Setup => (6, 0),
        GdtLayout::Minimal => (4, 0),
        GdtLayout::Crowded => (CROWD, TRAP),
    };
    let mut table = vec![filler; len];
    table[0] = 0;
    table[usize::from(BOOT_CS) / 8] = if protocol == Protocol::Bits64 { CODE_64 } else { CODE_32 };
    table[usize::from(BOOT_DS) / 8] = DATA;
    if layout == GdtLayout::Setup {
        table[4] = TSS;
    }
    table.iter().flat_map(|descriptor| descriptor.to_le_bytes()).collect()
}
