// SPDX-License-Identifier: GPL-2.0-only
//! The instruction that was damaged is the one that is blamed. Each row is a damage of the other files here.

use relocheck::case::Case;
use relocheck::explain::symbols::SymbolFiles;

use crate::bench::{CLOUD, I386, Kernel, LOAD, LOW, Trials, kaslr, plain};
use crate::common::blame::{By, blamed};
use crate::patch::{EXTRACT, HAND_OFF, detour, instead, patched};
use crate::stub::{ADD_32, ADD_64, DELTA};

type File = fn(&Kernel) -> Vec<u8>;
type Choice = fn(&Kernel) -> Case;

/// A damage, and who is to blame for its first finding.
struct Row {
    name: &'static str,
    kernel: &'static str,
    file: File,
    case: Choice,
    by: By<'static>,
    /// Whether that is an instruction which the damage changed, and not one that was misled or is missing.
    changed: bool,
}

const fn row(name: &'static str, file: File, case: Choice, by: By<'static>) -> Row {
    Row { name, kernel: CLOUD, file, case, by, changed: true }
}

fn at_load(kernel: &Kernel) -> Case {
    plain(kernel, LOAD)
}

fn random(kernel: &Kernel) -> Case {
    kaslr(kernel, LOAD)
}

fn at_end(kernel: &Kernel, code: &[u8]) -> Vec<u8> {
    detour(kernel, HAND_OFF, 5, code).0
}

fn at_start(kernel: &Kernel, code: &[u8]) -> Vec<u8> {
    detour(kernel, EXTRACT, 6, code).0
}

