// SPDX-License-Identifier: GPL-2.0-only
//! One rule of the derivation each, on kernels of a few sections.

use proptest::prelude::*;

use super::*;
use crate::reference::Plain;
use crate::vmlinux::fixture::{ABSOLUTE, Elf, PHYSICAL, Sec, UNDEFINED};

const NONE: u32 = 0;
const X64: u32 = 1;
const PC32: u32 = 2;
const PLT32: u32 = 4;
const X32: u32 = 10;
const X32S: u32 = 11;
const PC64: u32 = 24;

fn derive(elf: &Elf) -> Result<Derived, DeriveError> {
    Derived::new(&Vmlinux::parse(elf.build()).unwrap())
}

/// Kind and address of each entry.
fn entries(elf: &Elf) -> Vec<(RelocKind, u32)> {
    let derived = derive(elf).unwrap();
    derived.entries.iter().map(|entry| (entry.kind, entry.address)).collect()
}

fn complaint(elf: &Elf) -> String {
    derive(elf).unwrap_err().to_string()
}

/// A kernel of two sections with a symbol in the second.
fn kernel(bits64: bool) -> (Elf, usize, usize) {
    let mut elf = Elf::new(bits64);
    let text = elf.section(Sec::data(".text", 0x100));
    let data = elf.section(Sec::data(".data", 0x100));
    let foo = elf.symbol("foo", elf.address(data), data);
    (elf, text, foo)
}

#[test]
fn addresses_are_entries_and_distances_are_not() {
    let (mut elf, text, foo) = kernel(true);
    for (offset, kind) in [(0, X64), (8, PC32), (12, X32S), (16, X32), (20, PLT32), (24, PC64)] {
        elf.reloc(text, offset, kind, foo);
    }
    elf.reloc(text, 32, NONE, foo);
    elf.reloc(text, 40, 42, foo);
    let base = 0x8100_0000;
    assert_eq!(
        entries(&elf),
        [(RelocKind::Abs32, base + 12), (RelocKind::Abs32, base + 16), (RelocKind::Abs64, base)]
    );
}

#[test]
fn i386_has_one_group() {
    let (mut elf, text, foo) = kernel(false);
    // R_386_32, PC32, PLT32, PC16, PC8, NONE.
    for (offset, kind) in [(8, 1), (0, 1), (4, 2), (12, 4), (16, 21), (20, 23), (24, 0)] {
        elf.reloc(text, offset, kind, foo);
    }
    assert_eq!(entries(&elf), [(RelocKind::Abs32, 0xc100_0000), (RelocKind::Abs32, 0xc100_0008)]);
}

#[test]
fn what_no_stub_could_apply_is_refused_by_name_and_place() {
    let (mut elf, text, foo) = kernel(true);
    elf.symbol("start", elf.address(text), text);
    elf.reloc(text, 0x12, 12, foo);
    assert_eq!(
        complaint(&elf),
        "start+0x12: R_X86_64_16 against `foo`: the stub has no such relocation"
    );
    let (mut elf, text, foo) = kernel(false);
    elf.reloc(text, 0x12, 9, foo);
    assert!(complaint(&elf).contains(".text+0x12: R_386_GOTOFF against `foo`"));
    let (mut elf, text, _) = kernel(true);
    elf.reloc(text, 0x12, X64, 77);
    assert!(complaint(&elf).contains(".text+0x12: a relocation against symbol 77"));
}

