// SPDX-License-Identifier: GPL-2.0-only
//! Stubs that put the kernel in the wrong place, refuse a good one, or take a bad one.

use relocheck::oracle::Rule;

use crate::Test;
use crate::bench::{ALIGNED, Bug, MIB, MISALIGNED};
use crate::common::says::hex;
use crate::image::LINKED;

pub const TESTS: &[Test] = &[
    ("placement::a_stub_that_forgets_to_align_halts", forgets_alignment),
    ("placement::a_misaligned_kernel_is_found", takes_misaligned),
    ("placement::a_kernel_beside_its_place_is_found", beside),
    ("placement::a_jump_to_the_link_address_is_found", jumps_to_link_address),
    ("placement::a_stub_that_refuses_a_good_place_is_found", refuses),
    ("placement::a_stub_that_takes_a_place_above_lowmem_is_found", takes_high),
];

const TOO_LARGE: &str = "Destination address too large";
/// Above this a kernel with PAGE_OFFSET 0xc0000000 has no lowmem for its heap.
const TOO_HIGH: u64 = 512 * MIB;

fn forgets_alignment() {
    let text = "stopped: Destination address not CONFIG_PHYSICAL_ALIGN aligned";
    Bug::new(&["BUG_ALIGNMENT"], MISALIGNED).says(&[(
        Rule::Halt,
        "stub+0x",
        "the jump into the kernel",
        text,
    )]);
    Bug::new(&["BUG_ALIGNMENT"], ALIGNED).is_harmless();
}

fn takes_misaligned() {
    let bugs = ["BUG_ALIGNMENT", "BUG_ACCEPTS_MISALIGNED"];
    let found = (Rule::Placement, "output", &hex(ALIGNED)[..], &hex(MISALIGNED)[..]);
    Bug::new(&bugs, MISALIGNED).says(&[found]);
}

fn beside() {
    let found = (Rule::Placement, "output", &hex(ALIGNED)[..], &hex(ALIGNED + 0x1000)[..]);
    Bug::new(&["BUG_PLACE", "BUG_ACCEPTS_MISALIGNED"], ALIGNED).says(&[found]);
}

fn jumps_to_link_address() {
    let found = (Rule::HandOff, "eip", &hex(ALIGNED)[..], &hex(LINKED.into())[..]);
    Bug::new(&["BUG_TARGET"], ALIGNED).says(&[found]);
    Bug::new(&["BUG_TARGET"], MIB).is_harmless();
}

fn refuses() {
    let stopped = format!("stopped: {TOO_LARGE}");
    let found = (Rule::Halt, "stub+0x", "the jump into the kernel", &stopped[..]);
    Bug::new(&["BUG_REFUSES"], 100 * MIB).says(&[found]);
    Bug::new(&["BUG_REFUSES"], ALIGNED).is_harmless();
}

fn takes_high() {
    let stop = format!("to stop: {TOO_LARGE}");
    let found = (Rule::Halt, "stub", &stop[..], "it went on");
    Bug::new(&["BUG_ACCEPTS"], TOO_HIGH).says(&[found]);
    Bug::new(&["BUG_ACCEPTS"], TOO_HIGH - MIB).is_harmless();
}
