// SPDX-License-Identifier: GPL-2.0-only
//! Stubs for x86_64 whose code does the wrong thing. Numbers of bugs are those of real kernels, told by their commits.

use std::time::Duration;

use relocheck::campaign;
use relocheck::case::{Case, Protocol};
use relocheck::machine::UnicornEngine;
use relocheck::oracle::Rule;

use crate::bench::{
    By, CLOUD, Changed, Kernel, LINKED, LOAD, LOW, Misled, NEWEST, Trials, assert_only,
    assert_says, case, explained, hex, kaslr, plain, said, subject, unpredictable,
};
use crate::patch::{EXTRACT, HAND_OFF, detour, instead, patched, place};

/// What KASLR's loop over 32-bit entries does with one: `sub $4, %rsi; add %ecx, (%rdx); movslq (%rsi), %rdx`.
pub const ADD_32: &str = "48 83 ee 04 01 0a 48 63 16";
/// The same in the loop over 64-bit entries.
pub const ADD_64: &str = "48 83 ee 04 48 01 0a 48 63 16";
/// `sub $LOAD_PHYSICAL_ADDR, %rcx; je`: the distance to move by, and whether there is one.
pub const DELTA: &str = "48 81 e9 00 00 00 01 0f 84 ?? ?? ?? ??";
const STOPS: &str = "the jump into the kernel";

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("stub::relocations_that_are_skipped_show_in_virt", skipped);
    cloud("stub::relocations_applied_twice_show_in_virt", twice);
    cloud("stub::one_group_applied_twice_shows_in_memory_alone", one_group_twice);
    cloud("stub::subtracting_instead_of_adding_shows_in_memory", subtracted);
    cloud("stub::every_other_entry_skipped_shows_in_memory", every_other);
    cloud("stub::a_wrong_jump_target_is_the_only_finding_with_and_without_kaslr", wrong_target);
    cloud("stub::a_jump_astray_is_the_only_finding_with_and_without_kaslr", astray);
    cloud("stub::a_wrong_segment_shows_at_the_hand_off", segment);
    cloud("stub::wrong_boot_params_show_at_the_hand_off", wrong_boot_params);
    cloud("stub::flags_left_set_show_at_the_hand_off", flags);
    cloud("stub::stores_outside_the_permitted_memory_are_found_by_their_owner", stores);
    cloud("stub::a_flood_of_stores_is_one_finding", flood);
    cloud("stub::an_endless_loop_uses_up_the_budget_at_the_same_place_each_time", endless);
    cloud("stub::an_early_hlt_is_a_halt_without_a_word", early_halt);
    cloud("stub::an_invalid_opcode_is_a_fault", invalid_opcode);
    cloud("stub::a_page_fault_that_nobody_handles_is_a_fault", page_fault);
    cloud("stub::a_store_where_there_is_no_ram_is_a_fault", outside_ram);
    cloud("stub::a_gdt_left_in_the_loaded_image_shows_at_the_hand_off", old_gdt);
    cloud("stub::a_gdt_left_in_an_overwritten_image_is_a_fault", overwritten_gdt);
    cloud("stub::swapped_timer_operands_show_in_kaslr_and_ports", swapped_timer);
    cloud("stub::virt_that_starts_from_output_shows_in_placement", virt_from_output);
    cloud("stub::virt_that_starts_from_a_high_output_halts", virt_from_high_output);
    cloud("stub::a_signed_comparison_writes_below_two_gib", signed_comparison);
    trials.on(NEWEST, "stub::a_jump_to_output_instead_of_the_entry_point_is_found", jump_to_output);
}

/// The relocation loops are jumped over, as if the distance were 0.
fn skipped(kernel: &Kernel) {
    let case = kaslr(kernel, LOAD);
    let virt = kernel.conforms(&case).landing.unwrap().virt;
    assert_ne!(virt, LINKED, "the case moves the kernel");
    let file = patched(kernel, DELTA, 7, &[0x90, 0xe9]);
    let judgement = kernel.damaged(file, &case, &[Misled(By::Nobody)]);
    assert_says(&judgement, &[(Rule::Kaslr, "virt", &hex(virt), &hex(LINKED))]);
}

