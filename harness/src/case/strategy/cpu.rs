// SPDX-License-Identifier: GPL-2.0-only
//! The CPU as the stub finds it: sources of random numbers, levels of page tables, and what the boot protocol leaves open.

use super::dice::Dice;
use super::theme::garbage;
use super::{GIB, Space};
use crate::case::{
    Case, CpuFeatures, EntryState, FIRST_MEGABYTE, GdtLayout, IdentityMap, MemoryEntry, MemoryKind,
    Protocol,
};
use crate::image::WordSize;
use crate::machine::PAGE;

/// Sources of random numbers, and how well they work.
pub fn entropy(dice: &mut Dice) -> CpuFeatures {
    let values = |dice: &mut Dice| (0..dice.below(4)).map(|_| dice.any()).collect::<Vec<_>>();
    let (rdrand, tsc) = (!dice.once_in(3), !dice.once_in(3));
    CpuFeatures {
        rdrand: rdrand.then(|| values(dice)),
        tsc: tsc.then(|| values(dice)),
        gib_pages: dice.once_in(2),
        // A stub tries ten times.
        rdrand_failures: if rdrand { dice.of(&[0, 9, 1, 10, 15]) } else { 0 },
        ..CpuFeatures::default()
    }
}

/// Five levels of page tables, wanted or not, and little room for the trampoline.
pub fn five_levels(space: &Space, case: &mut Case, round: usize, dice: &mut Dice) {
    if space.word == WordSize::Bits32 {
        return;
    }
    let la57 = round % 8 != 7;
    case.cpu = CpuFeatures { la57, gib_pages: dice.once_in(2), ..case.cpu.clone() };
    // Most stubs have to change the number of levels, and need their trampoline for that: after the 32-bit entry those that
    // want five. Rounds of all kinds have KASLR.
    let wanted = la57
        && match case.protocol {
            Protocol::Bits32 => round % 4 != 2,
            Protocol::Bits64 => (round / 2).is_multiple_of(2),
        };
    if la57 && case.protocol == Protocol::Bits64 {
        let changes = round % 5 != 4;
        case.entry.five_levels = wanted != changes;
        case.entry.ignored_bits = dice.once_in(2);
    }
    if !wanted {
        forbid_five_levels(case, dice);
    }
    if dice.once_in(4) {
        case.bios.ebda_segment = dice.of(&[0x9fc0, 0, 0x8000, 0x2001, 0xf000]);
        case.bios.lower_memory_kib = dice.of(&[639, 0, 512, 127, 640]);
    }
    low_memory(case, round);
    // Every second round has KASLR, which must know how many levels there are: here is what four of them cannot reach.
    if space.above_4g && round.is_multiple_of(2) && (!wanted || dice.once_in(2)) {
        let start = dice.of(&[1u64 << 46, 1 << 48, (1 << 52) - 4 * GIB]);
        case.memory.push(MemoryEntry::usable(start, start + 4 * GIB));
    }
}

/// By a word, or by no command line at all, in which the stub does not find that the word is missing.
fn forbid_five_levels(case: &mut Case, dice: &mut Dice) {
    match &mut case.command_line {
        Some(line) if !dice.once_in(6) => line.push_str(" no5lvl"),
        line => {
            *line = None;
            case.screen = true;
        }
    }
}

/// Memory maps below 640 KiB, where the stub looks for a place for its trampoline. `None` is what most PCs have. The rest, up
/// to the BIOS's own, firmware calls reserved.
const LOW_MEMORY: [Option<&[(u64, u64)]>; 9] = [
    Some(&[(0, 0x9_0000)]),
    None,
    Some(&[(0x1000, 0x2000), (0x5_0000, 0x9_fc00)]),
    Some(&[(0, 0x8_1800)]),
    // What the BIOS leaves of the last entry is too small.
    Some(&[(0, 0x9_0000), (0x9_e000, 0x9_fc00)]),
    Some(&[(0x2000, 0x8_0000), (0x8_0000, 0x8_1000)]),
    Some(&[]),
    Some(&[(0, 0x7_0000), (0x9_e000, 0x9_fc00)]),
    Some(&[(0x1000, 0x2_2000)]),
];

/// Another one of these maps in each round.
fn low_memory(case: &mut Case, round: usize) {
    let Some(ends) = LOW_MEMORY[round % LOW_MEMORY.len()] else { return };
    case.memory
        .retain(|entry| entry.start >= FIRST_MEGABYTE.end || entry.kind != MemoryKind::Usable);
    let low = ends.iter().map(|&(start, end)| MemoryEntry::usable(start, end));
    let end = ends.last().map_or(0, |&(_, end)| end).next_multiple_of(PAGE);
    let reserved = (1..0x9_f000).contains(&end).then_some(MemoryEntry {
        start: end,
        end: 0x9_fc00,
        kind: MemoryKind::Reserved,
    });
    case.memory.splice(0..0, low.chain(reserved));
}

/// What the boot protocol leaves open at the entry.
pub fn entry(case: &mut Case, turn: usize, dice: &mut Dice) {
    case.cc_blob_address = turn.is_multiple_of(3).then(|| garbage(dice));
    case.entry = EntryState {
        direction_flag: dice.once_in(2),
        registers: Some(dice.any()),
        gdt: dice.of(&[GdtLayout::Setup, GdtLayout::Minimal, GdtLayout::Crowded]),
        ..EntryState::default()
    };
    if case.protocol == Protocol::Bits64 {
        case.entry.identity_map = dice.of(&[IdentityMap::Required, IdentityMap::Ram]);
        case.entry.ignored_bits = dice.once_in(2);
        case.cpu.gib_pages = dice.once_in(2);
    }
    case.stale_kaslr_flag = dice.once_in(2);
}
