// SPDX-License-Identifier: GPL-2.0-only
//! The loader: puts an image and what it needs into memory, as a case says.

use std::sync::Arc;

use super::contract::{self, Object, objects};
use super::error::{broken, impossible};
use super::{Case, CaseError, MemoryKind, Protocol, boot_params, efi, gdt, memory, setup_data};
use crate::image::{Image, WordSize};
use crate::machine::{self, EntryMode, Fill, Placed, Setup};
use crate::range::Range;

/// Interrupt vectors and BIOS data.
const BIOS_DATA: Range = Range { start: 0, end: 0x1000 };
/// Extended BIOS data, video memory and ROMs.
const UPPER: Range = Range { start: 0x9_f000, end: 0x10_0000 };
const VIDEO: &str = "BIOS and video memory";
/// Offset of the 64-bit entry point (boot.rst, "64-bit Boot Protocol").
const ENTRY_64: u64 = 0x200;
/// Bits of CR3 that have nothing to do with where the tables lie: PWT and PCD.
const CR3_IGNORED: u64 = 0x18;

/// Puts `image`, whose kernel has word size `word`, into memory as `case` says.
///
/// # Errors
///
/// The case asks for something impossible, or breaks the boot protocol: then a failure would be the
/// loader's, not the stub's.
pub fn place(image: &Image, word: WordSize, case: &Case) -> Result<Setup, CaseError> {
    contract::check_fields(image, word, case)?;
    let known = objects(case);
    let ram = memory::ram(&case.memory, backed(case, &known))?;
    let mut placed = vec![
        put("BIOS data", BIOS_DATA.start, bios_data(case)),
        put(VIDEO, UPPER.start, vec![0; UPPER.len() as usize]),
    ];
    if case.screen {
        let devices = &case.devices;
        placed.push(put(VIDEO, devices.screen_memory().start, devices.screen_contents()));
    }
    placed.extend(contents(image, case));
    let mut all = known;
    let mut page_tables = case.places.page_tables;
    if case.protocol == Protocol::Bits64 {
        let tables = contract::page_tables(case, &contract::mapped(image, case, &ram))?;
        all.push(Object {
            field: "places.page_tables",
            what: "page tables",
            range: Range::sized(page_tables, tables.len() as u64),
        });
        placed.push(put("loader's page tables", page_tables, tables));
        page_tables |= if case.entry.ignored_bits { CR3_IGNORED } else { 0 };
    }
    contract::check_places(image, case, &all)?;
    check_ram(image, case, &all, &ram)?;

    let mode = match case.protocol {
        Protocol::Bits32 => EntryMode::Protected,
        Protocol::Bits64 => EntryMode::Long { page_tables, five_levels: case.entry.five_levels },
    };
    let gdt_size = gdt::bytes(case.protocol, case.entry.gdt).len();
    Ok(Setup {
        word,
        cpu: machine::CpuFeatures {
            la57: case.cpu.la57,
            gib_pages: case.cpu.gib_pages,
            rdrand: case.cpu.rdrand.clone(),
            rdrand_failures: case.cpu.rdrand_failures,
            tsc: case.cpu.tsc.clone(),
        },
        mode,
        entry_state: machine::EntryState {
            direction_flag: case.entry.direction_flag,
            registers: case.entry.registers,
        },
        entry: case.load + if case.protocol == Protocol::Bits64 { ENTRY_64 } else { 0 },
        payload: image.payload().range.clone(),
        stub: put("stub", case.load, image.protected_mode().to_vec()),
        boot_params: case.places.boot_params,
        gdt: (case.places.gdt, (gdt_size - 1) as u16),
        ram: memory::with_partial_pages(&case.memory, ram),
        fill: Fill(case.fill),
        placed,
        timer: case.timer.clone(),
        devices: machine::DeviceState {
            serial_divisor: case.devices.serial_divisor,
            serial_never_ready: case.devices.serial_never_ready,
            timer_not_ready: case.devices.timer_not_ready,
        },
        budget: case.budget,
    })
}

/// Where the map says "reserved", there is RAM if the loader put something there.
fn backed<'a>(case: &'a Case, objects: &'a [Object]) -> impl Iterator<Item = Range> + 'a {
    let reserved = |range: Range| {
        let mut entries = case.memory.iter().filter(|e| e.kind == MemoryKind::Reserved);
        entries.any(|entry| entry.range().covers(range))
    };
    objects.iter().map(|object| object.range).filter(move |range| reserved(*range))
}

fn put(what: &'static str, address: u64, bytes: Vec<u8>) -> Placed {
    Placed { address, bytes: Arc::from(bytes), what }
}

/// The bytes of everything that a stub may read.
fn contents(image: &Image, case: &Case) -> Vec<Placed> {
    let mut placed = vec![
        put("boot_params", case.places.boot_params, boot_params::build(image.header(), case)),
        put("loader's GDT", case.places.gdt, gdt::bytes(case.protocol, case.entry.gdt)),
    ];
    if let Some(line) = &case.command_line {
        let bytes = line.bytes().chain([0]).collect();
        placed.push(put("command line", case.places.command_line, bytes));
    }
    let configuration = case.efi.as_ref().map_or(0, |efi| efi.configuration());
    for (index, node) in case.setup_data.iter().enumerate() {
        let bytes = setup_data::node_bytes(&case.setup_data, index, configuration);
        placed.push(put("setup_data", node.address, bytes));
    }
    if let Some(efi) = &case.efi {
        let kexec = efi::after_kexec(&case.setup_data);
        placed.push(put("EFI tables", efi.tables, efi.table_bytes(case.acpi.as_ref(), kexec)));
        placed.push(put("EFI memory map", efi.map, efi.map_bytes()));
    }
    for (_, address, bytes) in case.acpi.iter().flat_map(|acpi| acpi.pieces()) {
        placed.push(put("ACPI tables", address, bytes));
    }
    placed
}

/// Where the image lies, where it moves, and where the loader put something, there is RAM.
fn check_ram(image: &Image, case: &Case, all: &[Object], ram: &[Range]) -> Result<(), CaseError> {
    let fits = |range: Range| ram.iter().any(|part| part.covers(range));
    if let Some(object) = all.iter().find(|object| !fits(object.range)) {
        let problem = format!("there is no RAM for all of {} {}", object.what, object.range);
        return Err(impossible(object.field, problem));
    }
    let loaded = contract::loaded(image, case);
    if !fits(loaded) {
        return Err(broken("load", format!("there is no RAM for all of {loaded}")));
    }
    let window = contract::window(image, case);
    if !fits(window) {
        let problem = format!("the kernel will move to {window}, which is not all RAM");
        return Err(broken("load", problem));
    }
    Ok(())
}

fn bios_data(case: &Case) -> Vec<u8> {
    const EBDA_SEGMENT: usize = 0x40e;
    const LOWER_MEMORY_KIB: usize = 0x413;
    let mut bytes = vec![0; BIOS_DATA.len() as usize];
    bytes[EBDA_SEGMENT..][..2].copy_from_slice(&case.bios.ebda_segment.to_le_bytes());
    bytes[LOWER_MEMORY_KIB..][..2].copy_from_slice(&case.bios.lower_memory_kib.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests;
