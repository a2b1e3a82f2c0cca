// SPDX-License-Identifier: GPL-2.0-only
//! Where the stub finds the root of the ACPI tables (`get_rsdp_addr()`, arch/x86/boot/compressed/acpi.c). It stores the
//! address in boot_params.

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::super::console::Console;
use super::super::guest::Guest;
use super::efi::{self, Firmware, Found};
use crate::image::{Traits, WordSize};

const SIGNATURE: &[u8] = b"RSD PTR ";
const STEP: usize = 16;

/// The address, 0 for none. What a verbose stub says meanwhile moves the cursor.
///
/// # Errors
///
/// The stub reads what is not there, or stops because EFI's tables are not.
pub fn find(guest: &mut Guest, traits: Traits, console: Console) -> Result<u64, String> {
    if !traits.acpi {
        return Ok(0);
    }
    let given = guest.page.u64(offset_of!(boot_params, acpi_rsdp_addr));
    if given != 0 {
        return Ok(given);
    }
    let from_efi = match (traits.efi, traits.efi_helpers) {
        (true, true) => by_helpers(guest, console)?,
        (true, false) => match from_kexec(guest, console)? {
            0 => before_helpers(guest, console)?,
            found => found,
        },
        (false, _) => 0,
    };
    if from_efi != 0 {
        return Ok(from_efi);
    }
    from_bios(guest)
}

/// 5.19 and later.
fn by_helpers(guest: &mut Guest, console: Console) -> Result<u64, String> {
    let Some(firmware) = firmware(guest, console) else {
        return Ok(0);
    };
    let system_table = efi::system_table(guest);
    if system_table == 0 {
        return Err("the stub must stop: EFI booted it, but there is no system table".into());
    }
    let tables = config_tables(guest, firmware, system_table, console)?;
    if tables.address == 0 {
        return Err("the stub must stop: EFI has no configuration tables".into());
    }
    for guid in [efi::ACPI_20, efi::ACPI_10] {
        match tables.find(guest, guid)? {
            Found::At(0) => {}
            Found::At(address) => return Ok(guest.long(address)),
            Found::Above4GiB => {
                console.debug(&mut guest.page, "Error: EFI config table entry located above 4GB.\n")
            }
        }
    }
    console.debug(&mut guest.page, "Error getting RSDP address.\n");
    Ok(0)
}

/// What kind of EFI booted, as `efi_get_type()` has it.
pub fn firmware(guest: &mut Guest, console: Console) -> Option<Firmware> {
    let mut firmware = efi::firmware(guest);
    if firmware.is_none() {
        console.debug(&mut guest.page, "No EFI environment detected.\n");
    }
    if efi::above_4_gib(guest) {
        console.debug(
            &mut guest.page,
            "EFI system table is located above 4GB and cannot be accessed.\n",
        );
        firmware = None;
    }
    firmware
}

/// `efi_get_conf_table()`: a kernel that used kexec may have left the tables' address.
pub fn config_tables(
    guest: &mut Guest,
    firmware: Firmware,
    system_table: u64,
    console: Console,
) -> Result<efi::Tables, String> {
    let kexec = match firmware {
        Firmware::Bits64 => efi::kexec_tables(guest)?,
        Firmware::Bits32 => None,
    };
    if kexec == Some(0) {
        console
            .debug(&mut guest.page, "kexec EFI environment missing valid configuration table.\n");
    }
    let mut tables = efi::tables(guest, firmware, system_table)?;
    tables.address = kexec.filter(|address| *address != 0).unwrap_or(tables.address);
    Ok(tables)
}

/// Before 5.19: what kexec left is asked first, and apart.
fn from_kexec(guest: &mut Guest, console: Console) -> Result<u64, String> {
    let Some(address) = efi::kexec_tables(guest)? else {
        return Ok(0);
    };
    let wrong = match (address, efi::firmware(guest)) {
        (0, _) => "Wrong kexec SETUP_EFI data.\n",
        (_, Some(Firmware::Bits64)) => {
            let system_table = efi::system_table(guest);
            if system_table == 0 {
                return Err("the stub must stop: kexec's boot_params name no EFI table".into());
            }
            let tables = efi::tables(guest, Firmware::Bits64, system_table)?;
            return search(guest, efi::Tables { address, ..tables }, console);
        }
        _ => "Wrong kexec EFI loader signature.\n",
    };
    console.debug(&mut guest.page, wrong);
    Ok(0)
}

/// Before 5.19.
fn before_helpers(guest: &mut Guest, console: Console) -> Result<u64, String> {
    let Some(firmware) = efi::firmware(guest) else {
        console.debug(&mut guest.page, "Wrong EFI loader signature.\n");
        return Ok(0);
    };
    if efi::above_4_gib(guest) {
        console.debug(
            &mut guest.page,
            "Error getting RSDP address: EFI system table located above 4GB.\n",
        );
        return Ok(0);
    }
    let system_table = efi::system_table(guest);
    if system_table == 0 {
        return Err("the stub must stop: EFI booted it, but there is no system table".into());
    }
    let tables = efi::tables(guest, firmware, system_table)?;
    if tables.address == 0 {
        return Err("the stub must stop: EFI has no configuration tables".into());
    }
    search(guest, tables, console)
}

/// Before 5.19.
fn search(guest: &mut Guest, tables: efi::Tables, console: Console) -> Result<u64, String> {
    let found = first_newer_or_last_older(guest, tables)?;
    if found.is_none() {
        console.debug(
            &mut guest.page,
            "Error getting RSDP address: EFI config table located above 4GB.\n",
        );
    }
    Ok(found.unwrap_or(0))
}

/// The first ACPI 2.0 table, else the last ACPI 1.0 table, else 0; `None` if an i386 stub gives up.
fn first_newer_or_last_older(guest: &Guest, tables: efi::Tables) -> Result<Option<u64>, String> {
    let mut older = 0;
    for entry in tables.entries(guest)? {
        let entry = entry?;
        if guest.word == WordSize::Bits32 && entry.table >> 32 != 0 {
            return Ok(None);
        }
        match entry.guid {
            efi::ACPI_20 => return Ok(Some(guest.long(entry.table))),
            efi::ACPI_10 => older = guest.long(entry.table),
            _ => {}
        }
    }
    Ok(Some(older))
}

/// The first kilobyte of the extended BIOS data, then the BIOS.
fn from_bios(guest: &Guest) -> Result<u64, String> {
    let ebda = u64::from(guest.u16(0x40e, "the BIOS data area")?) << 4;
    if ebda > 0x400
        && let Some(found) = scan(guest, ebda, 0x400)?
    {
        return Ok(found);
    }
    Ok(scan(guest, 0xe_0000, 0x2_0000)?.unwrap_or(0))
}

fn scan(guest: &Guest, start: u64, len: usize) -> Result<Option<u64>, String> {
    let window = guest.vec(start, len, "the BIOS")?;
    for at in (0..len).step_by(STEP) {
        if window[at..].starts_with(SIGNATURE) && is_valid(guest, start + at as u64)? {
            return Ok(Some(start + at as u64));
        }
    }
    Ok(None)
}

/// The checksums of a root pointer: of its first 20 bytes and, from revision 2 on, of all 36.
fn is_valid(guest: &Guest, address: u64) -> Result<bool, String> {
    const REVISION: usize = 15;
    let what = "the ACPI root pointer";
    let is_zero = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0;
    let first = guest.vec(address, 20, what)?;
    if !is_zero(&first) {
        return Ok(false);
    }
    Ok(first[REVISION] < 2 || is_zero(&guest.vec(address, 36, what)?))
}
