// SPDX-License-Identifier: GPL-2.0-only
//! Stubs that leave the CPU, memory or devices in another state than the kernel expects, or that never leave.

use relocheck::oracle::Rule;

use crate::Test;
use crate::bench::{ALIGNED, Bug, MIB};
use crate::common::says::hex;
use crate::image::Generation;

pub const TESTS: &[Test] = &[
    ("hand_off::a_lost_pointer_to_boot_params_is_found", lost_pointer),
    ("hand_off::a_register_that_is_not_cleared_is_found", register),
    ("hand_off::interrupts_that_are_on_are_found", interrupts),
    ("hand_off::a_direction_flag_that_stays_set_is_found", direction),
    ("hand_off::a_wrong_segment_is_found", segment),
    ("hand_off::a_register_from_untouched_ram_is_found", stale),
    ("hand_off::a_byte_below_the_kernel_is_found", stray),
    ("hand_off::a_changed_field_of_boot_params_is_found", boot_params),
    ("hand_off::a_port_that_is_nobodys_is_found", port),
    ("hand_off::a_stub_without_end_is_found", hang),
];

fn lost_pointer() {
    for generation in Generation::ALL {
        let bug = Bug { generation, ..Bug::new(&["BUG_ESI"], ALIGNED) };
        let expected = hex(bug.case.places.boot_params);
        bug.says(&[(Rule::HandOff, "esi", &expected, "0x10")]);
    }
}

fn register() {
    let distance = hex(ALIGNED - MIB);
    Bug::new(&["BUG_EBX"], ALIGNED).says(&[(Rule::HandOff, "ebx", "0x0", &distance)]);
    Bug::new(&["BUG_EBX"], MIB).is_harmless();
}

fn interrupts() {
    let found = (Rule::HandOff, "interrupt flag", "0x0", "0x200");
    Bug::new(&["BUG_INTERRUPTS"], ALIGNED).says(&[found]);
}

/// The relocation loop sets the flag, which a kernel that stays where it was linked does not need.
fn direction() {
    let found = (Rule::HandOff, "direction flag", "0x0", "0x400");
    Bug::new(&["BUG_DIRECTION"], ALIGNED).says(&[found]);
    Bug::new(&["BUG_DIRECTION"], MIB).is_harmless();
}

fn segment() {
    Bug::new(&["BUG_SEGMENT"], ALIGNED).says(&[(Rule::HandOff, "es", "0x18", "0x10")]);
}

/// One run cannot tell where a register's value comes from; two can.
fn stale() {
    let mut bug = Bug::new(&["BUG_STALE"], ALIGNED);
    bug.is_harmless();
    bug.case.second_fill = Some(!bug.case.fill);
    bug.says(&[(Rule::Fill, "rdx", "as with the first fill", "0x")]);
}

fn stray() {
    let place = "RAM outside the permitted memory";
    let judgement = Bug::new(&["BUG_STRAY"], ALIGNED).says(&[(Rule::Footprint, place, "", "5a")]);
    let finding = &judgement.findings[0];
    assert_eq!((finding.address, finding.bytes), (Some(ALIGNED - 1), 1));
}

fn boot_params() {
    for generation in Generation::ALL {
        let bug = Bug { generation, ..Bug::new(&["BUG_PARAMS"], ALIGNED) };
        bug.says(&[(Rule::BootParams, "hdr.loadflags", "01", "03")]);
    }
}

fn port() {
    let found = (Rule::Ports, "port 0x80", "not to be written", "written");
    Bug::new(&["BUG_PORT"], ALIGNED).says(&[found]);
}

fn hang() {
    let mut bug = Bug::new(&["BUG_HANG"], ALIGNED);
    bug.case.budget = 1 << 23;
    let found =
        (Rule::Budget, "stub+0x", "the jump into the kernel", "still running after 8388608");
    bug.says(&[found]);
}
