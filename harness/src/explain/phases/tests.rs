// SPDX-License-Identifier: GPL-2.0-only
//! A stub of sixty bytes that has all phases.

use super::*;
use crate::machine::testing::{LOAD, setup};
use crate::machine::{End, Setup, UnicornEngine};

/// mov $0x200000, %esi; mov $0x300000, %edi; mov $0x2000, %ecx; rep movsb; mov $0x300020, %eax; jmp *%eax
const COPY: &[u8] = b"\xbe\0\0\x20\0\xbf\0\0\x30\0\xb9\0\x20\0\0\xf3\xa4\xb8\x20\0\x30\0\xff\xe0";
/// movb $1, 0x10ffff; jmp 1f; 1:
const DECOMPRESS: &[u8] = b"\xc6\x05\xff\xff\x10\0\x01\xeb\0";
/// movb $2, 0x100000; movb $2, 0x108000; jmp 1f; 1:
const MOVE: &[u8] = b"\xc6\x05\0\0\x10\0\x02\xc6\x05\0\x80\x10\0\x02\xeb\0";
/// movb $3, 0x100010; jmp 1f; 1:
const RELOCATE: &[u8] = b"\xc6\x05\x10\0\x10\0\x03\xeb\0";
const HLT: &[u8] = b"\xf4";

fn cells() -> Cells {
    let byte = |address| Range::sized(address, 1);
    Cells {
        decompressed: Some(byte(0x10_ffff)),
        moved: Some((byte(0x10_0000), byte(0x10_8000))),
        fields: vec![Range::sized(0x10_0010, 4)],
    }
}

/// Runs a stub that copies itself, and then does all of these.
fn phases(steps: &[&[u8]]) -> Phases {
    let mut code = COPY.to_vec();
    code.resize(0x20, 0x90);
    code.extend(steps.concat());
    let setup = Setup { budget: 100_000, ..setup(&code) };
    let recorder = Recorder::new(&setup, cells(), |_| {});
    let interest = Recorder::interest(&cells());
    let (outcome, recorder) =
        UnicornEngine::new().observe_once(&setup, &interest, recorder).unwrap();
    assert_eq!(outcome.end, End::Halted);
    recorder.finish(&outcome)
}

fn pages(start: u64, count: u64) -> Range {
    Range::sized(start, count * 0x1000)
}

#[test]
fn each_phase_has_what_it_changed() {
    let phases = phases(&[DECOMPRESS, MOVE, RELOCATE, HLT]);
    let changed: Vec<&[Range]> = phases.records.iter().map(|record| &record.changed[..]).collect();
    assert_eq!(
        changed,
        [
            &[pages(0x3_0000, 1), pages(LOAD, 2)][..],
            &[pages(0x30_0000, 2)],
            &[pages(0x10_f000, 1)],
            &[pages(0x10_0000, 1), pages(0x10_8000, 1)],
            &[pages(0x10_0000, 1)],
            &[],
        ]
    );
    let blocks: Vec<u64> = phases.records.iter().map(|record| record.blocks.unwrap()).collect();
    assert!(blocks.is_sorted() && blocks[0] == 0, "{blocks:?}");
    assert_eq!(phases.copy, Some((0x30_0000, pages(0x30_0000, 2))));
}

#[test]
fn a_phase_that_never_was_is_none() {
    let never = |phases: &Phases| -> Vec<Phase> {
        let records = phases.records.iter().filter(|record| record.blocks.is_none());
        records.map(|record| record.phase).collect()
    };
    let only_copied = phases(&[HLT]);
    assert_eq!(never(&only_copied), [Phase::Decompressed, Phase::Moved, Phase::Relocated]);
    // Relocation before the segments have moved is none.
    let unmoved = phases(&[DECOMPRESS, RELOCATE, HLT]);
    assert_eq!(never(&unmoved), [Phase::Moved, Phase::Relocated]);
    let unrelocated = phases(&[DECOMPRESS, MOVE, HLT]);
    assert_eq!(never(&unrelocated), [Phase::Relocated]);
    // The end of the output is written again before the first segment moves.
    let again = phases(&[DECOMPRESS, DECOMPRESS, MOVE, RELOCATE, HLT]);
    assert_eq!(never(&again), []);
}
