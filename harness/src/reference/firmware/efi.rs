// SPDX-License-Identifier: GPL-2.0-only
//! EFI's system table and its configuration tables (arch/x86/boot/compressed/efi.c; acpi.c before 5.19).

use std::mem::offset_of;

use linux_raw_sys::bootparam::{SETUP_EFI, boot_params};

use super::super::guest::Guest;
use super::setup_data;
use crate::image::WordSize;

/// The ACPI 2.0 table's GUID, as it lies in memory.
pub const ACPI_20: [u8; 16] = *b"\x71\xe8\x68\x88\xf1\xe4\xd3\x11\xbc\x22\x00\x80\xc7\x3c\x88\x81";
/// The ACPI 1.0 table's GUID.
pub const ACPI_10: [u8; 16] = *b"\x30\x2d\x9d\xeb\x88\x2d\xd3\x11\x9a\x16\x00\x90\x27\x3f\xc1\x4d";
/// The GUID of Linux's own table of unaccepted memory.
pub const UNACCEPTED: [u8; 16] =
    *b"\x3c\xde\xd1\xd5\x5c\x10\xf9\x44\x9e\xa9\xbc\xef\x98\x12\x00\x31";
/// A firmware with more tables is not believed; real ones have about twenty.
const MOST_TABLES: u32 = 1 << 16;

/// The size of the firmware's words, which its tables' layouts depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// "EL32".
    Bits32,
    /// "EL64".
    Bits64,
}

/// One entry of the configuration table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub guid: [u8; 16],
    /// Where it is.
    pub table: u64,
}

/// The array of configuration tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The layout of its entries.
    pub firmware: Firmware,
    /// Where it lies.
    pub address: u64,
    /// Number of entries.
    pub count: u32,
}

/// What the signature says; `None` if it is not EFI's.
pub fn firmware(guest: &Guest) -> Option<Firmware> {
    match &guest.page.efi_signature() {
        b"EL64" => Some(Firmware::Bits64),
        b"EL32" => Some(Firmware::Bits32),
        _ => None,
    }
}

/// Whether an i386 stub cannot reach EFI's system table or memory map.
pub fn above_4_gib(guest: &Guest) -> bool {
    guest.word == WordSize::Bits32
        && (guest.page.u32(offset_of!(boot_params, efi_info.efi_systab_hi)) != 0
            || guest.page.u32(offset_of!(boot_params, efi_info.efi_memmap_hi)) != 0)
}

/// Address of the system table; 0 for none.
pub fn system_table(guest: &Guest) -> u64 {
    guest.long(guest.page.halves(
        offset_of!(boot_params, efi_info.efi_systab),
        offset_of!(boot_params, efi_info.efi_systab_hi),
    ))
}

/// The configuration tables that the system table names.
pub fn tables(guest: &Guest, firmware: Firmware, system_table: u64) -> Result<Tables, String> {
    let what = "EFI's system table";
    let field = |offset: u64| guest.u32(system_table.wrapping_add(offset), what);
    let (count, address) = match firmware {
        Firmware::Bits64 => (field(104)?, guest.u64(system_table.wrapping_add(112), what)?),
        Firmware::Bits32 => (field(64)?, u64::from(field(68)?)),
    };
    Ok(Tables { firmware, address: guest.long(address), count })
}

/// What a kernel that boots another one by kexec says of EFI's configuration tables: their address, or 0 if it says
/// nothing of them in the node that it made. `None` without a node, and on i386, where there is no kexec from EFI.
pub fn kexec_tables(guest: &Guest) -> Result<Option<u64>, String> {
    const TABLES: u64 = 16;
    if guest.word == WordSize::Bits32 {
        return Ok(None);
    }
    let node = setup_data::nodes(guest)?.into_iter().find(|node| node.kind == SETUP_EFI);
    node.map(|node| guest.u64(node.data().wrapping_add(TABLES), "setup_data of kexec")).transpose()
}

impl Tables {
    /// The entries in their order.
    ///
    /// # Errors
    ///
    /// They are too many. Each entry is an error if it is not in RAM.
    pub fn entries(
        self,
        guest: &Guest,
    ) -> Result<impl Iterator<Item = Result<Entry, String>>, String> {
        let size: u64 = match self.firmware {
            Firmware::Bits64 => 24,
            Firmware::Bits32 => 20,
        };
        if self.count > MOST_TABLES {
            return Err(format!("EFI has {} configuration tables", self.count));
        }
        Ok((0..u64::from(self.count)).map(move |index| {
            let at = guest.long(self.address.wrapping_add(index * size));
            let bytes = guest.vec(at, size as usize, "EFI's configuration table")?;
            let mut table = [0; 8];
            table[..bytes.len() - 16].copy_from_slice(&bytes[16..]);
            let guid = bytes[..16].try_into().expect("sixteen bytes");
            Ok(Entry { guid, table: u64::from_le_bytes(table) })
        }))
    }

    /// The table with this GUID (`efi_find_vendor_table()`); 0 for none. An i386 stub gives up at an entry above 4 GiB.
    pub fn find(self, guest: &Guest, guid: [u8; 16]) -> Result<Found, String> {
        for entry in self.entries(guest)? {
            let entry = entry?;
            if guest.word == WordSize::Bits32 && entry.table >> 32 != 0 {
                return Ok(Found::Above4GiB);
            }
            if entry.guid == guid {
                return Ok(Found::At(entry.table));
            }
        }
        Ok(Found::At(0))
    }
}

/// The end of a search among the configuration tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The table's address; 0 if there is none.
    At(u64),
    /// An i386 stub met a table that it cannot reach, and gave up.
    Above4GiB,
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Bytes, guest};
    use super::*;

    #[test]
    fn as_many_tables_are_believed() {
        let memory = Bytes::new(0, 0x2_0000);
        let guest = guest(&memory, WordSize::Bits64);
        let tables = |count| Tables { firmware: Firmware::Bits64, address: 0, count };
        assert!(tables(MOST_TABLES).entries(&guest).is_ok());
        assert!(tables(MOST_TABLES + 1).entries(&guest).is_err());
    }
}
