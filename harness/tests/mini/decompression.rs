// SPDX-License-Identifier: GPL-2.0-only
//! Stubs that do not get their kernel out of the compressed data as it was, or its segments to where they belong.

use relocheck::oracle::Rule;

use crate::Test;
use crate::bench::{ALIGNED, Bug, MIB};
use crate::common::says::said;
use crate::gzip::Packing;
use crate::image::Generation;

pub const TESTS: &[Test] = &[
    ("decompression::bss_that_is_not_cleared_shows", stale_bss),
    ("decompression::a_buffer_without_margin_overruns_its_input", no_margin),
    ("decompression::a_copy_that_is_too_short_halts", short_copy),
    ("decompression::a_stub_that_stays_where_it_was_overwrites_itself", old_copy),
    ("decompression::segments_that_are_moved_backwards_are_found", backward),
    ("decompression::a_segment_that_is_not_moved_is_found", first_segment),
    ("decompression::clearing_the_kernels_bss_loses_the_table", clears),
];

const STOPS: &str = "the jump into the kernel";

fn stale_bss() {
    Bug::new(&["BUG_BSS"], ALIGNED).says(&[(Rule::Halt, "stub+0x", STOPS, "stopped: ")]);
}

/// Only compressed data that is longer than what it becomes, at its end, lets the output catch up with it.
fn no_margin() {
    let swelling = Packing::Swelling(2048);
    let bug = Bug { packing: swelling, ..Bug::new(&["BUG_MARGIN"], ALIGNED) };
    bug.says(&[(Rule::Halt, "stub+0x", STOPS, "stopped: ")]);
    Bug::new(&["BUG_MARGIN"], ALIGNED).is_harmless();
}

fn short_copy() {
    Bug::new(&["BUG_COPY"], ALIGNED).says(&[(Rule::Halt, "stub+0x", STOPS, "stopped: ")]);
}

/// What it clears is the bss of the copy. Whether code that is overwritten stops or faults hangs on where the compiler put it.
fn old_copy() {
    for load in [ALIGNED, ALIGNED - MIB / 2] {
        let judgement = Bug::new(&["BUG_OLD_COPY"], load).judge();
        let [finding] = &judgement.findings[..] else { panic!("{}", said(&judgement)) };
        assert!([Rule::Halt, Rule::Fault].contains(&finding.rule), "{finding}");
        assert!(finding.place.starts_with("stub+0x"), "{finding}");
    }
}

fn elf(bugs: &'static [&'static str]) -> Bug<'static> {
    Bug { generation: Generation::V2_6_26, ..Bug::new(bugs, ALIGNED) }
}

/// Both segments move down by less than their length.
fn backward() {
    let judgement = elf(&["BUG_BACKWARD"]).breaks(Rule::Memory, "segment 0 (rwx) 0xc01");
    assert_eq!(judgement.findings.len(), 2, "{:?}", judgement.findings);
}

fn first_segment() {
    let judgement = elf(&["BUG_FIRST_SEGMENT"]).breaks(Rule::Memory, "segment 1 (rwx) 0xc0103000");
    assert_eq!(judgement.findings.len(), 1, "{:?}", judgement.findings);
}

/// Nothing is relocated then, for the table lies where the kernel's bss will be.
fn clears() {
    let first = Generation::V2_6_26.kernel().entries[0];
    let place = format!("field of the 32-bit entry {first:#x}");
    let judgement = elf(&["BUG_CLEARS"]).judge();
    let places: Vec<_> =
        judgement.findings.iter().map(|found| (found.rule, &found.place)).collect();
    assert!(places.iter().all(|(rule, _)| *rule == Rule::Memory), "{places:?}");
    assert!(places.iter().any(|(_, found)| found.contains(&place)), "{places:?}");
    assert!(places.iter().any(|(_, found)| found.contains("gap at output+")), "{places:?}");
}
