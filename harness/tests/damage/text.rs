// SPDX-License-Identifier: GPL-2.0-only
//! What the stub says: other words, on another place of the screen, or without asking the port whether it is ready.

use relocheck::case::Case;
use relocheck::oracle::Rule;

use crate::bench::{By, CLOUD, I386, Kernel, LOAD, Misled, Trials, Who, assert_says, kaslr, plain};
use crate::patch::patched;

/// `mov $0xb8000, %eax; cmove %rcx, %rax`: where the screen's memory is.
const SCREEN: &str = "b8 00 80 0b 00 48 0f 44 c1";
/// `test $0x20, %al; je`: whether the port takes another byte.
const READY: &str = "a8 20 74 e5";
/// "'nokaslr' on cmdline"
const WARNING: &str = "27 6e 6f 6b 61 73 6c 72 27 20 6f 6e 20 63 6d 64 6c 69 6e 65";

/// What was printed is a matter of many instructions.
const PRINTED: [Who; 1] = [Misled(By::NoOne(""))];

pub fn add(trials: &mut Trials) {
    trials.on(CLOUD, "text::other_words_than_those_that_are_due_are_found", other_words);
    trials.on(I386, "text::other_words_of_a_32_bit_stub_are_found", other_words);
    trials.on(CLOUD, "text::a_warning_that_is_due_is_missed", lost_warning);
    trials.on(CLOUD, "text::a_line_at_another_place_of_the_screen_is_found", elsewhere);
    trials.on(CLOUD, "text::a_port_that_is_asked_again_and_again_is_found", impatient);
}

/// Each word stands in the stub, but another one is due.
fn other_words(kernel: &Kernel) {
    let file = patched(kernel, WARNING, 13, b"address");
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &PRINTED);
    assert_says(
        &judgement,
        &[(Rule::Ports, "text on the serial port", "on cmdline.", "on address.")],
    );
}

/// The first byte of the text ends it.
fn lost_warning(kernel: &Kernel) {
    // "Physical KASLR disabled: no suitable memory region!"
    let file = patched(kernel, "50 68 79 73 69 63 61 6c 20 4b 41 53 4c 52 20 64", 0, &[0]);
    let mut case = kaslr(kernel, LOAD);
    assert!(kernel.damaged(file.clone(), &case, &[]).findings.is_empty(), "there is room");
    case.memory.truncate(1);
    case.memory[0].end = case.load + u64::from(kernel.image.header().init_size.unwrap());
    let judgement = kernel.damaged(file, &case, &PRINTED);
    assert_says(
        &judgement,
        &[(Rule::Ports, "text on the serial port", "Physical KASLR disabled", "\\r\\n")],
    );
}

fn elsewhere(kernel: &Kernel) {
    let case = Case { screen: true, ..plain(kernel, LOAD) };
    let file = patched(kernel, SCREEN, 1, &[2]);
    let judgement = kernel.damaged(file, &case, &[Misled(By::Unwritten)]);
    assert_says(&judgement, &[(Rule::Footprint, "text screen", "in line", "")]);
}

fn impatient(kernel: &Kernel) {
    let file = patched(kernel, READY, 1, &[0x10]);
    let judgement =
        kernel.damaged(file, &plain(kernel, LOAD), &[Misled(By::Instruction("out %al,%dx"))]);
    assert_says(
        &judgement,
        &[(Rule::Ports, "serial port 0x3f8", "whether it is ready", "whether it is ready")],
    );
}
