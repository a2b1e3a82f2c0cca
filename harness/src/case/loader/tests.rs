// SPDX-License-Identifier: GPL-2.0-only

use proptest::prelude::*;

use super::*;
use crate::case::{
    Acpi, AcpiGuids, Checksums, Efi, EfiSignature, Fault, MemoryEntry, Places, SecondRoot,
    SetupData, SetupDataKind, Span,
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
    let acpi = AcpiGuids::Newer;
    Some(Efi { signature, tables, map: 0x8_2000, descriptor_size, acpi, memory: vec![] })
}

fn node(address: u64, len: u32) -> Vec<SetupData> {
    let kind = SetupDataKind::Indirect;
    let points_to = vec![Span { start: 0x3000_0000, end: 0x3000_1000 }];
    vec![SetupData { address, kind, len, points_to }]
}

/// Tables in the BIOS, and another RSDP that boot_params name.
fn second(address: u64) -> Option<Acpi> {
    let second = SecondRoot { address, checksums: Checksums::Right, in_boot_params: true };
    Some(Acpi { second: Some(second), ..Acpi::at(0xe_0000) })
}

#[test]
fn impossible_cases_are_refused_by_field() {
    let impossible: [Change; 27] = [
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
            case.acpi = Some(Acpi::at(8));
        }),
        ("cc_blob_address", |case| case.cc_blob_address = Some(1 << 32)),
        ("acpi.tables", |case| case.acpi = Some(Acpi { tables: Some(8), ..Acpi::at(0xe_0000) })),
        ("acpi.processors", |case| {
            case.acpi = Some(Acpi { processors: 4097, ..Acpi::at(0xe_0000) });
        }),
        ("acpi.second", |case| case.acpi = second(0xe_0010)),
        ("acpi.second", |case| {
            case.acpi = second(0xe_1000).map(|acpi| Acpi { in_boot_params: true, ..acpi });
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
    case.cc_blob_address = Some(0x1234_5678);
    let setup = place(&image(), WordSize::Bits64, &case).unwrap();
    let page = &setup.placed.iter().find(|p| p.address == setup.boot_params).unwrap().bytes;
    assert_eq!(page[0x13c..0x140], 0x1234_5678u32.to_le_bytes());
}

/// Numbers that are wrong in some way more often than not.
fn wild() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64u32, 0..3u64).prop_map(|(bit, less)| (1u64 << bit).wrapping_sub(less)),
        (0..0x4_0000u64).prop_map(|page| page << 12),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    (wild(), wild()).prop_map(|(start, end)| Span { start, end })
}

fn wild_case() -> impl Strategy<Value = Case> {
    let kinds = prop_oneof![
        Just(MemoryKind::Usable),
        Just(MemoryKind::Reserved),
        Just(MemoryKind::Unlisted)
    ];
    let nodes = prop_oneof![
        Just(SetupDataKind::Efi),
        Just(SetupDataKind::Indirect),
        Just(SetupDataKind::KexecKho),
        Just(SetupDataKind::RngSeed)
    ];
    let memory = proptest::collection::vec(
        (wild(), wild(), kinds).prop_map(|(start, end, kind)| MemoryEntry { start, end, kind }),
        0..4,
    );
    let chain = proptest::collection::vec(
        (wild(), nodes, any::<u32>(), proptest::collection::vec(span(), 0..3)).prop_map(
            |(address, kind, len, points_to)| SetupData { address, kind, len, points_to },
        ),
        0..3,
    );
    let firmware = (wild(), wild(), 0..100u32, wild(), proptest::option::of(span()));
    let places = proptest::array::uniform4(wild());
    let numbers = (wild(), wild(), wild(), any::<[bool; 6]>());
    (memory, chain, firmware, places, numbers).prop_map(
        |(memory, setup_data, (tables, map, descriptor_size, address, initrd), at, numbers)| {
            let (load, alignment, size, flags) = numbers;
            let mut case = Case { load, setup_data, initrd, ..Case::default() };
            case.memory.extend(memory);
            if flags[0] {
                case.protocol = Protocol::Bits64;
                case.load = 0x200_0000;
            }
            if flags[1] {
                case.kernel_alignment = Some(alignment);
                case.init_size = Some(size);
            }
            if flags[2] {
                let signature = EfiSignature::EL64;
                let (acpi, memory) = (AcpiGuids::OlderFirst, vec![]);
                case.efi = Some(Efi { signature, tables, map, descriptor_size, acpi, memory });
            }
            if flags[3] {
                case.acpi = Some(Acpi { in_boot_params: true, ..Acpi::at(address) });
            }
            if flags[4] {
                let [boot_params, command_line, gdt, page_tables] = at;
                case.places = Places { boot_params, command_line, gdt, page_tables };
            }
            if flags[5] {
                case.setup_data.clear();
                case.initrd = None;
            }
            case.cpu.gib_pages = flags[1];
            case
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_case_makes_the_loader_panic(case in wild_case()) {
        let _ = place(&image(), WordSize::Bits64, &case);
    }
}