/// The distance is doubled: `add %rcx, %rcx`.
fn twice(kernel: &Kernel) {
    let case = kaslr(kernel, LOAD);
    let virt = kernel.conforms(&case).landing.unwrap().virt;
    let file = patched(kernel, DELTA, 7, &[0x48, 0x01, 0xc9, 0x90, 0x90, 0x90]);
    let who = [Changed(By::Origin("rcx", "add %rcx,%rcx"))];
    let judgement = kernel.damaged(file, &case, &who);
    assert_says(&judgement, &[(Rule::Kaslr, "virt", &hex(virt), &hex(2 * virt - LINKED))]);
}

/// Most fields are 64-bit fields, and all of those are wrong: still they are what is reported.
fn one_group_twice(kernel: &Kernel) {
    let add_twice = [0x48, 0x01, 0x0a, 0x48, 0x01, 0x0a, 0x48, 0x63, 0x16];
    let file = instead(kernel, ADD_64, 4, 6, &add_twice);
    let who = [Changed(By::Store("add %rcx,(%rdx)"))];
    let judgement = kernel.damaged(file, &kaslr(kernel, LOAD), &who);
    assert_only(&judgement, Rule::Memory, "field of the 64-bit entry");
}

fn subtracted(kernel: &Kernel) {
    let file = patched(kernel, ADD_32, 4, &[0x29]);
    let who = [Changed(By::Store("sub %ecx,(%rdx)"))];
    let judgement = kernel.damaged(file, &kaslr(kernel, LOAD), &who);
    assert_only(&judgement, Rule::Memory, "field of the 32-bit entry");
    // One finding for each segment, however many fields it has.
    assert!(judgement.findings.len() <= kernel.subject().segments.len(), "{}", said(&judgement));
}

/// `test $4, %sil; jz` over the addition.
fn every_other(kernel: &Kernel) {
    let add_some = [0x40, 0xf6, 0xc6, 4, 0x74, 3, 0x48, 0x01, 0x0a, 0x48, 0x63, 0x16];
    let file = instead(kernel, ADD_64, 4, 6, &add_some);
    let who = [Changed(By::Neighbour("add %rcx,(%rdx)"))];
    let judgement = kernel.damaged(file, &kaslr(kernel, LOAD), &who);
    assert_only(&judgement, Rule::Memory, "field of the 64-bit entry");
    let entries = kernel.subject().table.entries(relocheck::image::RelocKind::Abs64).len() as u64;
    let ranges: u64 = judgement.findings.iter().map(|finding| finding.ranges).sum();
    assert!(ranges > entries / 8 && ranges <= entries / 2 + 1, "{ranges} of {entries}");
}

/// `add $16, %rax` before the jump.
fn wrong_target(kernel: &Kernel) {
    let (file, _) = detour(kernel, HAND_OFF, 5, &[0x48, 0x83, 0xc0, 0x10]);
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD), unpredictable(kernel, LOAD)] {
        let right =
            kernel.conforms(&case).landing.unwrap().output + kernel.subject().entry_offset();
        let who = [Changed(By::Origin("rax", "add $0x10,%rax"))];
        let judgement = kernel.damaged(file.clone(), &case, &who);
        assert_says(&judgement, &[(Rule::HandOff, "rip", &hex(right), &hex(right + 16))]);
    }
}

/// `xor %eax, %eax` before the jump.
fn astray(kernel: &Kernel) {
    let (file, _) = detour(kernel, HAND_OFF, 5, &[0x31, 0xc0]);
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD), unpredictable(kernel, LOAD)] {
        let right =
            kernel.conforms(&case).landing.unwrap().output + kernel.subject().entry_offset();
        let who = [Changed(By::Origin("rax", "xor %eax,%eax"))];
        let judgement = kernel.damaged(file.clone(), &case, &who);
        assert_says(&judgement, &[(Rule::HandOff, "rip", &hex(right), "0x0")]);
    }
}

