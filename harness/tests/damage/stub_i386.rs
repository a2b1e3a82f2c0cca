// SPDX-License-Identifier: GPL-2.0-only
//! Stubs for i386 whose code does the wrong thing.

use relocheck::oracle::Rule;

use crate::bench::{
    By, I386, Kernel, LINKED, LOAD, Misled, Trials, assert_only, assert_says, case, hex, plain,
};
use crate::patch::patched;

pub fn add(trials: &mut Trials) {
    let mut i386 = |name, test| trials.on(I386, name, test);
    i386("stub_i386::relocations_that_are_skipped_show_in_memory", skipped);
    i386("stub_i386::a_signed_comparison_hides_a_refusal", signed_comparison);
}

/// `sub $LOAD_PHYSICAL_ADDR, %esi; je` over the relocation loop becomes `jmp`.
fn skipped(kernel: &Kernel) {
    let file = patched(kernel, "81 ee 00 00 00 01 74 ??", 6, &[0xeb]);
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &[Misled(By::Nobody)]);
    assert_only(&judgement, Rule::Memory, "field of the 32-bit entry");
}

/// `jge` for `jae` (before 81a34892c2c7, 5.7): loaded at 2 GiB, where it has to refuse, the stub goes to
/// LOAD_PHYSICAL_ADDR. That it copies itself there as well shows in the place of its GDT, and outside the permitted memory.
fn signed_comparison(kernel: &Kernel) {
    let file = patched(kernel, "81 fb 00 00 00 01 73 05", 6, &[0x7d]);
    let high = case(kernel, 0x8000_0000, "earlyprintk=ttyS0 nokaslr", 0xc000_0000);
    let who = [By::Instruction("jmp"), By::Chosen(""), By::Origin("gdtr", "lgdt"), By::Store("")];
    let judgement = kernel.damaged(file, &high, &who.map(Misled));
    assert_says(
        &judgement,
        &[
            (Rule::Halt, "stub", "to stop: Destination address too large", "it went on"),
            (Rule::Placement, "output", &hex(0x8000_0000), &hex(LINKED)),
            (Rule::HandOff, "gdtr", "a table inside the stub's copy", "bytes at 0x"),
            (Rule::Footprint, "RAM outside the permitted memory", "as the loader left it", ""),
        ],
    );
}
