// SPDX-License-Identifier: GPL-2.0-only
//! KASLR that chooses among the wrong places, or in the wrong way
//! (arch/x86/boot/compressed/kaslr.c).

use relocheck::case::{
    Acpi, AcpiGuids, Affinity, Case, Efi, EfiEntry, EfiKind, EfiSignature, MemoryEntry, MemoryKind,
};
use relocheck::oracle::Rule;

use crate::bench::{
    By, CLOUD, GAP, Kernel, LOAD, Misled, Trials, assert_says, hex, judge, kaslr, tempting,
};
use crate::patch::{patched, without};

/// `mov %rsi, (%rdx); add $1, %rax; mov %rax, 8(%rdx)`: how many places a region has.
const SLOTS: &str = "48 89 32 48 83 c0 01 48 89 42 08";
/// `add $1, %rcx; div %rcx`: how many virtual addresses there are.
const VIRTUAL_SLOTS: &str = "48 83 c1 01 48 f7 f1";
/// `test %eax, %eax; je`: whether a word is `memmap`.
const MEMMAP: &str = "4c 89 e6 48 89 df e8 ?? ?? ?? ?? 85 c0 74 af";
/// `test %rbp, %rbp; je`: whether there is more behind a comma of `memmap=`.
const MORE: &str = "48 85 ed 0f 84 86 00 00 00 48 89 eb";
/// `test %eax, %eax; jne`: whether a word is `mem`.
const MEM: &str = "85 c0 75 4d 48 8d 35";
/// `cmp $1 << 30, %rax; je`: whether a word asks for huge pages of 1 GiB.
const HUGE_PAGES: &str = "48 3d 00 00 00 40 0f 84 ?? ?? ?? ??";
/// `mov $MAXMEM, %rdx; cmovne %rsi, %rdx`: the latter with five levels.
const HIGHEST: &str = "48 ba 00 00 00 00 00 40 00 00 48 0f 45 d6";
/// `test %eax, %eax; je`: whether the signature is that of 64-bit EFI.
const EFI: &str = "8b 4c 24 20 85 c0 0f 84 be fc ff ff";
/// `cmpl $EFI_CONVENTIONAL_MEMORY, (%r15); jne`.
const EFI_KIND: &str = "41 83 3f 07 75 4a";
/// `testb $EFI_MEMORY_SP >> 16, 0x22(%r15); jne`.
const EFI_SOFT_RESERVED: &str = "41 f6 47 22 04 75 3a";
/// `test %r13b, %r13b; je`: whether any memory is mirrored; then whether this is.
const EFI_MIRROR: &str = "45 84 ed 74 07 41 f6 47 22 01";
/// The store of the number of immovable regions.
const IMMOVABLE: &str = "89 05 ?? ?? ?? ?? 48 8b 44 24 10 4c 8b 38";
/// `test %al, %al; je`: whether the CPU has RDRAND; then how often to try.
const RDRAND: &str = "84 c0 74 18 b8 0a 00 00 00";

/// `MAXMEM` with four levels of page tables.
const FOUR_LEVELS_END: u64 = 1 << 46;

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("choice::a_place_that_is_not_counted_shows", too_few);
    cloud("choice::a_place_too_many_shows", too_many);
    cloud("choice::a_virtual_address_too_many_shows", virtual_slots);
    cloud("choice::memmap_that_is_ignored_shows", memmap);
    cloud("choice::memmap_of_which_the_first_counts_shows", first_memmap);
    cloud("choice::mem_that_is_ignored_shows", mem);
    cloud("choice::huge_pages_that_are_ignored_show", huge_pages);
    cloud("choice::memory_above_the_limit_shows", no_limit);
    cloud("choice::a_limit_that_is_too_low_shows", low_limit);
    cloud("choice::efi_that_is_ignored_shows", efi);
    cloud("choice::attributes_of_efi_that_are_ignored_show", efi_attributes);
    cloud("choice::memory_that_can_be_unplugged_shows", unplugged);
    cloud("choice::rdrand_that_is_ignored_shows", rdrand);
}

