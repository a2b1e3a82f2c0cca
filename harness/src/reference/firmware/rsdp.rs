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

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Bytes, PARAMS, checksum, guest, quiet};
    use super::*;

    /// A system table, its configuration tables, and a node of setup_data.
    const SYSTEM: u64 = 0x4000;
    const TABLES: u64 = 0x5000;
    const OTHER_TABLES: u64 = 0x6000;
    const NODE: u64 = 0x7000;

    /// Before 5.19, and since then.
    fn before() -> Traits {
        Traits { acpi: true, efi: true, ..Traits::default() }
    }

    fn helpers() -> Traits {
        Traits { efi_helpers: true, ..before() }
    }

    fn memory() -> Bytes {
        Bytes::new(0, 0x10_0100)
    }

    fn found(memory: &Bytes, traits: Traits, word: WordSize) -> Result<u64, String> {
        let mut guest = guest(memory, word);
        let console = quiet(&guest);
        find(&mut guest, traits, console)
    }

    fn root(revision: u8) -> [u8; 36] {
        let mut root = [0; 36];
        root[..8].copy_from_slice(SIGNATURE);
        root[15] = revision;
        checksum(&mut root[..20], 8);
        checksum(&mut root, 32);
        root
    }

    #[test]
    fn the_loaders_answer_comes_first() {
        let mut memory = memory();
        memory.put(PARAMS + 0x70, &0x1_2345_6789u64.to_le_bytes());
        assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(0x1_2345_6789));
        assert_eq!(
            found(&memory, Traits::default(), WordSize::Bits64),
            Ok(0),
            "without ACPI there is none"
        );
    }

    #[test]
    fn the_bios_is_searched_in_steps_of_sixteen() {
        for (at, revision, damage, expected) in [
            (0xe_0000, 0, None, 0xe_0000),
            (0xf_fff0, 2, None, 0xf_fff0),
            (0xe_0008, 0, None, 0),
            (0xd_fff0, 0, None, 0),
            (0xe_1000, 0, Some(19), 0),
            (0xe_1000, 1, Some(33), 0xe_1000),
            (0xe_1000, 2, Some(33), 0),
        ] {
            let mut memory = memory();
            let mut root = root(revision);
            if let Some(damaged) = damage {
                root[damaged] ^= 1;
            }
            memory.put(at, &root);
            assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(expected), "{at:#x}");
        }
    }

    #[test]
    fn the_extended_bios_data_come_before_the_bios() {
        let mut memory = memory();
        memory.put(0xe_0000, &root(0));
        memory.put(0x9_0410 - 0x10, &root(0));
        memory.put(0x40e, &0x9000u16.to_le_bytes());
        assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(0xe_0000), "behind 1 KiB");
        memory.put(0x9_03f0, &root(0));
        assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(0x9_03f0));
        memory.put(0x40e, &0x40u16.to_le_bytes());
        assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(0xe_0000), "no such data");
    }

    /// EFI with configuration tables of these GUIDs and addresses.
    fn efi(signature: &[u8; 4], tables: &[([u8; 16], u64)]) -> Bytes {
        let mut memory = memory();
        let wide = signature == b"EL64";
        memory.put(PARAMS + 0x1c0, signature);
        memory.put(PARAMS + 0x1c4, &(SYSTEM as u32).to_le_bytes());
        let (count, address) = if wide { (104, 112) } else { (64, 68) };
        memory.put(SYSTEM + address, &(TABLES as u32).to_le_bytes());
        memory.put(SYSTEM + count, &(tables.len() as u32).to_le_bytes());
        for (index, (guid, table)) in tables.iter().enumerate() {
            let size = if wide { 24 } else { 20 };
            let at = TABLES + index as u64 * size;
            memory.put(at, guid);
            memory.put(at + 16, &table.to_le_bytes()[..size as usize - 16]);
        }
        memory
    }

    #[test]
    fn efi_has_a_newer_and_an_older_table() {
        let other = ([7; 16], 0x9999);
        let (newer, older) = ((efi::ACPI_20, 0x2222), (efi::ACPI_10, 0x1111));
        let last = (efi::ACPI_10, 0x3333);
        for (tables, now, then) in [
            (vec![other, older, newer, last], 0x2222, 0x2222),
            (vec![other, older, last], 0x1111, 0x3333),
            (vec![(efi::ACPI_20, 0), older], 0x1111, 0),
            (vec![other], 0, 0),
        ] {
            for signature in [b"EL32", b"EL64"] {
                let memory = efi(signature, &tables);
                assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(now), "{tables:?}");
                assert_eq!(found(&memory, before(), WordSize::Bits64), Ok(then), "{tables:?}");
            }
        }
    }

    #[test]
    fn without_system_table_the_stub_stops() {
        let mut memory = efi(b"EL64", &[]);
        memory.put(PARAMS + 0x1c4, &[0; 4]);
        for traits in [helpers(), before()] {
            assert!(found(&memory, traits, WordSize::Bits64).unwrap_err().contains("must stop"));
            assert_eq!(found(&memory, Traits { efi: false, ..traits }, WordSize::Bits64), Ok(0));
        }
    }

    #[test]
    fn kexec_names_other_tables() {
        let mut memory = efi(b"EL64", &[(efi::ACPI_20, 0x2222)]);
        memory.put(PARAMS + 0x250, &NODE.to_le_bytes());
        memory.put(NODE + 8, &4u32.to_le_bytes());
        memory.put(NODE + 32, &OTHER_TABLES.to_le_bytes());
        memory.put(OTHER_TABLES, &efi::ACPI_20);
        memory.put(OTHER_TABLES + 16, &0x4444u64.to_le_bytes());
        for traits in [helpers(), before()] {
            assert_eq!(found(&memory, traits, WordSize::Bits64), Ok(0x4444));
            assert_eq!(found(&memory, traits, WordSize::Bits32), Ok(0x2222), "not on i386");
        }
        memory.put(NODE + 32, &[0; 8]);
        for traits in [helpers(), before()] {
            assert_eq!(found(&memory, traits, WordSize::Bits64), Ok(0x2222), "nothing said");
        }
    }

    #[test]
    fn i386_does_not_reach_above_4_gib() {
        let far = (efi::ACPI_20, 0x1_0000_2222);
        for traits in [helpers(), before()] {
            let memory = efi(b"EL64", &[(efi::ACPI_10, 0x1111), far]);
            assert_eq!(found(&memory, traits, WordSize::Bits64), Ok(0x1_0000_2222));
            let narrow = found(&memory, traits, WordSize::Bits32);
            assert_eq!(narrow, Ok(if traits.efi_helpers { 0x1111 } else { 0 }));
            let mut memory = efi(b"EL64", &[(efi::ACPI_10, 0x1111)]);
            memory.put(PARAMS + 0x1dc, &1u32.to_le_bytes());
            assert_eq!(found(&memory, traits, WordSize::Bits32), Ok(0));
        }
    }

    #[test]
    fn tables_without_end_are_refused() {
        let mut memory = efi(b"EL64", &[]);
        memory.put(SYSTEM + 104, &u32::MAX.to_le_bytes());
        for traits in [helpers(), before()] {
            assert!(found(&memory, traits, WordSize::Bits64).is_err());
        }
    }

    #[test]
    fn bios_data_begin_behind_their_own_area() {
        let mut memory = memory();
        memory.put(0xe_0000, &root(0));
        memory.put(0x500, &root(0));
        memory.put(0x40e, &0x40u16.to_le_bytes());
        assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(0xe_0000));
        memory.put(0x40e, &0x41u16.to_le_bytes());
        assert_eq!(found(&memory, helpers(), WordSize::Bits64), Ok(0x500));
    }

    /// How many lines a verbose stub prints.
    fn lines(memory: &mut Bytes, traits: Traits, word: WordSize) -> u8 {
        memory.put(PARAMS + 0x07, &[80]);
        memory.put(PARAMS + 0x0e, &[25]);
        let mut guest = guest(memory, word);
        let console = Console::new(&guest.page, true);
        find(&mut guest, traits, console).unwrap();
        guest.page.u8(1)
    }

    #[test]
    fn a_verbose_stub_says_what_it_misses() {
        let (wide, narrow) = (WordSize::Bits64, WordSize::Bits32);
        // "No EFI environment detected."; before 5.19 "Wrong EFI loader signature.".
        assert_eq!(lines(&mut memory(), helpers(), wide), 1);
        assert_eq!(lines(&mut memory(), before(), wide), 1);
        // "Error getting RSDP address.", if none is there.
        assert_eq!(lines(&mut efi(b"EL64", &[]), helpers(), wide), 1);
        assert_eq!(lines(&mut efi(b"EL64", &[(efi::ACPI_20, 0x2222)]), helpers(), wide), 0);
        // One line for each GUID that is looked for.
        let far = [(efi::ACPI_20, 1 << 32)];
        assert_eq!(lines(&mut efi(b"EL64", &far), helpers(), narrow), 3);
        assert_eq!(lines(&mut efi(b"EL64", &far), before(), narrow), 1);
        let mut high = efi(b"EL64", &[]);
        high.put(PARAMS + 0x1dc, &[1]);
        assert_eq!(lines(&mut high, helpers(), narrow), 1);
        assert_eq!(lines(&mut high, before(), narrow), 1);
        // A node of kexec's that says nothing.
        let mut kexec = efi(b"EL64", &[(efi::ACPI_20, 0x2222)]);
        kexec.put(PARAMS + 0x250, &NODE.to_le_bytes());
        kexec.put(NODE + 8, &4u32.to_le_bytes());
        assert_eq!(lines(&mut kexec, helpers(), wide), 1);
        assert_eq!(lines(&mut kexec, before(), wide), 1);
        // One that says something, but another firmware.
        kexec.put(NODE + 32, &OTHER_TABLES.to_le_bytes());
        assert_eq!(lines(&mut kexec, helpers(), wide), 1, "no RSDP in the other tables");
        assert_eq!(lines(&mut kexec, before(), wide), 0);
        kexec.put(PARAMS + 0x1c0, b"EL32");
        kexec.put(SYSTEM + 68, &(TABLES as u32).to_le_bytes());
        assert_eq!(lines(&mut kexec, before(), wide), 1);
    }
}