const ROWS: &[Row] = &[
    row(
        "blame::a_subtraction",
        |kernel| patched(kernel, ADD_32, 4, &[0x29]),
        random,
        By::Store("sub %ecx,(%rdx)"),
    ),
    row(
        "blame::the_second_of_two_additions",
        |kernel| {
            let twice = [0x48, 0x01, 0x0a, 0x48, 0x01, 0x0a, 0x48, 0x63, 0x16];
            instead(kernel, ADD_64, 4, 6, &twice)
        },
        random,
        By::Store("add %rcx,(%rdx)"),
    ),
    row(
        "blame::a_loop_that_skips_every_other_entry",
        |kernel| {
            let some = [0x40, 0xf6, 0xc6, 4, 0x74, 3, 0x48, 0x01, 0x0a, 0x48, 0x63, 0x16];
            instead(kernel, ADD_64, 4, 6, &some)
        },
        random,
        By::Neighbour("add %rcx,(%rdx)"),
    ),
    row(
        "blame::relocations_that_are_skipped",
        |kernel| patched(kernel, DELTA, 7, &[0x90, 0xe9]),
        random,
        By::Nobody,
    ),
    Row {
        kernel: I386,
        ..row(
            "blame::relocations_that_are_skipped_on_i386",
            |kernel| patched(kernel, "81 ee 00 00 00 01 74 ??", 6, &[0xeb]),
            at_load,
            By::Nobody,
        )
    },
    row(
        "blame::a_wrong_jump_target",
        |kernel| at_end(kernel, &[0x48, 0x83, 0xc0, 0x10]),
        at_load,
        By::Origin("rax", "add $0x10,%rax"),
    ),
    row(
        "blame::a_jump_astray",
        |kernel| at_end(kernel, &[0x31, 0xc0]),
        random,
        By::Origin("rax", "xor %eax,%eax"),
    ),
    row(
        "blame::a_wrong_segment",
        |kernel| at_end(kernel, &[0xb9, 0x10, 0, 0, 0, 0x8e, 0xd9]),
        at_load,
        By::Origin("ds", "mov"),
    ),
    row(
        "blame::wrong_boot_params",
        |kernel| patched(kernel, HAND_OFF, 0, &[0x31, 0xf6, 0x90]),
        at_load,
        By::Origin("rsi", "xor %esi,%esi"),
    ),
    row(
        "blame::a_direction_flag",
        |kernel| at_end(kernel, &[0xfd]),
        at_load,
        By::Origin("direction flag", "std"),
    ),
    row(
        "blame::an_interrupt_flag",
        |kernel| at_end(kernel, &[0xfb]),
        at_load,
        By::Origin("interrupt flag", "sti"),
    ),
    row(
        "blame::a_stray_store",
        |kernel| at_start(kernel, &[0xc6, 0x04, 0x25, 8, 0x90, 0, 0, 0x5a]),
        at_load,
        By::Store("movb $0x5a,"),
    ),
    row(
        "blame::a_flood_of_stores",
        |kernel| {
            let code = [0xbf, 0, 0, 0, 0x30, 0xb9, 0, 0, 0x10, 0, 0xb0, 0x5a, 0xf3, 0xaa];
            at_start(kernel, &code)
        },
        at_load,
        By::Store("rep stos"),
    ),
    row(
        "blame::a_store_to_boot_params",
        |kernel| at_start(kernel, &[0x41, 0xc6, 0x87, 0xe4, 1, 0, 0, 0x5a]),
        at_load,
        By::Store("movb $0x5a,0x1e4(%r15)"),
    ),
    row(
        "blame::a_flag_that_gets_lost",
        |kernel| at_end(kernel, &[0x41, 0x80, 0xa7, 0x11, 2, 0, 0, 0xfd]),
        random,
        By::Store("andb $"),
    ),
    row(
        "blame::an_endless_loop",
        |kernel| patched(kernel, "fc fa 31 c0 8e d8 8e c0 8e d0", 0, &[0xeb, 0xfe]),
        |kernel| Case { budget: 100_000, ..plain(kernel, LOAD) },
        By::Instruction("jmp"),
    ),
    row(
        "blame::an_early_hlt",
        |kernel| patched(kernel, HAND_OFF, 0, &[0xf4]),
        at_load,
        By::Instruction("hlt"),
    ),
    row(
        "blame::an_invalid_opcode",
        |kernel| patched(kernel, HAND_OFF, 0, &[0x0f, 0x0b]),
        random,
        By::Instruction("ud2"),
    ),
    row(
        "blame::a_page_fault",
        |kernel| at_end(kernel, &[0x48, 0x8b, 0x0c, 0x25, 0, 0, 0, 0x80]),
        at_load,
        By::Instruction("mov"),
    ),
    row(
        "blame::a_store_where_there_is_no_ram",
        |kernel| at_start(kernel, &[0xc6, 0x04, 0x25, 0, 0, 0, 0x60, 0x5a]),
        at_load,
        By::Instruction("movb $0x5a,"),
    ),
    Row {
        changed: false,
        ..row(
            "blame::a_gdt_left_in_the_loaded_image",
            |kernel| patched(kernel, "48 89 50 02 0f 01 10", 4, &[0x90; 3]),
            |kernel| plain(kernel, LOW),
            By::Origin("gdtr", "lgdt"),
        )
    },
    row(
        "blame::a_port_that_nobody_needs",
        |kernel| at_start(kernel, &[0xe6, 0x80]),
        at_load,
        By::Instruction("out %al,$0x80"),
    ),
    row(
        "blame::a_timer_that_is_not_needed",
        |kernel| at_start(kernel, &[0xe4, 0x40]),
        at_load,
        By::Instruction("in $0x40,%al"),
    ),
];

pub fn add(trials: &mut Trials) {
    for row in ROWS {
        trials.on_with(row.kernel, row.name, move |kernel| {
            let blamed = blamed(&(row.file)(kernel), &(row.case)(kernel), &SymbolFiles::default());
            match row.changed {
                true => blamed.names_change(0, row.by, &kernel.image),
                false => drop(blamed.names(0, row.by)),
            }
            // Debian's kernels name themselves; those for i386 their functions only.
            for place in blamed.blame.iter().filter_map(|blame| blame.place.as_ref()) {
                let named = place.symbol.is_some() || row.kernel == I386;
                assert!(named || place.entry.is_none(), "{place:?}");
            }
        });
    }
}