/// The undamaged stub puts the kernel at `right`, the damaged one at `wrong`, and nothing else is
/// the matter.
fn assert_chosen(kernel: &Kernel, file: Vec<u8>, case: &Case, right: u64, wrong: u64) {
    let judgement = kernel.damaged(file, case, &[Misled(By::Chosen(""))]);
    assert_says(&judgement, &[(Rule::Kaslr, "output", &hex(right), &hex(wrong))]);
}

/// The same, but any can see that `wrong` is not free memory.
fn assert_not_free(kernel: &Kernel, file: Vec<u8>, case: &Case, right: u64, wrong: u64) {
    let chosen = Misled(By::Chosen(""));
    let judgement = kernel.damaged(file, case, &[chosen, chosen]);
    let (right, wrong) = (hex(right), hex(wrong));
    assert_says(
        &judgement,
        &[
            (Rule::Kaslr, "output", &right, &wrong),
            (Rule::Placement, "output", "bytes inside one usable region", &wrong),
        ],
    );
}

fn with_words(kernel: &Kernel, words: &str) -> Case {
    let case = tempting(kernel);
    Case { command_line: Some(format!("earlyprintk=ttyS0 {words}")), ..case }
}

/// The only other memory is at `start`, as much as the kernel needs.
fn only_at(kernel: &Kernel, start: u64) -> Case {
    let mut case = tempting(kernel);
    *case.memory.last_mut().unwrap() =
        MemoryEntry::usable(start, start + kernel.subject().needed());
    case
}

fn too_few(kernel: &Kernel) {
    assert_chosen(kernel, patched(kernel, SLOTS, 6, &[0]), &tempting(kernel), GAP, LOAD);
}

/// Before 8d1cf8595860 (5.10), by one. Of two places every other random number gives the second.
fn too_many(kernel: &Kernel) {
    let file = patched(kernel, SLOTS, 6, &[2]);
    let mut case = tempting(kernel);
    let end = GAP + kernel.subject().needed();
    case.memory.push(MemoryEntry { start: end, end: end + (2 << 20), kind: MemoryKind::Unlisted });
    let second = |timer: u16| {
        let case = Case { timer: vec![timer], ..case.clone() };
        let landing = judge(file.clone(), &case).landing;
        (landing.unwrap().output != GAP).then_some(case)
    };
    let case = (0..32).find_map(second).expect("one of 32 numbers is odd");
    assert_not_free(kernel, file.clone(), &case, GAP, GAP + (2 << 20));
}

fn virtual_slots(kernel: &Kernel) {
    let file = patched(kernel, VIRTUAL_SLOTS, 3, &[2]);
    let judgement = kernel.damaged(file, &kaslr(kernel, LOAD), &[Misled(By::Chosen(""))]);
    assert_says(&judgement, &[(Rule::Kaslr, "virt", "0x", "0x")]);
}

/// Before f28442497b5c (4.11).
fn memmap(kernel: &Kernel) {
    let case = with_words(kernel, "memmap=4M$0x10800000");
    assert_chosen(kernel, without(kernel, MEMMAP, 13, 2), &case, LOAD, GAP);
}

/// Before d52e7d5a952c (4.13).
fn first_memmap(kernel: &Kernel) {
    let case = with_words(kernel, "memmap=1M$0x8000000,4M$0x10800000");
    assert_chosen(kernel, patched(kernel, MORE, 3, &[0x90, 0xe9]), &case, LOAD, GAP);
}

fn mem(kernel: &Kernel) {
    let case = with_words(kernel, "mem=256M");
    assert_chosen(kernel, patched(kernel, MEM, 2, &[0xeb]), &case, LOAD, GAP);
}

