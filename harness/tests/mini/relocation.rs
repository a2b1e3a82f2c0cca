// SPDX-License-Identifier: GPL-2.0-only
//! Stubs whose relocation loop does the wrong thing.

use relocheck::oracle::Rule;

use crate::Test;
use crate::bench::{ALIGNED, Bug, MIB, MISALIGNED};
use crate::common::says::hex;
use crate::image::{ALIGNMENT, Generation};

pub const TESTS: &[Test] = &[
    ("relocation::a_loop_that_stops_one_entry_early_is_found", stops_early),
    ("relocation::a_loop_that_forgets_the_last_entry_is_found", forgets_last),
    ("relocation::a_field_that_is_moved_twice_is_found", twice),
    ("relocation::fields_that_move_the_wrong_way_are_found", subtracts),
    ("relocation::a_distance_from_the_wrong_base_is_found", wrong_base),
    ("relocation::a_kernel_that_is_relocated_without_need_is_found", no_distance),
    ("relocation::a_distance_of_zero_need_not_be_tested_for", harmless),
];

/// The loop runs downwards, so its last entry is the table's first.
fn stops_early() {
    for generation in Generation::ALL {
        let first = generation.kernel().entries[0];
        let bug = Bug { generation, ..Bug::new(&["BUG_STOPS_EARLY"], ALIGNED) };
        let place = format!("field of the 32-bit entry {first:#x}");
        let judgement = bug.breaks(Rule::Memory, &place);
        assert_eq!((judgement.findings.len(), judgement.findings[0].ranges), (1, 1));
    }
}

fn forgets_last() {
    for generation in Generation::ALL {
        let last = *generation.kernel().entries.last().unwrap();
        let bug = Bug { generation, ..Bug::new(&["BUG_FORGETS_LAST"], MISALIGNED) };
        let place = format!("field of the 32-bit entry {last:#x}");
        let judgement = bug.breaks(Rule::Memory, &place);
        assert_eq!((judgement.findings.len(), judgement.findings[0].ranges), (1, 1));
    }
}

fn twice() {
    let first = Generation::V2_6_20.kernel().entries[0];
    let place = format!("segment 0 (rwx) {:#x}, field of the 32-bit entry {first:#x}", first + 2);
    let distance = ((ALIGNED - MIB) >> 16) as u8;
    let judgement = Bug::new(&["BUG_TWICE"], ALIGNED).breaks(Rule::Memory, &place);
    let [finding] = &judgement.findings[..] else { panic!("{:?}", judgement.findings) };
    let (expected, actual) = (&finding.expected[..2], &finding.actual[..2]);
    let [expected, actual] = [expected, actual].map(|byte| u8::from_str_radix(byte, 16).unwrap());
    assert_eq!(actual.wrapping_sub(expected), distance, "{finding}");
}

fn subtracts() {
    let entries = Generation::V2_6_20.kernel().entries;
    let place = format!("field of the 32-bit entry {:#x}", entries[0]);
    let judgement = Bug::new(&["BUG_SUBTRACTS"], ALIGNED).breaks(Rule::Memory, &place);
    // The first two fields lie side by side and count as one range.
    assert_eq!(judgement.findings[0].ranges, entries.len() as u64 - 1);
}

/// The distance is also part of a field's address: the loop changes what lies one alignment below the kernel.
fn wrong_base() {
    let entries = Generation::V2_6_20.kernel().entries;
    let place = format!("field of the 32-bit entry {:#x}", entries[0]);
    let outside = "RAM outside the permitted memory";
    let judgement = Bug::new(&["BUG_DELTA"], ALIGNED).says(&[
        (Rule::Memory, &place, "", ""),
        (Rule::Footprint, outside, "as the loader left it", ""),
    ]);
    let first = ALIGNED - u64::from(ALIGNMENT) + 3;
    let address = judgement.findings[1].address.unwrap();
    assert!((first..first + 4).contains(&address), "{}", hex(address));
}

fn no_distance() {
    let outside = "RAM outside the permitted memory";
    Bug::new(&["BUG_NO_DISTANCE"], MIB).says(&[(
        Rule::Footprint,
        outside,
        "as the loader left it",
        "",
    )]);
    Bug::new(&["BUG_NO_DISTANCE"], ALIGNED).is_harmless();
}

/// Who adds nothing changes nothing: no rule may ask for the test.
fn harmless() {
    for load in [MIB, ALIGNED] {
        Bug::new(&["HARMLESS_NO_DISTANCE"], load).is_harmless();
    }
}
