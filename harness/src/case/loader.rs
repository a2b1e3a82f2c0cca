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
/// The text screen: a character and its colour for each place.
pub const SCREEN: Range = Range { start: 0xb_8000, end: 0xb_8fa0 };
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
        put("BIOS and video memory", UPPER.start, vec![0; UPPER.len() as usize]),
    ];
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
        ram,
        fill: Fill(case.fill),
        placed,
        timer: case.timer.clone(),
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
        let rsdp = case.acpi.as_ref().map(|acpi| acpi.address);
        let kexec = efi::after_kexec(&case.setup_data);
        placed.push(put("EFI tables", efi.tables, efi.table_bytes(rsdp, kexec)));
        placed.push(put("EFI memory map", efi.map, efi.map_bytes()));
    }
    if let Some(acpi) = &case.acpi {
        placed.push(put("ACPI tables", acpi.address, acpi.bytes()));
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
mod tests {
    use super::*;
    use crate::case::{
        Acpi, Efi, EfiSignature, Fault, MemoryEntry, SetupData, SetupDataKind, Span,
    };
    use crate::image::fixture::{Fixture, kernel};

    fn image() -> Image {
        let payload = kernel(true, &[0, 0, 0]);
        Image::parse(Fixture::new(crate::image::Compression::Gzip, &payload).build()).unwrap()
    }

    fn case() -> Case {
        Case { load: 0x200_0000, ..Case::default() }
    }

    type Change = (&'static str, fn(&mut Case));

    fn refused(change: impl FnOnce(&mut Case)) -> (&'static str, Fault) {
        let mut case = case();
        change(&mut case);
        let error = place(&image(), WordSize::Bits64, &case).expect_err("nobody can do this");
        (error.field, error.fault)
    }

    fn efi(tables: u64, descriptor_size: u32) -> Option<Efi> {
        let signature = EfiSignature::EL32;
        Some(Efi { signature, tables, map: 0x8_2000, descriptor_size, memory: vec![] })
    }

    fn node(address: u64, len: u32) -> Vec<SetupData> {
        let kind = SetupDataKind::Indirect;
        let points_to = vec![Span { start: 0x3000_0000, end: 0x3000_1000 }];
        vec![SetupData { address, kind, len, points_to }]
    }

    #[test]
    fn impossible_cases_are_refused_by_field() {
        let impossible: [Change; 22] = [
            ("load", |case| case.load += 1),
            ("kernel_alignment", |case| case.kernel_alignment = Some(0)),
            ("kernel_alignment", |case| case.kernel_alignment = Some(0x30_0000)),
            ("init_size", |case| case.init_size = Some(1 << 32)),
            ("budget", |case| case.budget = 0),
            ("budget", |case| case.budget = 1 << 39),
            ("command_line", |case| case.command_line = Some("x".repeat(2048))),
            ("command_line", |case| case.command_line = Some("a\0b".into())),
            ("memory", |case| case.memory[0].end = 0),
            ("memory", |case| case.memory[1].end = 1 << 53),
            ("memory", |case| case.memory = vec![case.memory[1]; 129]),
            ("entry.five_levels", |case| case.entry.five_levels = true),
            ("places.command_line", |case| case.places.command_line = 0x1_0800),
            ("places.gdt", |case| case.places.gdt = 1 << 31),
            ("places.boot_params", |case| case.places.boot_params = u64::MAX - 5),
            ("initrd", |case| case.initrd = Some(Span { start: 5, end: 5 })),
            ("setup_data", |case| case.setup_data = node(0x3100_0000, 23)),
            ("setup_data", |case| case.setup_data = node(0x3000_0000, 24)),
            ("efi.descriptor_size", |case| case.efi = efi(0x8_0000, 39)),
            ("efi.tables", |case| case.efi = efi(1 << 32, 40)),
            ("acpi.address", |case| {
                case.acpi = Some(Acpi { address: 8, in_boot_params: true, affinity: vec![] });
            }),
            ("memory", |case| {
                let kind = MemoryKind::Unlisted;
                case.memory.push(MemoryEntry { start: 1 << 44, end: 1 << 46, kind });
            }),
        ];
        for (field, change) in impossible {
            assert_eq!(refused(change), (field, Fault::Case));
        }
    }

    #[test]
    fn loaders_that_break_the_protocol_are_told_from_impossible_cases() {
        let broken: [Change; 10] = [
            ("load", |case| case.load = 0xf_f000),
            ("load", |case| case.load = 0x3f00_0000),
            ("load", |case| case.load = 0xffff_f000),
            ("load", |case| case.load = u64::MAX - 0xfff),
            ("kernel_alignment", |case| case.kernel_alignment = Some(0x10_0000)),
            ("init_size", |case| case.init_size = Some(0x1000)),
            ("places.boot_params", |case| case.places.boot_params = 0x200_0000),
            // QEMU's load address: the kernel moves to where it was linked for, over the initrd.
            ("initrd", |case| {
                case.load = 0x10_0000;
                case.initrd = Some(Span { start: 0x100_0000, end: 0x100_0001 });
            }),
            ("places.command_line", |case| {
                case.memory.push(MemoryEntry::usable(1 << 33, (1 << 33) + 0x1000));
                case.places.command_line = 1 << 33;
            }),
            ("initrd", |case| {
                case.memory.push(MemoryEntry::usable(1 << 33, (1 << 33) + 0x1000));
                case.initrd = Some(Span { start: 1 << 33, end: (1 << 33) + 5 });
                case.sentinel = Some(1);
            }),
        ];
        for (field, change) in broken {
            assert_eq!(refused(change), (field, Fault::Loader));
        }
    }

    #[test]
    fn an_i386_kernel_has_no_64_bit_entry() {
        let case = Case { protocol: Protocol::Bits64, ..case() };
        assert_eq!(place(&image(), WordSize::Bits32, &case).unwrap_err().field, "protocol");
        assert_eq!(place(&image(), WordSize::Bits64, &case).unwrap().entry, 0x200_0200);
    }

    #[test]
    fn boot_params_hold_the_header_and_the_memory_map() {
        let image = image();
        let setup = place(&image, WordSize::Bits64, &case()).unwrap();
        let page = setup.placed.iter().find(|p| p.address == setup.boot_params).unwrap();
        let header = image.header().raw();
        assert_eq!(page.bytes[0x202..0x206], *b"HdrS");
        assert_eq!(page.bytes[0x230..0x1f1 + header.len()], header[0x230 - 0x1f1..]);
        assert_eq!(page.bytes[0x1ef], 0, "a sentinel would make the stub clean up");
        assert_eq!(page.bytes[0x228..0x22c], 0x2_0000u32.to_le_bytes());
        assert_eq!(page.bytes[0x1e8], 2);
        assert_eq!(page.bytes[0x2d0 + 20..0x2d0 + 28], 0x10_0000u64.to_le_bytes());
        assert_eq!(page.bytes[0x2d0 + 28..0x2d0 + 36], 0x3ff0_0000u64.to_le_bytes());
        assert_eq!(page.bytes[0x2d0 + 36..0x2d0 + 40], 1u32.to_le_bytes());
    }

    #[test]
    fn boot_params_name_what_the_loader_placed() {
        let mut case = Case { protocol: Protocol::Bits64, ..case() };
        case.memory.push(MemoryEntry::usable(1 << 33, (1 << 33) + 0x1000_0000));
        case.initrd = Some(Span { start: 0x2_0123_4000, end: 0x2_0123_4005 });
        case.places.command_line = 0x2_0000_0100;
        case.setup_data = node(0x3100_0000, 24);
        case.sentinel = None;
        let setup = place(&image(), WordSize::Bits64, &case).unwrap();
        let page = &setup.placed.iter().find(|p| p.address == setup.boot_params).unwrap().bytes;
        let word = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().unwrap());
        assert_eq!((word(0x218), word(0x0c0)), (0x0123_4000, 2));
        assert_eq!((word(0x21c), word(0x0c4)), (5, 0));
        assert_eq!((word(0x228), word(0x0c8)), (0x100, 2));
        assert_eq!(word(0x250), 0x3100_0000);

        case.command_line = None;
        let setup = place(&image(), WordSize::Bits64, &case).unwrap();
        let page = &setup.placed.iter().find(|p| p.address == setup.boot_params).unwrap().bytes;
        assert_eq!((page[0x228..0x22c].to_vec(), page[0xc8]), (vec![0; 4], 0));
    }

    #[test]
    fn a_sentinel_comes_with_garbage_but_not_in_what_stays() {
        let mut case = case();
        case.sentinel = Some(7);
        let setup = place(&image(), WordSize::Bits64, &case).unwrap();
        let page = &setup.placed.iter().find(|p| p.address == setup.boot_params).unwrap().bytes;
        assert_eq!(page[0x1ef], 0xff);
        assert!(page[0xc0..0xcc].iter().all(|byte| *byte != 0));
        assert_eq!((page[0x13c..0x140].to_vec(), page[0x1e8]), (vec![0; 4], 2));
    }
}
