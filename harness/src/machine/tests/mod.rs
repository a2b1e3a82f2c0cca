// SPDX-License-Identifier: GPL-2.0-only
//! Whole machines with a dozen bytes of guest code.

use std::time::Duration;

use super::testing::{LOAD, STUB, setup, words};
use super::*;
use crate::image::WordSize;
use crate::range::Range;

mod cpu;
mod memory;
mod observe;

pub const LONG: Duration = Duration::from_secs(60);

const TOP: u64 = 0x4_0000;
const TOP_OF_FIVE: u64 = 0x4_3000;

/// `code` entered at 64 bits, with the first 4 MiB at their own addresses.
pub fn long(cpu: CpuFeatures, five_levels: bool, code: &[u8]) -> Setup {
    let page_tables = if five_levels { TOP_OF_FIVE } else { TOP };
    let mode = EntryMode::Long { page_tables, five_levels };
    let mut setup = Setup { mode, word: WordSize::Bits64, cpu, ..setup(code) };
    for (address, entries) in [
        (TOP, &[TOP + 0x1003][..]),
        (TOP + 0x1000, &[TOP + 0x2003, 0x83]),
        (TOP + 0x2000, &[0x83, 0x20_0083]),
        (TOP_OF_FIVE, &[TOP + 3]),
    ] {
        setup.placed.push(Placed { address, bytes: words(entries), what: "page table" });
    }
    setup
}

fn run(code: &[u8], patience: Duration) -> Outcome {
    UnicornEngine::with_patience(patience).run(&setup(code)).unwrap()
}

fn run_setup(setup: &Setup) -> Outcome {
    UnicornEngine::with_patience(LONG).run(setup).unwrap()
}

#[test]
fn a_jump_out_of_the_stub_is_the_hand_off() {
    // mov $0x300040, %eax; jmp *%eax
    let outcome = run(b"\xb8\x40\x00\x30\x00\xff\xe0", LONG);
    assert_eq!((outcome.end, outcome.registers.rip), (End::HandOff, 0x30_0040));
    assert_eq!(outcome.registers.rsi(), 0x1_0000);
}

#[test]
fn a_halt_with_interrupts_off_is_the_end() {
    assert_eq!(run(b"\xfa\xf4", LONG).end, End::Halted);
}

#[test]
fn accesses_without_memory_are_told_by_kind() {
    // mov %eax, 0x50000000
    let write = End::OutsideRam { address: 0x5000_0000, access: Access::Write };
    assert_eq!(run(b"\xa3\x00\x00\x00\x50", LONG).end, write);
    // mov 0x60000000, %eax
    let read = End::OutsideRam { address: 0x6000_0000, access: Access::Read };
    assert_eq!(run(b"\xa1\x00\x00\x00\x60", LONG).end, read);
}

#[test]
fn an_invalid_instruction_is_a_fault() {
    assert_eq!(run(b"\x0f\x0b", LONG).end, End::Fault { vector: 6, address: None });
}

#[test]
fn an_endless_loop_ends_by_its_budget_and_always_at_the_same_place() {
    // 1: inc %eax; jmp 1b
    let first = run(b"\x40\xeb\xfd", Duration::from_millis(20));
    let second = run(b"\x40\xeb\xfd", Duration::from_millis(90));
    assert_eq!(first.end, End::Budget { blocks: 10_000 });
    assert_eq!(first.registers, second.registers);
}

#[test]
fn code_that_never_stops_changing_itself_uses_its_budget_up_sooner() {
    // 1: movb $0x90, 2f; 2: nop; jmp 1b
    let mut setup = setup(b"\xc6\x05\x07\x00\x20\x00\x90\x90\xeb\xf6");
    setup.budget = 100_000_000;
    let outcome = UnicornEngine::with_patience(Duration::ZERO).run(&setup).unwrap();
    assert_eq!(outcome.end, End::Budget { blocks: 100_000_000 });
}

#[test]
fn code_that_changes_itself_is_seen() {
    // movb $0xf4, 1f; jmp 1f; 1: nop; jmp to 0x300000
    let code = b"\x90\xc6\x05\x0a\x00\x20\x00\xf4\xeb\x00\x90\xb8\x00\x00\x30\x00\xff\xe0";
    assert_eq!(run(code, LONG).end, End::Halted);
}

#[test]
fn serial_output_and_the_timer_reach_the_outcome() {
    // mov $0x3f8, %edx; mov $'x', %al; out %al, %dx; mov $0xc2, %al; out %al, $0x43; hlt
    let outcome = run(b"\xba\xf8\x03\x00\x00\xb0x\xee\xb0\xc2\xe6\x43\xf4", LONG);
    assert_eq!((outcome.serial.as_slice(), outcome.timer_reads), (&b"x"[..], 1));
    assert_eq!(outcome.ports.keys().copied().collect::<Vec<_>>(), [0x43, 0x3f8]);
    assert_eq!((outcome.ports[&0x43].sizes, outcome.ports[&0x43].values[0]), (1, 0xc2));
}

#[test]
fn the_engine_that_is_linked_leaves_its_exit_checks_out() {
    run(b"\xa3\x00\x00\x00\x10", LONG);
    assert!(exit_checks_left_out() > 0);
}

#[test]
fn a_guest_may_use_every_port() {
    // 1: out %eax, %dx; in %dx, %ax; inc %edx; cmp $0x10000, %edx; jne 1b; hlt
    let code = b"\xef\x66\xed\x42\x81\xfa\x00\x00\x01\x00\x75\xf4\xf4";
    let mut setup = setup(code);
    setup.budget = 1 << 20;
    let outcome = run_setup(&setup);
    assert_eq!((outcome.end, outcome.ports.len()), (End::Halted, 1 << 16));
    assert!(outcome.ports.values().all(|used| (used.sizes, used.reads, used.writes) == (6, 1, 1)));
}
