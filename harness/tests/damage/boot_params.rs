// SPDX-License-Identifier: GPL-2.0-only
//! boot_params that are not what the kernel must find.

use relocheck::case::{Case, MemoryEntry, Span};
use relocheck::oracle::{Rule, Verdict};

use crate::bench::{
    By, CLOUD, Changed, I386, Kernel, LOAD, Misled, NEWEST, Trials, assert_only, assert_says,
    explained, kaslr, plain, said,
};
use crate::patch::{EXTRACT, HAND_OFF, detour, patched, without};

/// `andb $~KASLR_FLAG, 0x211(%rdi)`, `cmpb $0, 0x1ef(%rdi)`: the first lines of `extract_kernel()`.
const FIRST_LINES: &str = "80 a7 11 02 00 00 fd 80 bf ef 01 00 00 00";
/// Behind them: `jne` to the clean-up, and `cmpb $7, 6(%r14)`.
const CLEAN_UP: &str = "0f 85 3e 01 00 00 41 80 7e 06 07";
/// i386: `cmpb $0, 0x1ef(%eax); jne`.
const CLEAN_UP_32: &str = "80 b8 ef 01 00 00 00 0f 85 ?? ?? ?? ??";
/// 7.x: `cmpb $0, 0x1ef(%rdi); jne`, before the command line is read for the first time.
const EARLY_CLEAN_UP: &str = "80 bf ef 01 00 00 00 0f 85 ?? ?? ?? ??";
const STOPS: &str = "the jump into the kernel";

pub fn add(trials: &mut Trials) {
    let mut on = |kernel, name, test| trials.on(kernel, name, test);
    on(CLOUD, "boot_params::a_kaslr_flag_that_gets_lost_is_found", lost_flag);
    on(CLOUD, "boot_params::a_kaslr_flag_that_is_never_set_shows_in_the_choice_as_well", no_flag);
    on(CLOUD, "boot_params::a_stale_kaslr_flag_is_found", stale_flag);
    on(CLOUD, "boot_params::stores_are_found_by_their_field", stores);
    on(CLOUD, "boot_params::a_clean_up_that_nobody_asked_for_is_found", needless_clean_up);
    on(I386, "boot_params::garbage_that_is_not_cleaned_up_is_found", no_clean_up);
    on(CLOUD, "boot_params::a_command_line_read_before_the_clean_up_is_a_fault", early_reader);
    on(NEWEST, "boot_params::a_clean_up_that_comes_too_late_is_a_fault", late_clean_up);
}

fn with_garbage(kernel: &Kernel) -> Case {
    Case { sentinel: Some(1), ..plain(kernel, LOAD) }
}

/// `andb $~KASLR_FLAG, 0x211(%r15)` when everything is done.
fn lost_flag(kernel: &Kernel) {
    let (file, _) = detour(kernel, HAND_OFF, 5, &[0x41, 0x80, 0xa7, 0x11, 2, 0, 0, 0xfd]);
    let judgement = kernel.damaged(file, &kaslr(kernel, LOAD), &[Changed(By::Store("andb $"))]);
    assert_says(&judgement, &[(Rule::BootParams, "hdr.loadflags", "03", "01")]);
}

/// The random numbers begin with a hash of boot_params.
fn no_flag(kernel: &Kernel) {
    let file = without(kernel, "80 88 11 02 00 00 02 85 d2", 0, 7);
    let chosen = Misled(By::Chosen(""));
    let who = [chosen, chosen, Misled(By::Store("andb $"))];
    let judgement = kernel.damaged(file, &kaslr(kernel, LOAD), &who);
    assert_says(
        &judgement,
        &[
            (Rule::Kaslr, "output", "0x", "0x"),
            (Rule::Kaslr, "virt", "0x", "0x"),
            (Rule::BootParams, "hdr.loadflags", "03", "01"),
        ],
    );
}

fn stale_flag(kernel: &Kernel) {
    let case = Case { stale_kaslr_flag: true, ..plain(kernel, LOAD) };
    let judgement =
        kernel.damaged(without(kernel, FIRST_LINES, 0, 7), &case, &[Misled(By::Unwritten)]);
    assert_says(&judgement, &[(Rule::BootParams, "hdr.loadflags", "01", "03")]);
}

/// `movb $0x5a, ...(%r15)`.
fn stores(kernel: &Kernel) {
    for (offset, field) in
        [(0x1e4u32, "scratch"), (0x218, "hdr.ramdisk_image"), (0xeed, "offset 0xee8")]
    {
        let code = [&[0x41, 0xc6, 0x87][..], &offset.to_le_bytes(), &[0x5a]].concat();
        let (file, _) = detour(kernel, EXTRACT, 6, &code);
        let case = plain(kernel, LOAD);
        let judgement = kernel.damaged(file, &case, &[Changed(By::Store("movb $0x5a,"))]);
        assert_says(&judgement, &[(Rule::BootParams, field, "00", "5a")]);
        let finding = &judgement.findings[0];
        let address = case.places.boot_params + u64::from(offset);
        assert_eq!((finding.address, finding.bytes), (Some(address), 1));
    }
}

/// `je` for `jne`. The upper half of the initrd's address is lost.
fn needless_clean_up(kernel: &Kernel) {
    let start = 1 << 32;
    let mut case = plain(kernel, LOAD);
    case.memory.push(MemoryEntry::usable(start, start + (1 << 24)));
    case.initrd = Some(Span { start, end: start + 0x1000 });
    let judgement =
        kernel.damaged(patched(kernel, CLEAN_UP, 1, &[0x84]), &case, &[Misled(By::Store(""))]);
    assert_says(&judgement, &[(Rule::BootParams, "ext_ramdisk_image", "01", "00")]);
}

/// A 32-bit stub does not read the upper halves, and so comes to its end.
fn no_clean_up(kernel: &Kernel) {
    let case = with_garbage(kernel);
    // The stub believes the garbage, and gives it to the kernel.
    let who = [By::Store("mov %eax,0x70(%esi)"), By::Unwritten].map(Misled);
    let judgement = kernel.damaged(without(kernel, CLEAN_UP_32, 7, 6), &case, &who);
    assert_only(&judgement, Rule::BootParams, "acpi_rsdp_addr");
    for field in ["ext_ramdisk_image", "ext_cmd_line_ptr", "sentinel"] {
        let found = judgement.findings.iter().any(|finding| finding.place == field);
        assert!(found, "{field}: {}", said(&judgement));
    }
}

/// Real kernels before 6.14, such as this one, lack c00b413a9626: the upper half of the command
/// line's address is garbage.
fn early_reader(kernel: &Kernel) {
    let judgement = explained(
        kernel.image.file().to_vec(),
        &with_garbage(kernel),
        kernel,
        &[Misled(By::Instruction(""))],
    );
    assert_eq!(judgement.verdict(), Verdict::Diverges);
    assert_only(&judgement, Rule::Fault, "stub+0x");
}

fn late_clean_up(kernel: &Kernel) {
    let judgement = kernel.damaged(
        without(kernel, EARLY_CLEAN_UP, 7, 6),
        &with_garbage(kernel),
        &[Misled(By::Instruction(""))],
    );
    assert_says(&judgement, &[(Rule::Fault, "stub+0x", STOPS, "page fault at 0x")]);
}