#[test]
fn per_cpu_data_at_zero_stays_while_the_kernel_moves() {
    let (mut elf, text, _) = kernel(true);
    let per_cpu = elf.section(Sec::per_cpu(0x80));
    let load = 0xffff_ffff_8000_0000 + PHYSICAL + 0x1000 * per_cpu as u64;
    let variable = elf.symbol("this_cpu_off", 0x10, per_cpu);
    let behind = elf.symbol("__per_cpu_end", 0x80, per_cpu);
    let loaded = elf.symbol("__per_cpu_load", load, per_cpu);
    let early = elf.symbol("init_per_cpu__gdt_page", load + 8, per_cpu);
    let section = elf.of_section(per_cpu);
    // The distance to it changes against the kernel's move, its own address does not change.
    elf.reloc(text, 0, PC32, variable);
    elf.reloc(text, 4, PLT32, behind);
    elf.reloc(text, 8, X32S, variable);
    elf.reloc(text, 16, X64, section);
    elf.reloc(text, 24, PC32, section);
    // These are addresses, though they belong to the section.
    elf.reloc(text, 32, X64, loaded);
    elf.reloc(text, 40, PC32, early);
    // A field in the section lies where the section is loaded.
    elf.reloc(per_cpu, 0x20, X64, loaded);
    let base = 0x8100_0000;
    assert_eq!(
        entries(&elf),
        [
            (RelocKind::Inverse32, base),
            (RelocKind::Inverse32, base + 4),
            (RelocKind::Inverse32, base + 24),
            (RelocKind::Abs64, base + 32),
            (RelocKind::Abs64, load as u32 + 0x20),
        ]
    );
    elf.reloc(text, 48, PC64, variable);
    assert!(complaint(&elf).contains("R_X86_64_PC64 against `this_cpu_off`"));
}

#[test]
fn per_cpu_data_among_the_rest_moves_along() {
    let (mut elf, text, _) = kernel(true);
    let per_cpu = elf.section(Sec::data(".data..percpu", 0x80));
    let variable = elf.symbol("this_cpu_off", elf.address(per_cpu) + 0x10, per_cpu);
    elf.reloc(text, 0, PC32, variable);
    elf.reloc(text, 8, X64, variable);
    elf.reloc(per_cpu, 0x20, X64, variable);
    let own = elf.address(per_cpu) as u32 + 0x20;
    assert_eq!(entries(&elf), [(RelocKind::Abs64, 0x8100_0008), (RelocKind::Abs64, own)]);
}

#[test]
fn absolute_symbols_are_numbers_or_places() {
    let (mut elf, text, _) = kernel(true);
    let inside = elf.address(text) + 0x40;
    let names =
        ["jiffies", "__crc_foo", "VDSO64_PRELINK", "_end", "xen_elfnote_phys32_entry_offset"];
    for (number, name) in names.iter().enumerate() {
        let symbol = elf.special(name, inside, ABSOLUTE);
        elf.reloc(text, 8 * number as u64, X64, symbol);
    }
    let derived = derive(&elf).unwrap();
    assert!(derived.unlisted.is_empty());
    let found: Vec<u32> = derived.entries.iter().map(|entry| entry.address).collect();
    assert_eq!(found, [0x8100_0000, 0x8100_0018]);
}

#[test]
fn the_value_decides_about_absolute_symbols_that_no_list_has() {
    let (mut elf, text, _) = kernel(true);
    let place = elf.special("new_place", elf.address(text) + 0x40, ABSOLUTE);
    let number = elf.special("new_number", 0x1234, ABSOLUTE);
    let distance = elf.special("far", 0x1234, ABSOLUTE);
    elf.reloc(text, 0, X32S, place);
    elf.reloc(text, 8, X64, number);
    elf.reloc(text, 16, PC32, distance);
    let derived = derive(&elf).unwrap();
    assert_eq!(derived.unlisted, ["new_number", "new_place"]);
    let found: Vec<u32> = derived.entries.iter().map(|entry| entry.address).collect();
    assert_eq!(found, [0x8100_0000]);
}

#[test]
fn lists_give_whole_names_beginnings_and_both_ends() {
    let (mut elf, text, _) = kernel(true);
    // None of these is on a list: each lacks a part of a name that is.
    let names = [
        "xen_elfnote_x",
        "x_offset",
        "xen_elfnote_offset",
        "xen_elfnote__offset",
        "_jiffies",
        "x__crc_",
        "_ends",
    ];
    for (number, name) in names.iter().enumerate() {
        let symbol = elf.special(name, 0x1234, ABSOLUTE);
        elf.reloc(text, 8 * number as u64, X64, symbol);
    }
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(derive(&elf).unwrap().unlisted, expected);
}

#[test]
fn a_hundred_names_without_a_list_are_kept() {
    let (mut elf, text, _) = kernel(true);
    for number in 0..110 {
        let symbol = elf.special(&format!("odd{number}"), 0x1234, ABSOLUTE);
        elf.reloc(text, 8 * (number % 8), X64, symbol);
    }
    assert_eq!(derive(&elf).unwrap().unlisted.len(), 100);
}

