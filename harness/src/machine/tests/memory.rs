// SPDX-License-Identifier: GPL-2.0-only
//! Guests with far more RAM than the host.

use super::*;

const HIGH: u64 = 8 << 40;
const GIB: u64 = 1 << 30;

/// `code` with 16 TiB of RAM; 1 GiB pages from 2 GiB on show, from 8 TiB on, each a GiB of it.
fn huge(code: &[u8]) -> Setup {
    const TABLE: u64 = 0x4_1000;
    let gib_pages = CpuFeatures { gib_pages: true, ..CpuFeatures::default() };
    let mut setup = long(gib_pages, false, code);
    setup.ram.push(Range::new(HIGH, HIGH + (16 << 40)));
    let entries: Vec<u64> = (0..510).map(|i| HIGH + i * GIB + 0x83).collect();
    setup.placed.push(Placed { address: TABLE + 16, bytes: words(&entries), what: "page table" });
    setup
}

#[test]
fn a_machine_may_have_terabytes() {
    // mov $0x80000000, %eax; mov 8(%rax), %rcx; mov %rcx, 0x5000(%rax); jmp *%rax
    let code = b"\xb8\x00\x00\x00\x80\x48\x8b\x48\x08\x48\x89\x88\x00\x50\x00\x00\xff\xe0";
    let outcome = run_setup(&huge(code));
    assert_eq!((outcome.end, outcome.registers.rip), (End::HandOff, 0x8000_0000));
    assert_eq!(outcome.registers.general[1], Fill(3).word(8));
    assert_eq!(outcome.ram.read_u64(HIGH + 0x5000), Ok(Fill(3).word(8)));
    let high: Vec<u64> = outcome.ram.written_pages().into_iter().filter(|p| *p >= HIGH).collect();
    assert_eq!(high, [HIGH + 0x5000]);
}

#[test]
fn a_guest_that_touches_all_of_it_is_stopped() {
    // mov $0x80000000, %eax; 1: mov (%rax), %cl; add $0x1000000, %rax; jmp 1b
    let code = b"\xb8\x00\x00\x00\x80\x8a\x08\x48\x05\x00\x00\x00\x01\xeb\xf6";
    let outcome = run_setup(&huge(code));
    assert_eq!(outcome.end, End::Unsupported("more than 32 GiB of RAM touched".into()));
}
