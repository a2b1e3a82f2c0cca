// SPDX-License-Identifier: GPL-2.0-only
//! Things that lie across borders of what one entry of a page table maps: a stub that maps only where it looks may leave a part
//! of them out.

use super::dice::Dice;
use super::layout::room;
use super::theme::reach;
use super::{GIB, MIB, Space};
use crate::case::contract::COMMAND_LINE_SIZE;
use crate::case::{Case, MemoryEntry, SETUP_DATA_HEADER, SetupData, SetupDataKind};
use crate::machine::PAGE;

const LARGE_PAGE: u64 = 2 * MIB;

/// Puts each thing that a stub maps across a border of 1 GiB, and in 512 GiB of its own: so it needs page tables of its own.
pub fn scatter(space: &Space, case: &mut Case, dice: &mut Dice) {
    const TOP_LEVEL_ENTRY: u64 = 512 * GIB;
    const SPARE: u64 = 4 * MIB;
    let first = case.memory.iter().map(|entry| entry.end).max().unwrap_or(0) / TOP_LEVEL_ENTRY + 1;
    if (first + 8) * TOP_LEVEL_ENTRY > space.randomized_end() {
        return;
    }
    let [load, boot_params, command_line, nodes @ ..]: [u64; 5] =
        std::array::from_fn(|i| (first + i as u64) * TOP_LEVEL_ENTRY + (1 + dice.below(500)) * GIB);
    let size = case.init_size.unwrap_or(space.init_size);
    let alignment = case.kernel_alignment.unwrap_or(space.kernel_alignment);
    case.load = (load - size / 2) & !(alignment - 1);
    let window = case.load..(case.load + 2 * size).next_multiple_of(PAGE);
    case.memory.push(MemoryEntry::usable(window.start, window.end));
    for border in [boot_params, command_line].into_iter().chain(nodes) {
        case.memory.push(MemoryEntry::usable(border - SPARE, border + SPARE));
    }
    case.places.boot_params = boot_params - PAGE / 2;
    case.places.command_line = command_line - 8;
    case.setup_data.extend(nodes.map(|border| SetupData {
        address: border - SETUP_DATA_HEADER,
        kind: SetupDataKind::RngSeed,
        len: PAGE as u32,
        points_to: Vec::new(),
    }));
}

/// Adds a node of setup_data whose data lie in two large pages at least, and whose header may.
pub fn node_across(space: &Space, case: &mut Case, dice: &mut Dice) {
    let mut room = room(space, case);
    let Some(free) = room.find(dice, 3 * LARGE_PAGE, LARGE_PAGE, reach(space, case)) else {
        return;
    };
    let address = free.start + LARGE_PAGE - dice.of(&[PAGE / 2, SETUP_DATA_HEADER, 8]);
    let len = dice.of(&[PAGE as u32, LARGE_PAGE as u32]);
    let node = SetupData { address, kind: SetupDataKind::RngSeed, len, points_to: Vec::new() };
    let turn = dice.below(case.setup_data.len() as u64 + 1) as usize;
    case.setup_data.insert(turn, node);
}

/// Puts boot_params or the command line across a border of 2 MiB: a stub that maps large pages, and only where it looks,
/// may leave the second half of them out.
pub fn across(space: &Space, case: &mut Case, dice: &mut Dice) {
    let mut room = room(space, case);
    let Some(free) = room.find(dice, 2 * LARGE_PAGE, LARGE_PAGE, reach(space, case)) else {
        return;
    };
    let border = free.start + LARGE_PAGE;
    let short = case.command_line.as_ref().is_some_and(|line| line.len() < COMMAND_LINE_SIZE / 2);
    if short && dice.once_in(2) {
        case.places.command_line = border - COMMAND_LINE_SIZE as u64 / 2;
    } else {
        case.places.boot_params = border - PAGE / 2;
    }
}