#[test]
fn types_have_the_names_of_the_processor_supplements() {
    for (word, number, name) in [
        (WordSize::Bits64, 1, "R_X86_64_64"),
        (WordSize::Bits64, 42, "R_X86_64_REX_GOTPCRELX"),
        (WordSize::Bits64, 250, "relocation type 250"),
        (WordSize::Bits32, 1, "R_386_32"),
        (WordSize::Bits32, 250, "relocation type 250"),
    ] {
        assert_eq!(type_name(word, number), name);
    }
}

#[test]
fn what_is_nowhere_moves_nowhere_on_x86_64() {
    for (bits64, expected) in [(true, 0), (false, 1)] {
        let (mut elf, text, _) = kernel(bits64);
        let weak = elf.special("weak", 0, UNDEFINED);
        elf.reloc(text, 0, 1, weak);
        assert_eq!(entries(&elf).len(), expected);
    }
}

#[test]
fn notes_are_kept_apart() {
    let (mut elf, text, foo) = kernel(true);
    let notes = elf.section(Sec::note(".notes", 0x40));
    elf.reloc(text, 0, X64, foo);
    elf.reloc(notes, 0x10, X64, foo);
    let derived = derive(&elf).unwrap();
    assert_eq!(derived.entries.len(), 1);
    let [note] = derived.notes[..] else { panic!("{:?}", derived.notes) };
    assert_eq!(note.address, elf.address(notes) as u32 + 0x10);
}

#[test]
fn large_numbers_of_sections_change_nothing() {
    let (mut elf, text, foo) = kernel(true);
    elf.reloc(text, 0, X64, foo);
    let small = derive(&elf).unwrap();
    elf.large = true;
    assert_eq!(derive(&elf).unwrap(), small);
}

#[test]
fn fields_that_no_entry_can_name_are_refused() {
    let (mut elf, text, foo) = kernel(true);
    elf.reloc(text, 0x1_0000_0000, X64, foo);
    assert!(
        complaint(&elf).contains("a relocation at 0x81000000, which a table entry cannot name")
    );
    let (mut elf, text, foo) = kernel(false);
    elf.reloc(text, 0x3f00_0000, 1, foo);
    assert!(complaint(&elf).contains("a relocation at 0x0, which a table entry cannot name"));
}

#[test]
fn a_file_without_relocations_is_told_from_one_with_none_to_apply() {
    let (elf, ..) = kernel(true);
    assert!(complaint(&elf).contains("it has no relocations of .text"));
    let (mut elf, _, foo) = kernel(true);
    let odd = elf.section(Sec::data("runtime_ptr_x", 0x10));
    elf.reloc(odd, 0, X64, foo);
    assert!(complaint(&elf).contains("it has no relocations of .text"), "stripped by name");
    let (mut elf, text, foo) = kernel(true);
    elf.reloc(text, 0, PC32, foo);
    assert!(entries(&elf).is_empty());
}

proptest! {
    #[test]
    fn survives_damage(
        bits64: bool,
        damage in prop::collection::vec((0usize..0x2000, any::<u8>()), 1..16),
    ) {
        let (mut elf, text, foo) = kernel(bits64);
        let per_cpu = elf.section(Sec::per_cpu(0x20));
        let notes = elf.section(Sec::note(".notes", 0x20));
        for section in [text, per_cpu, notes] {
            elf.reloc(section, 8, 1, foo);
            elf.reloc(section, 16, 2, foo);
        }
        let mut file = elf.build();
        let len = file.len();
        for (offset, byte) in damage {
            file[offset % len] = byte;
        }
        if let Ok(vmlinux) = Vmlinux::parse(file) {
            let derived = Derived::new(&vmlinux);
            // A damaged size may ask for much memory, but for no more than a kernel's.
            let small = vmlinux.segments.iter().all(|segment| segment.memsz < 1 << 20);
            if let (Ok(derived), true) = (derived, small)
                && let Ok(mut plain) = Plain::new(&vmlinux)
            {
                let _ = plain.relocate(&derived, 0x200_0000, 0x200_0000);
            }
        }
    }
}
