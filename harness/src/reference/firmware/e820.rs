// SPDX-License-Identifier: GPL-2.0-only
//! The memory map in boot_params (arch/x86/include/uapi/asm/setup_data.h, `struct boot_e820_entry`).

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::super::guest::Guest;

const SIZE: u64 = 20;
const RAM: u32 = 1;

/// One entry. Addresses and sizes in bytes, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First address.
    pub start: u64,
    /// Length.
    pub size: u64,
    /// E820_TYPE_*.
    pub kind: u32,
}

impl Entry {
    /// Whether the entry is free RAM.
    pub fn is_ram(self) -> bool {
        self.kind == RAM
    }
}

/// The entries in their order. There may be more than the table has room for: the stub reads on behind it.
pub fn entries<'g>(
    guest: &'g Guest,
) -> impl DoubleEndedIterator<Item = Result<Entry, String>> + use<'g> {
    let count = guest.page.u8(offset_of!(boot_params, e820_entries));
    let table = guest.params_at.wrapping_add(offset_of!(boot_params, e820_table) as u64);
    (0..u64::from(count)).map(move |index| {
        let at = table.wrapping_add(index * SIZE);
        let bytes = guest.vec(at, SIZE as usize, "the memory map")?;
        let long = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("8"));
        let kind = u32::from_le_bytes(bytes[16..].try_into().expect("four"));
        Ok(Entry { start: long(0), size: long(8), kind })
    })
}
