// SPDX-License-Identifier: GPL-2.0-only
//! The instruction that was damaged is blamed, by the right name, for the right place in the kernel.

use relocheck::image::{RelocKind, WordSize};
use relocheck::record::{Blame, Site};

use crate::built::{Built, Test, names, section};
use crate::common::blame::{By, blamed};
use crate::common::rebuild::{find_in_stub, pattern};

pub const TESTS: &[Test] = &[
    ("a_subtraction_is_blamed_by_name", subtraction),
    ("an_addition_that_is_left_out_is_missed", left_out),
    ("an_invalid_instruction_is_blamed_by_name", invalid),
];

const ADD: u8 = 0x01;
const SUB: u8 = 0x29;
const NOP: u8 = 0x90;

fn subtraction(built: &Built) {
    let at = built.first_addition();
    assert_eq!(built.open().protected_mode()[at], ADD);
    let blamed = blamed(&built.patched(at, &[SUB]), &built.case(), &built.files);
    blamed.names_change(0, By::Store("sub %"), &built.open());
    let last = blamed.blame[0].stores.last().unwrap();
    assert_eq!(last.site.offset, Some(at as u64));
    assert_named(built, &last.site);
    assert_place(built, &blamed.blame[0]);
    // What was there before is what was decompressed, and moved to its place.
    assert!(last.times == 1 && blamed.blame[0].stores.len() > 1, "{:#?}", blamed.blame[0]);
}

fn left_out(built: &Built) {
    let at = built.first_addition();
    let blamed = blamed(&built.patched(at, &[NOP, NOP]), &built.case(), &built.files);
    let finding = blamed.judgement.findings.iter().position(|f| f.place.contains("32-bit entry"));
    let finding = finding.expect("a field that was not relocated");
    blamed.names(finding, By::Nobody);
    assert_place(built, &blamed.blame[finding]);
}

/// `ud2` for the jump to the kernel.
fn invalid(built: &Built) {
    let jump = match built.word() {
        WordSize::Bits32 => "31 db ff e0",
        WordSize::Bits64 => "4c 89 fe ff e0 f4 eb fd",
    };
    let at = find_in_stub(&built.open(), &pattern(jump)).unwrap();
    let blamed = blamed(&built.patched(at, &[0x0f, 0x0b]), &built.case(), &built.files);
    blamed.names_change(0, By::Instruction("ud2"), &built.open());
}

/// The function is one that the stub's ELF file has there.
fn assert_named(built: &Built, site: &Site) {
    let known = names(built.stub(), site.offset.unwrap());
    let function = site.function.as_ref().expect("the stub has symbols");
    assert!(known.contains(function), "{function} is not among {known:?}");
}

/// The place in the kernel is called as vmlinux does, and its entry is where the table has it.
fn assert_place(built: &Built, blame: &Blame) {
    let place = blame.place.as_ref().expect("a place in the kernel");
    let known = names(built.vmlinux(), place.address);
    match &place.symbol {
        Some(symbol) if !known.is_empty() => {
            assert!(known.contains(symbol), "{symbol} is not among {known:?}");
        }
        symbol => assert!(known.is_empty(), "{symbol:?}, but {known:?} reach {:#x}", place.address),
    }
    assert_eq!(place.section, section(built.vmlinux(), place.address));
    let entry = place.entry.as_ref().expect("a field");
    let kinds = [RelocKind::Abs32, RelocKind::Inverse32, RelocKind::Abs64];
    let kind = kinds.into_iter().find(|kind| kind.to_string() == entry.kind).unwrap();
    let table = built.open().kernel().unwrap().table;
    assert_eq!(u64::from(table.entries(kind)[entry.index]), entry.value);
    assert_eq!(table.entries(kind).len(), entry.of);
    let distance = place.address.wrapping_sub(entry.value) as u32;
    assert!((distance as usize) < kind.width(), "{place:?}");
}
