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

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Bytes, PARAMS, guest, quiet};
    use super::*;
    use crate::image::WordSize;

    const ROOT: u64 = 0x4000;
    const RSDT: u64 = 0x5000;
    const XSDT: u64 = 0x6000;
    const FACP: u64 = 0x7000;
    const SRAT: u64 = 0x8000;
    const LINE: u64 = 0x1_8000;

    fn traits() -> Traits {
        Traits { srat: true, srat_limit: Some(4), acpi_rsdp: true, ..Traits::default() }
    }

    fn head(memory: &mut Bytes, at: u64, signature: &[u8; 4], len: u32) {
        memory.put(at, signature);
        memory.put(at + 4, &len.to_le_bytes());
    }

    /// A root of revision 2, whose XSDT lists another table and the SRAT, and whose RSDT the other one.
    fn memory(entries: &[(u8, u64, u64, u32)]) -> Bytes {
        let mut memory = Bytes::new(0, 0x2_0000);
        memory.put(PARAMS + 0x70, &ROOT.to_le_bytes());
        memory.put(PARAMS + 0x228, &(LINE as u32).to_le_bytes());
        memory.put(ROOT + 15, &[2]);
        memory.put(ROOT + 16, &(RSDT as u32).to_le_bytes());
        memory.put(ROOT + 24, &XSDT.to_le_bytes());
        head(&mut memory, RSDT, b"RSDT", 40);
        memory.put(RSDT + 36, &(FACP as u32).to_le_bytes());
        head(&mut memory, XSDT, b"XSDT", 36 + 3 * 8);
        memory.put(XSDT + 36 + 8, &FACP.to_le_bytes());
        memory.put(XSDT + 36 + 16, &SRAT.to_le_bytes());
        head(&mut memory, FACP, b"FACP", 36);
        head(&mut memory, SRAT, b"SRAT", 48 + 40 * entries.len() as u32);
        for (index, (kind, start, size, flags)) in entries.iter().enumerate() {
            let at = SRAT + 48 + 40 * index as u64;
            memory.put(at, &[*kind, 40]);
            memory.put(at + 8, &start.to_le_bytes());
            memory.put(at + 16, &size.to_le_bytes());
            memory.put(at + 28, &flags.to_le_bytes());
        }
        memory
    }

    fn found_as(memory: &Bytes, traits: Traits) -> Result<Vec<(u64, u64)>, String> {
        let mut guest = guest(memory, WordSize::Bits64);
        let line = CommandLine::read(&guest).unwrap().unwrap();
        let console = quiet(&guest);
        let spans = immovable(&mut guest, traits, &line, console)?;
        Ok(spans.iter().map(|span| (span.start, span.size)).collect())
    }

    fn found(memory: &Bytes) -> Vec<(u64, u64)> {
        found_as(memory, traits()).unwrap()
    }

    const ONE: (u8, u64, u64, u32) = (1, 0x100_0000, 0x10_0000, 1);

    #[test]
    fn regions_that_can_be_unplugged_and_empty_ones_are_left_out() {
        let entries = [ONE, (0, 2, 2, 1), (1, 0x200_0000, 3, 3), (1, 4, 0, 1), (1, 5, 6, 0)];
        assert_eq!(found(&memory(&entries)), [(0x100_0000, 0x10_0000), (5, 6)]);
        assert_eq!(found_as(&memory(&entries), Traits::default()), Ok(vec![]));
    }

    #[test]
    fn the_command_line_chooses_the_root_and_its_list() {
        for (text, expected) in [
            ("", 1),
            ("acpi=off", 0),
            ("acpi=off acpi=on", 1),
            ("acpi=offx", 1),
            ("acpi=rsdt", 0),
            ("acpi_rsdp=0x4000", 1),
            ("acpi_rsdp=4000", 1),
            ("acpi_rsdp=x", 1),
            ("acpi_rsdp=9000", 0),
        ] {
            let mut memory = memory(&[ONE]);
            memory.put(LINE, text.as_bytes());
            assert_eq!(found(&memory).len(), expected, "{text}");
        }
    }

    #[test]
    fn an_address_that_is_too_long_is_cut_off_or_left_out() {
        let mut memory = memory(&[ONE]);
        memory.put(LINE, b"acpi_rsdp=0x0000000000009000111");
        assert_eq!(found(&memory), [], "18 characters are left of it");
        let checked = Traits { acpi_rsdp_checked: true, ..traits() };
        assert_eq!(found_as(&memory, checked).unwrap().len(), 1);
        let without = Traits { acpi_rsdp: false, ..traits() };
        assert_eq!(found_as(&memory, without).unwrap().len(), 1);
    }

    #[test]
    fn older_roots_have_only_the_list_of_short_pointers() {
        for change in [(ROOT + 15, &[1u8][..]), (ROOT + 24, &[0; 8])] {
            let mut memory = memory(&[ONE]);
            memory.put(change.0, change.1);
            assert_eq!(found(&memory), []);
            memory.put(RSDT + 36, &(SRAT as u32).to_le_bytes());
            assert_eq!(found(&memory).len(), 1);
            memory.put(RSDT + 4, &44u32.to_le_bytes());
            memory.put(RSDT + 40, &(FACP as u32).to_le_bytes());
            assert_eq!(found(&memory).len(), 1, "one of two");
        }
    }

    #[test]
    fn broken_tables_are_as_good_as_none() {
        let mut zero = memory(&[ONE, ONE]);
        zero.put(SRAT + 48 + 41, &[0]);
        assert_eq!(found(&zero), []);
        zero.put(SRAT + 4, &(48u32 + 40 + 2).to_le_bytes());
        assert_eq!(found(&zero).len(), 1, "a head alone is not looked at");
        let mut short = memory(&[ONE]);
        for len in [0, 35, 43, 36 + 2 * 8] {
            short.put(XSDT + 4, &u32::to_le_bytes(len));
            assert_eq!(found(&short), [], "{len}");
        }
        assert_eq!(found(&memory(&[ONE; 3])).len(), 3);
        assert_eq!(found(&memory(&[ONE; 4])), [], "too many");
        let mut none = memory(&[ONE]);
        none.put(PARAMS + 0x70, &[0; 8]);
        assert_eq!(found(&none), []);
    }

    #[test]
    fn what_cannot_be_known_is_said() {
        let unclear = Traits { srat_limit: None, ..traits() };
        assert!(found_as(&memory(&[ONE; 1]), unclear).is_ok());
        assert!(found_as(&memory(&[ONE; 2]), unclear).is_err());
        let mut far = memory(&[ONE]);
        far.put(XSDT + 36 + 8, &u64::MAX.to_le_bytes());
        assert!(found_as(&far, traits()).unwrap_err().contains("not RAM"));
    }

    #[test]
    fn a_table_has_an_end() {
        const LONG: u64 = 0x2_0000;
        let found = |entries: u32| {
            let mut memory = memory(&[]);
            let mut longer = Bytes::new(0, 0x4_1000);
            let mut bytes = vec![0; 0x2_0000];
            assert!(super::super::super::Memory::read(&memory, 0, &mut bytes));
            longer.put(0, &bytes);
            memory = longer;
            memory.put(XSDT + 36 + 16, &LONG.to_le_bytes());
            // Of a kind that tells nothing, and as short as can be.
            head(&mut memory, LONG, b"SRAT", 48 + 2 * entries + 1);
            memory.put(LONG + 48, &[0, 2].repeat(entries as usize));
            found_as(&memory, traits())
        };
        assert_eq!(found(MOST_ENTRIES as u32), Ok(vec![]));
        assert!(found(MOST_ENTRIES as u32 + 1).unwrap_err().contains("more than 65536"));
    }
}
