// SPDX-License-Identifier: GPL-2.0-only
//! The rest of the CPU's state at the hand-off; most of it is damaged in `stub`.

use relocheck::oracle::Rule;

use crate::bench::{
    By, CLOUD, Changed, I386, Kernel, LOAD, Misled, Trials, assert_says, hex, plain,
};
use crate::patch::{HAND_OFF, detour, patched};

/// `xor %eax, %eax; movq $0, boot_idt_desc + 2(%rip); mov %ax, boot_idt_desc(%rip); lidt`.
const NO_TABLE: &str = "31 c0 48 c7 05 ?? ?? ?? ?? 00 00 00 00 66 89 05 ?? ?? ?? ?? 0f 01 1d";
/// i386, after `extract_kernel()`: `add $24, %esp; xor %ebx, %ebx; jmp *%eax`.
const HAND_OFF_32: &str = "83 c4 18 31 db ff e0";

pub fn add(trials: &mut Trials) {
    trials.on(CLOUD, "hand_off::segments_are_told_apart", segments);
    trials.on(CLOUD, "hand_off::an_interrupt_table_at_the_hand_off_is_found", interrupt_table);
    trials.on(I386, "hand_off::i386_target_and_boot_params_are_found", i386);
}

/// `mov $0x10, %ecx; mov %ecx, ...`: the code segment.
fn segments(kernel: &Kernel) {
    for (name, register) in [("es", 0xc1), ("fs", 0xe1), ("gs", 0xe9)] {
        let (file, _) = detour(kernel, HAND_OFF, 5, &[0xb9, 0x10, 0, 0, 0, 0x8e, register]);
        let who = [Changed(By::Origin(name, "mov"))];
        let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
        assert_says(&judgement, &[(Rule::HandOff, name, "0x18", "0x10")]);
    }
}

/// `mov $0xff, %al` for `xor %eax, %eax`: no longer an empty table.
fn interrupt_table(kernel: &Kernel) {
    let file = patched(kernel, NO_TABLE, 0, &[0xb0, 0xff]);
    let who = [Misled(By::Origin("idtr", "lidt"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    let none = "no table: a limit of 0";
    assert_says(&judgement, &[(Rule::HandOff, "idtr", none, "bytes at 0x0")]);
}

/// `add $16, %al; xor %esi, %esi; nop`.
fn i386(kernel: &Kernel) {
    let file = patched(kernel, HAND_OFF_32, 0, &[0x04, 16, 0x31, 0xf6, 0x90]);
    let who = [By::Origin("eax", "add $0x10,%al"), By::Origin("esi", "xor %esi,%esi")];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who.map(Changed));
    let entry = LOAD + kernel.subject().entry_offset();
    assert_says(
        &judgement,
        &[
            (Rule::HandOff, "eip", &hex(entry), &hex(entry + 16)),
            (Rule::HandOff, "esi", "0x10000", "0x0"),
        ],
    );
}