/// `mov $0x10, %ecx; mov %ecx, %ds`: the code segment.
fn segment(kernel: &Kernel) {
    let (file, _) = detour(kernel, HAND_OFF, 5, &[0xb9, 0x10, 0, 0, 0, 0x8e, 0xd9]);
    let who = [Changed(By::Origin("ds", "mov"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    assert_says(&judgement, &[(Rule::HandOff, "ds", "0x18", "0x10")]);
}

/// `xor %esi, %esi` instead of the address of boot_params.
fn wrong_boot_params(kernel: &Kernel) {
    let file = patched(kernel, HAND_OFF, 0, &[0x31, 0xf6, 0x90]);
    let who = [Changed(By::Origin("rsi", "xor %esi,%esi"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    assert_says(&judgement, &[(Rule::HandOff, "rsi", "0x10000", "0x0")]);
}

fn flags(kernel: &Kernel) {
    for (code, flag, actual, by) in
        [(0xfd, "direction flag", "0x400", "std"), (0xfb, "interrupt flag", "0x200", "sti")]
    {
        let (file, _) = detour(kernel, HAND_OFF, 5, &[code]);
        let who = [Changed(By::Origin(flag, by))];
        let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
        assert_says(&judgement, &[(Rule::HandOff, flag, "0x0", actual)]);
    }
}

fn stores(kernel: &Kernel) {
    let store = |address: u32| {
        let [a, b, c, d] = address.to_le_bytes();
        vec![0xc6, 0x04, 0x25, a, b, c, d, 0x5a]
    };
    let window_end = LOAD as u32 + kernel.image.header().init_size.unwrap();
    let nobodys = "RAM outside the permitted memory";
    for (address, owner) in [
        (0x9008, nobodys),
        (0x2_0001, "the loader's command line"),
        (window_end + 0x1_2345, nobodys),
    ] {
        let (file, _) = detour(kernel, EXTRACT, 6, &store(address));
        let who = [Changed(By::Store("movb $0x5a,"))];
        let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
        assert_says(&judgement, &[(Rule::Footprint, owner, "as the loader left it", "5a")]);
        let finding = &judgement.findings[0];
        assert_eq!((finding.address, finding.bytes), (Some(address.into()), 1));
    }
}

/// `mov $0x30000000, %edi; mov $0x100000, %ecx; mov $0x5a, %al; rep stosb`.
fn flood(kernel: &Kernel) {
    let code = [0xbf, 0, 0, 0, 0x30, 0xb9, 0, 0, 0x10, 0, 0xb0, 0x5a, 0xf3, 0xaa];
    let (file, _) = detour(kernel, EXTRACT, 6, &code);
    let who = [Changed(By::Store("rep stos"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    assert_says(
        &judgement,
        &[(Rule::Footprint, "RAM outside the permitted memory", "as the loader left it", "5a")],
    );
    // Of random bytes one in 256 is 0x5a already.
    let bytes = judgement.findings[0].bytes;
    assert!((0xf_e000..0x10_0000).contains(&bytes), "{bytes}");
}

/// `jmp .` at `startup_64`.
fn endless(kernel: &Kernel) {
    kernel.conforms(&plain(kernel, LOAD));
    let file = patched(kernel, "fc fa 31 c0 8e d8 8e c0 8e d0", 0, &[0xeb, 0xfe]);
    let subject = subject(file.clone());
    let case = Case { budget: 100_000, ..plain(kernel, LOAD) };
    let engine = UnicornEngine::with_patience(Duration::from_millis(300));
    let first = campaign::run(&engine, &subject, &case).judgement;
    assert_says(
        &first,
        &[(Rule::Budget, "stub+0x200", STOPS, "still running after 100000 blocks of code")],
    );
    assert_eq!(first, campaign::run(&engine, &subject, &case).judgement);
    let who = [Changed(By::Instruction("jmp"))];
    assert_eq!(first, explained(file, &case, kernel, &who));
}

fn early_halt(kernel: &Kernel) {
    let after = format!("stub+{:#x}", place(kernel, HAND_OFF) + 1);
    let file = patched(kernel, HAND_OFF, 0, &[0xf4]);
    let who = [Changed(By::Instruction("hlt"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    assert_says(&judgement, &[(Rule::Halt, &after, STOPS, "stopped without a word")]);
}

/// `ud2`.
fn invalid_opcode(kernel: &Kernel) {
    let at = format!("stub+{:#x}", place(kernel, HAND_OFF));
    let file = patched(kernel, HAND_OFF, 0, &[0x0f, 0x0b]);
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD), unpredictable(kernel, LOAD)] {
        let who = [Changed(By::Instruction("ud2"))];
        let judgement = kernel.damaged(file.clone(), &case, &who);
        assert_says(&judgement, &[(Rule::Fault, &at, STOPS, "exception 6 that nobody handles")]);
    }
}

/// `mov 0xffffffff80000000, %rcx` when the stub has taken its handler back.
fn page_fault(kernel: &Kernel) {
    let (file, cave) = detour(kernel, HAND_OFF, 5, &[0x48, 0x8b, 0x0c, 0x25, 0, 0, 0, 0x80]);
    let who = [Changed(By::Instruction("mov"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    let fault = "page fault at 0xffffffff80000000 that nobody handles";
    assert_says(&judgement, &[(Rule::Fault, &format!("stub+{cave:#x}"), STOPS, fault)]);
}

/// A store at 1.5 GiB of 1 GiB: the stub's own handler maps it, nothing is there.
fn outside_ram(kernel: &Kernel) {
    let (file, cave) = detour(kernel, EXTRACT, 6, &[0xc6, 0x04, 0x25, 0, 0, 0, 0x60, 0x5a]);
    let who = [Changed(By::Instruction("movb $0x5a,"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    let said = "write where the machine has no memory";
    let place = format!("stub+{cave:#x}");
    assert_says(&judgement, &[(Rule::Fault, &place, "accesses to memory only", said)]);
    assert_eq!(judgement.findings[0].address, Some(0x6000_0000));
}

/// No `lgdt` after the stub has moved: "x86/boot: Reload GDTR after copying to the end of the buffer" (5.7).
fn without_lgdt(kernel: &Kernel) -> Vec<u8> {
    patched(kernel, "48 89 50 02 0f 01 10", 4, &[0x90; 3])
}

fn old_gdt(kernel: &Kernel) {
    let who = [Misled(By::Origin("gdtr", "lgdt"))];
    let judgement = kernel.damaged(without_lgdt(kernel), &plain(kernel, LOW), &who);
    let copy = "a table inside the stub's copy";
    assert_says(&judgement, &[(Rule::HandOff, "gdtr", copy, "bytes at 0x")]);
    let address = judgement.findings[0].address.unwrap();
    let loaded = LOW..LOW + kernel.image.protected_mode().len() as u64;
    assert!(loaded.contains(&address), "{address:#x} lies in the image as loaded");
}

/// The kernel is decompressed over the table, and the next return from the page fault handler needs it.
fn overwritten_gdt(kernel: &Kernel) {
    let who = [Misled(By::Instruction("iret"))];
    let judgement = kernel.damaged(without_lgdt(kernel), &plain(kernel, LOAD), &who);
    assert_says(&judgement, &[(Rule::Fault, "stub+0x", STOPS, "exception 13 that nobody handles")]);
}

/// `outb(0x43, 0xc2)` for `outb(0xc2, 0x43)`: "x86/kaslr: Fix incorrect i8254 outb() parameters" (5.0).
fn swapped_timer(kernel: &Kernel) {
    let file = patched(
        kernel,
        "be 43 00 00 00 bf c2 00 00 00",
        0,
        &[0xbe, 0xc2, 0, 0, 0, 0xbf, 0x43, 0, 0, 0],
    );
    let case = kaslr(kernel, LOAD);
    let right = kernel.conforms(&case).landing.unwrap();
    let who = [By::Chosen(""), By::Chosen(""), By::Instruction("out")];
    let judgement = kernel.damaged(file, &case, &who.map(Misled));
    assert_says(
        &judgement,
        &[
            (Rule::Kaslr, "output", &hex(right.output), "0x"),
            (Rule::Kaslr, "virt", &hex(right.virt), "0x"),
            (Rule::Ports, "port 0xc2", "not to be written", "written 2 times: 0x43"),
        ],
    );
}

/// `mov %rsi, 0x18(%rsp)` for `movq $LOAD_PHYSICAL_ADDR, 0x18(%rsp)`: 8391c73c, mended by 8eabf42ae523 (4.13).
fn with_virt_from_output(kernel: &Kernel) -> Vec<u8> {
    let code = [0x48, 0x89, 0x74, 0x24, 0x18, 0x90, 0x90, 0x90, 0x90];
    patched(kernel, "48 89 74 24 08 48 c7 44 24 18 00 00 00 01", 5, &code)
}

fn virt_from_output(kernel: &Kernel) {
    let who = [Misled(By::Chosen(""))];
    let judgement = kernel.damaged(with_virt_from_output(kernel), &plain(kernel, LOAD), &who);
    assert_says(&judgement, &[(Rule::Placement, "virt", &hex(LINKED), &hex(LOAD))]);
}

fn virt_from_high_output(kernel: &Kernel) {
    let case = case(kernel, 0x4000_0000, "earlyprintk=ttyS0 nokaslr", 0x5000_0000);
    let who = [Misled(By::Instruction("hlt"))];
    let judgement = kernel.damaged(with_virt_from_output(kernel), &case, &who);
    let text = "stopped: Destination virtual address is beyond the kernel mapping area";
    assert_says(&judgement, &[(Rule::Halt, "stub+0x", STOPS, text)]);
}

/// `jge` for `jae` where the load address is compared with LOAD_PHYSICAL_ADDR: before 81a34892c2c7 (5.7). The page tables of
/// `startup_32` are then built for a kernel at LOAD_PHYSICAL_ADDR; `startup_64` compares 64 bits and gets it right.
fn signed_comparison(kernel: &Kernel) {
    let file = patched(kernel, "81 fb 00 00 00 01 73 05", 6, &[0x7d]);
    let high = case(kernel, 0x8000_0000, "earlyprintk=ttyS0 nokaslr", 0xc000_0000);
    let high = Case { protocol: Protocol::Bits32, ..high };
    let judgement = kernel.damaged(file.clone(), &high, &[Misled(By::Store(""))]);
    let nobodys = "RAM outside the permitted memory";
    assert_says(&judgement, &[(Rule::Footprint, nobodys, "as the loader left it", "")]);
    let init_size = u64::from(kernel.image.header().init_size.unwrap());
    let address = judgement.findings[0].address.unwrap();
    assert!((LINKED..LINKED + init_size).contains(&address), "{address:#x}");

    let low = Case { protocol: Protocol::Bits32, ..plain(kernel, LOAD) };
    assert_says(&kernel.damaged(file, &low, &[]), &[]);
}

/// `xor %r8d, %r8d` for `lea -LOAD_PHYSICAL_ADDR(%rax), %r8`, the offset of the entry point: before 7734a0f31e99 (6.3).
fn jump_to_output(kernel: &Kernel) {
    let file = patched(
        kernel,
        "4c 8d 80 00 00 00 ff 48 81 e9 00 00 00 01",
        0,
        &[0x45, 0x31, 0xc0, 0x90, 0x90, 0x90, 0x90],
    );
    let offset = kernel.subject().entry_offset();
    assert_ne!(offset, 0, "this kernel's entry point is not its first byte");
    let who = [Misled(By::Origin("rax", ""))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    assert_says(&judgement, &[(Rule::HandOff, "rip", &hex(LOAD + offset), &hex(LOAD))]);
}
