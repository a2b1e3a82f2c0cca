// SPDX-License-Identifier: GPL-2.0-only
//! Stubs that hand over with the wrong number of levels of page tables, or do not survive the
//! change (arch/x86/boot/compressed/pgtable_64.c).

use relocheck::case::Case;
use relocheck::oracle::Rule;

use crate::bench::{
    AndWhatFollows, By, CLOUD, Kernel, LOAD, Misled, Trials, assert_only, assert_says, case, said,
};
use crate::patch::{patched, without};

/// `test %eax, %eax; jne`: whether `no5lvl` was found; then the CPU is asked.
const NO_5_LEVELS: &str = "85 c0 75 0f 89 c6 89 c1 0f a2 83 f8 06";
/// `and $1 << 16, %ecx; je`: whether the CPU has LA57.
const LA57: &str = "81 e1 00 00 01 00 0f 84";
/// `btc $12, %eax` between reading and writing CR4: the trampoline's work.
const TOGGLE: &str = "0f 20 e0 0f ba f8 0c 0f 22 e0";
/// `and %rsi, %rcx; mov (%rcx), %rsi; and physical_mask(%rip), %rsi`: CR3, and the first entry of
/// the top level.
const FIRST_ENTRY: &str = "48 21 f1 48 8b 31 48 23 35";

const CR4: By = By::Origin("cr4", "mov %rax,%cr4");
const NOT_RUN: By = By::NoOne("no code ran in low memory");

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("five_levels::a_word_that_is_ignored_shows_at_the_hand_off", ignored_word);
    cloud("five_levels::a_feature_that_is_ignored_shows_at_the_hand_off", ignored_feature);
    cloud("five_levels::a_bit_that_is_not_toggled_is_fatal", not_toggled);
    cloud("five_levels::flags_taken_for_an_address_are_fatal", unmasked);
}

fn five(kernel: &Kernel, words: &str) -> Case {
    let mut case = case(kernel, LOAD, &format!("earlyprintk=ttyS0 nokaslr {words}"), 1 << 30);
    case.cpu.la57 = true;
    case
}

/// Five levels, and a loader that sets every bit that the CPU ignores: the change is to four.
fn from_five(kernel: &Kernel) -> Case {
    let mut case = five(kernel, "no5lvl");
    case.entry.five_levels = true;
    case.entry.ignored_bits = true;
    case
}

fn ignored_word(kernel: &Kernel) {
    // `xor %eax, %eax; nop; nop`: not found, and not jumped.
    let file = patched(kernel, NO_5_LEVELS, 0, &[0x31, 0xc0, 0x90, 0x90]);
    let ran = "code in low memory";
    let trampoline = By::Origin("cr4", "mov %eax,%cr4");
    let copied = By::Store("rep movs");
    for (case, expected, actual, by) in [
        (five(kernel, "no5lvl"), "none", "0x9e000", [trampoline, copied]),
        (from_five(kernel), "0x9e000", "none", [CR4, NOT_RUN]),
    ] {
        assert_says(
            &kernel.damaged(file.clone(), &case, &by.map(Misled)),
            &[
                (Rule::HandOff, "cr4.LA57", "0x0", "0x1000"),
                (Rule::Trampoline, ran, expected, actual),
            ],
        );
    }
}

fn ignored_feature(kernel: &Kernel) {
    let who = [CR4, NOT_RUN].map(Misled);
    let file = patched(kernel, LA57, 6, &[0x90, 0xe9]);
    let judgement = kernel.damaged(file, &five(kernel, ""), &who);
    assert_says(
        &judgement,
        &[
            (Rule::HandOff, "cr4.LA57", "0x1000", "0x0"),
            (Rule::Trampoline, "code in low memory", "0x9e000", "none"),
        ],
    );
}

/// What 45b13b424faa (5.2) mended: the change does not take place, and the tables have a level too
/// many. The next instruction is read from somewhere else, which looks like a jump astray.
fn not_toggled(kernel: &Kernel) {
    let who = [Misled(By::Unwritten), AndWhatFollows];
    let judgement = kernel.damaged(without(kernel, TOGGLE, 3, 4), &five(kernel, ""), &who);
    for (place, actual) in [("rip", "0x9e0"), ("cr4.LA57", "0x0"), ("cs", "0x8")] {
        let said_so = judgement.findings.iter().any(|finding| {
            (finding.rule, &finding.place[..]) == (Rule::HandOff, place)
                && finding.actual.starts_with(actual)
        });
        assert!(said_so, "{place}: {}", said(&judgement));
    }
}

/// Before eb2266312507 (2025): CR3 with its flags, and the upper flags of the entry.
fn unmasked(kernel: &Kernel) {
    let walks = By::Instruction("mov (%rsi),%rcx");
    for (offset, len, by) in [(0, 3, By::Foreign), (6, 7, walks)] {
        let file = without(kernel, &format!("{FIRST_ENTRY} ?? ?? ?? ??"), offset, len);
        let who = [Misled(by)];
        assert_only(&kernel.damaged(file, &from_five(kernel), &who), Rule::Fault, "stub+0x");
    }
}