/// The only free page of 1 GiB is asked for.
fn huge_pages(kernel: &Kernel) {
    let gib = 1 << 30;
    let mut case = with_words(kernel, "hugepagesz=1G hugepages=1");
    *case.memory.last_mut().unwrap() = MemoryEntry::usable(gib, 2 * gib);
    let file = without(kernel, HUGE_PAGES, 6, 6);
    let wrong = judge(file.clone(), &case).landing.unwrap().output;
    assert!((gib..2 * gib).contains(&wrong), "{wrong:#x}");
    assert_chosen(kernel, file, &case, LOAD, wrong);
}

/// Before 451286940d95 (5.10).
fn no_limit(kernel: &Kernel) {
    let file = patched(kernel, HIGHEST, 7, &[0, 0x10]);
    assert_chosen(kernel, file, &only_at(kernel, FOUR_LEVELS_END), LOAD, FOUR_LEVELS_END);
}

/// That of four levels with five.
fn low_limit(kernel: &Kernel) {
    let mut case = only_at(kernel, FOUR_LEVELS_END);
    case.cpu.la57 = true;
    let file = without(kernel, HIGHEST, 10, 4);
    assert_chosen(kernel, file, &case, FOUR_LEVELS_END, LOAD);
}

/// EFI's memory map, in which the gap is of `kind`.
fn with_efi(kernel: &Kernel, kind: EfiKind) -> Case {
    let case = tempting(kernel);
    let entry = |entry: &MemoryEntry| EfiEntry {
        start: entry.start,
        end: entry.end & !0xfff,
        kind: if entry.start == GAP { kind } else { EfiKind::Conventional },
        mirror: false,
        soft_reserved: false,
    };
    let efi = Efi {
        signature: EfiSignature::EL64,
        tables: 0x6_0000,
        map: 0x6_1000,
        descriptor_size: 48,
        acpi: AcpiGuids::Newer,
        memory: case.memory.iter().map(entry).collect(),
    };
    Case { efi: Some(efi), ..case }
}

/// Not its map, and not the kinds of memory in it.
fn efi(kernel: &Kernel) {
    let case = with_efi(kernel, EfiKind::BootServicesData);
    for file in [without(kernel, EFI, 6, 6), without(kernel, EFI_KIND, 4, 2)] {
        assert_not_free(kernel, file, &case, LOAD, GAP);
    }
}

fn efi_attributes(kernel: &Kernel) {
    let with = |mark: fn(&mut EfiEntry)| {
        let mut case = with_efi(kernel, EfiKind::Conventional);
        case.efi.as_mut().unwrap().memory.iter_mut().for_each(mark);
        case
    };
    let soft_reserved = with(|entry| entry.soft_reserved = entry.start == GAP);
    let file = without(kernel, EFI_SOFT_RESERVED, 5, 2);
    assert_chosen(kernel, file, &soft_reserved, LOAD, GAP);
    let mirror = with(|entry| entry.mirror = entry.start != GAP);
    assert_chosen(kernel, patched(kernel, EFI_MIRROR, 3, &[0xeb]), &mirror, LOAD, GAP);
}

fn unplugged(kernel: &Kernel) {
    let affinity = vec![
        Affinity { start: 0, end: GAP, hot_pluggable: false },
        Affinity { start: GAP, end: 4 * GAP, hot_pluggable: true },
    ];
    let acpi = Some(Acpi { affinity, ..Acpi::at(0xe_0000) });
    let case = Case { acpi, ..tempting(kernel) };
    assert_chosen(kernel, without(kernel, IMMOVABLE, 0, 6), &case, LOAD, GAP);
}

fn rdrand(kernel: &Kernel) {
    let mut case = kaslr(kernel, LOAD);
    case.cpu.rdrand = Some(vec![0x0123_4567_89ab_cdef]);
    case.cpu.tsc = Some(vec![0x1234_5678]);
    let chosen = Misled(By::Chosen(""));
    let judgement = kernel.damaged(patched(kernel, RDRAND, 2, &[0xeb]), &case, &[chosen, chosen]);
    assert_says(
        &judgement,
        &[(Rule::Kaslr, "output", "0x", "0x"), (Rule::Kaslr, "virt", "0x", "0x")],
    );
}
