// SPDX-License-Identifier: GPL-2.0-only
//! The memory that cannot be unplugged, by ACPI's SRAT: only there may KASLR put a kernel that can be told to give memory
//! back (`count_immovable_mem_regions()`, arch/x86/boot/compressed/acpi.c).

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::super::console::Console;
use super::super::guest::Guest;
use super::super::kaslr::Span;
use super::super::options::{CommandLine, strict};
use crate::image::Traits;

/// Size of the head that all tables have.
const HEAD: u64 = 36;
/// More entries in a table are not believed.
const MOST_ENTRIES: u64 = 1 << 16;

/// The immovable regions in the table's order; none if the stub does not look for them, or gives up.
///
/// # Errors
///
/// A table is not in RAM, or so large that the stub would run for ever.
pub fn immovable(
    guest: &mut Guest,
    traits: Traits,
    command_line: &CommandLine,
    console: Console,
) -> Result<Vec<Span>, String> {
    if !traits.srat || acpi_option(command_line, b"off") {
        return Ok(Vec::new());
    }
    match table(guest, traits, command_line, console)? {
        0 => Ok(Vec::new()),
        table => regions(guest, traits, table, console),
    }
}

/// Whether the last `acpi=` has just this value.
fn acpi_option(command_line: &CommandLine, wanted: &[u8]) -> bool {
    const ROOM: usize = 10;
    command_line.value("acpi", ROOM).is_some_and(|value| value.bytes == wanted)
}

/// `acpi_rsdp=`; 0 if it is absent or no number.
fn given_root(
    guest: &mut Guest,
    traits: Traits,
    command_line: &CommandLine,
    console: Console,
) -> u64 {
    const ROOM: usize = 19;
    let value = command_line.value("acpi_rsdp", ROOM).filter(|_| traits.acpi_rsdp);
    let Some(value) = value else { return 0 };
    if traits.acpi_rsdp_checked && value.len >= ROOM {
        console.warn(&mut guest.page, "acpi_rsdp= value too long; ignoring");
        return 0;
    }
    strict(&value.bytes, 16, guest.word.bits()).unwrap_or(0)
}

/// Address of the SRAT; 0 for none.
fn table(
    guest: &mut Guest,
    traits: Traits,
    command_line: &CommandLine,
    console: Console,
) -> Result<u64, String> {
    let root = match given_root(guest, traits, command_line, console) {
        0 => guest.long(guest.page.u64(offset_of!(boot_params, acpi_rsdp_addr))),
        given => given,
    };
    if root == 0 {
        return Ok(0);
    }
    let what = "the ACPI root pointer";
    let field = |offset: u64| root.wrapping_add(offset);
    let mut list = 0;
    let mut size = 8;
    if !acpi_option(command_line, b"rsdt") && guest.u8(field(15), what)? > 1 {
        list = guest.u64(field(24), what)?;
    }
    if list == 0 {
        list = u64::from(guest.u32(field(16), what)?);
        size = 4;
    }
    let list = guest.long(list);
    if list == 0 {
        return Ok(0);
    }
    let what = "ACPI's list of tables";
    let len = u64::from(guest.u32(list.wrapping_add(4), what)?);
    if len < HEAD + size {
        return Ok(0);
    }
    for index in 0..(len - HEAD) / size {
        if index == MOST_ENTRIES {
            return Err(format!("{what} has more than {MOST_ENTRIES} entries"));
        }
        let at = guest.long(list.wrapping_add(HEAD + index * size));
        let table = match size {
            4 => guest.u32(at, what)?.into(),
            _ => guest.long(guest.u64(at, what)?),
        };
        if table != 0 && guest.vec(table, 4, "an ACPI table")? == b"SRAT" {
            return Ok(table);
        }
    }
    Ok(0)
}

fn regions(
    guest: &mut Guest,
    traits: Traits,
    table: u64,
    console: Console,
) -> Result<Vec<Span>, String> {
    const FIRST: u64 = 48;
    const MEMORY: u8 = 1;
    const HOT_PLUGGABLE: u32 = 2;
    let what = "the SRAT";
    let len = u64::from(guest.u32(table.wrapping_add(4), what)?);
    let end = guest.long(table.wrapping_add(len));
    let mut at = guest.long(table.wrapping_add(FIRST));
    let mut found = Vec::new();
    let mut seen = 0;
    while guest.long(at.wrapping_add(2)) < end {
        let field = |offset: u64| guest.long(at.wrapping_add(offset));
        seen += 1;
        if seen > MOST_ENTRIES {
            return Err(format!("{what} has more than {MOST_ENTRIES} entries"));
        }
        let size = guest.u8(field(1), what)?;
        if size == 0 {
            console.debug(&mut guest.page, "Invalid zero length SRAT subtable.\n");
            return Ok(Vec::new());
        }
        if guest.u8(at, what)? == MEMORY {
            let span =
                Span { start: guest.u64(field(8), what)?, size: guest.u64(field(16), what)? };
            if guest.u32(field(28), what)? & HOT_PLUGGABLE == 0 && span.size != 0 {
                found.push(span);
            }
            if too_many(found.len(), traits.srat_limit)? {
                console.debug(&mut guest.page, "Too many immovable memory regions, aborting.\n");
                return Ok(Vec::new());
            }
        }
        at = guest.long(at.wrapping_add(size.into()));
    }
    Ok(found)
}

fn too_many(count: usize, limit: Option<u32>) -> Result<bool, String> {
    match limit {
        Some(limit) => Ok(count >= limit as usize),
        // The least that any configuration has.
        None if count < 2 => Ok(false),
        None => {
            Err("how many regions of the SRAT are too many cannot be told from the stub".into())
        }
    }
}
