// SPDX-License-Identifier: GPL-2.0-only
//! KASLR that puts the kernel over something: a stanza of `mem_avoid` is missing, as it was in real
//! kernels (arch/x86/boot/compressed/kaslr.c). The only place where the kernel would fit is taken,
//! and the damaged stub goes there.

use relocheck::case::{Case, MemoryEntry, MemoryKind, SetupData, SetupDataKind, Span};
use relocheck::oracle::Rule;

use crate::bench::{
    By, CLOUD, GAP, I386, Kernel, Misled, Trials, assert_says, hex, kaslr, tempting, unwritten,
};
use crate::patch::{patched, without};

/// `or %rdi, %rdx; or %rsi, %rax`, then the stores of the initrd's size and start.
const INITRD: &str = "48 09 fa 48 09 f0 48 89 15 ?? ?? ?? ?? 48 89 05 ?? ?? ?? ??";
/// The store of the command line's address, before that of its length.
const COMMAND_LINE: &str = "4c 89 25 ?? ?? ?? ?? 8b 4c 24 20 48 83 c0 01";
/// The store of boot_params' address, behind that of its size.
const BOOT_PARAMS: &str = "00 10 00 00 48 89 05 ?? ?? ?? ?? e8 ?? ?? ?? ?? 8b 4c 24 20 48 85 c0";
/// `cmp %rbx, %rax; jae`: a node of setup_data behind the region; then its length.
const SETUP_DATA: &str = "48 39 d8 73 2b 8b 48 0c";
/// `cmpl $SETUP_INDIRECT, 8(%rax); jne`.
const INDIRECT: &str = "81 78 08 00 00 00 80 75 bb";
/// `mov (%rcx), %rsi`, then the store of the address from which the stub decompresses.
const OWN: &str = "48 8b 31 4c 89 25 ?? ?? ?? ?? 48 c1 e7 20";

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("avoid::a_free_gap_is_taken", free);
    cloud("avoid::an_initrd_that_is_not_avoided_shows", initrd);
    cloud("avoid::a_command_line_that_is_not_avoided_shows", command_line);
    cloud("avoid::boot_params_that_are_not_avoided_show", boot_params);
    cloud("avoid::setup_data_that_is_not_avoided_shows", setup_data);
    cloud("avoid::indirect_setup_data_that_is_not_avoided_shows", indirect);
    cloud("avoid::a_stub_that_does_not_avoid_itself_shows", own);
    trials.on(I386, "avoid::a_size_without_bss_shows", without_bss);
}

/// The undamaged stub stays where it is, the damaged one goes to `gap`, over `what`.
fn assert_over(kernel: &Kernel, file: Vec<u8>, case: &Case, gap: u64, what: &str) {
    let chosen = Misled(By::Chosen(""));
    let judgement = kernel.damaged(file, case, &[chosen, chosen]);
    let (load, gap) = (hex(case.load), hex(gap));
    let over = format!("not over the {what} [0x");
    assert_says(
        &judgement,
        &[(Rule::Kaslr, "output", &load, &gap), (Rule::Placement, "output", &over, &gap)],
    );
}

fn free(kernel: &Kernel) {
    assert_eq!(kernel.conforms(&tempting(kernel)).landing.unwrap().output, GAP);
}

fn initrd(kernel: &Kernel) {
    let start = GAP + (16 << 20);
    let initrd = Some(Span { start, end: start + 0x1_2345 });
    let case = Case { initrd, ..tempting(kernel) };
    assert_over(kernel, without(kernel, INITRD, 13, 7), &case, GAP, "initrd");
}

fn command_line(kernel: &Kernel) {
    let mut case = tempting(kernel);
    case.places.command_line = unwritten(kernel);
    assert_over(kernel, without(kernel, COMMAND_LINE, 0, 7), &case, GAP, "command line");
}

fn boot_params(kernel: &Kernel) {
    let mut case = tempting(kernel);
    case.places.boot_params = unwritten(kernel);
    assert_over(kernel, without(kernel, BOOT_PARAMS, 4, 7), &case, GAP, "boot_params");
}

fn node(address: u64, kind: SetupDataKind, points_to: Vec<Span>) -> SetupData {
    SetupData { address, kind, len: 24, points_to }
}

fn setup_data(kernel: &Kernel) {
    let node = node(unwritten(kernel), SetupDataKind::RngSeed, Vec::new());
    let case = Case { setup_data: vec![node], ..tempting(kernel) };
    assert_over(kernel, patched(kernel, SETUP_DATA, 3, &[0xeb]), &case, GAP, "setup_data");
}

/// Before b3c72fc9a78e (5.5) there was no such thing to avoid.
fn indirect(kernel: &Kernel) {
    let start = GAP + (16 << 20);
    let target = Span { start, end: start + 8 };
    let node = node(0x5_0000, SetupDataKind::Indirect, vec![target]);
    let case = Case { setup_data: vec![node], ..tempting(kernel) };
    assert_over(kernel, patched(kernel, INDIRECT, 7, &[0xeb]), &case, GAP, "indirect setup_data");
}

/// Before 974f221c84b0 (4.7) the stub avoided too little of itself. Here the gap begins 2 MiB below
/// the place where it decompresses, and ends within it. That a kernel so near does not destroy its
/// own source is luck.
fn own(kernel: &Kernel) {
    const LOAD: u64 = 768 << 20;
    let gap = LOAD - (2 << 20);
    let init_size = u64::from(kernel.image.header().init_size.unwrap());
    let end = gap + kernel.subject().needed();
    let rest = MemoryEntry { start: end, end: LOAD + init_size, kind: MemoryKind::Unlisted };
    let memory = vec![MemoryEntry::usable(0, 0x9_fc00), MemoryEntry::usable(gap, end), rest];
    let case = Case { timer: vec![0x1234], memory, ..kaslr(kernel, LOAD) };
    let file = without(kernel, OWN, 3, 7);
    assert_over(kernel, file, &case, gap, "stub, which is decompressing");
}

/// `output_len` for the larger one of it and `kernel_total_size`: before e6023367d779 (3.19).
fn without_bss(kernel: &Kernel) {
    let file = patched(kernel, "3d 00 50 13 01 73 05", 5, &[0xeb]);
    let start = unwritten(kernel);
    let case = Case { initrd: Some(Span { start, end: start + 0x800 }), ..tempting(kernel) };
    assert_over(kernel, file, &case, GAP, "initrd");
}
