// SPDX-License-Identifier: GPL-2.0-only
//! Memory maps: an ordinary PC's, and what firmware and loaders make of one.

use super::dice::Dice;
use super::{FOUR_GIB, GIB, MIB, Space};
use crate::case::memory::ram;
use crate::case::{Case, FIRST_MEGABYTE, MAX_E820_ENTRIES, MemoryEntry, MemoryKind, objects};
use crate::machine::PAGE;
use crate::range::Range;

use super::room::Room;

/// `MAXMEM` with four levels of page tables: nothing above can be used.
const FOUR_LEVELS_END: u64 = 1 << 46;

/// A PC's memory map with RAM wherever the kernel will lie, and some more.
pub fn memory(space: &Space, load: u64, alignment: u64, dice: &mut Dice) -> Vec<MemoryEntry> {
    let entry = |start, end, kind| MemoryEntry { start, end, kind };
    let spare = dice.below(24);
    let window = space.window(load, alignment);
    let needed = (load + space.init_size).max(window.end).next_multiple_of(2 * MIB);
    let top = |end: u64| (end + spare * 64 * MIB).min(FOUR_GIB).max(end);
    let mut entries = vec![
        entry(0, 0x9_fc00, MemoryKind::Usable),
        entry(0x9_fc00, 0xa_0000, MemoryKind::Reserved),
        entry(0xf_0000, MIB, MemoryKind::Reserved),
    ];
    let lowest_kernel = space.pref_address + space.init_size;
    if needed <= FOUR_GIB {
        entries.push(entry(MIB, top(needed), MemoryKind::Usable));
    } else {
        entries.push(entry(MIB, top(lowest_kernel.next_multiple_of(2 * MIB)), MemoryKind::Usable));
        let start = load.min(FOUR_GIB.max(load & !(GIB - 1)));
        entries.push(entry(start, needed + spare * 64 * MIB, MemoryKind::Usable));
    }
    entries
}

/// Where neither image nor kernel nor loader have anything.
pub fn room(space: &Space, case: &Case) -> Room {
    let ram = ram(&case.memory, std::iter::empty()).unwrap_or_default();
    Room::new(&ram, &taken(space, case))
}

fn taken(space: &Space, case: &Case) -> Vec<Range> {
    let alignment = case.kernel_alignment.unwrap_or(space.kernel_alignment);
    let size = case.init_size.unwrap_or(space.init_size);
    let window = Range::sized(space.window(case.load, alignment).start, size);
    let mut taken = vec![
        Range::new(0, 0x1000),
        Range::new(0x9_0000, FIRST_MEGABYTE.end),
        Range::sized(case.load, size.max(space.file)),
        window,
        // Page tables grow with RAM.
        Range::sized(case.places.page_tables, 64 * PAGE),
    ];
    taken.extend(objects(case).iter().map(|object| object.range));
    taken
}

/// Cuts the map up: holes, reserved and ACPI entries, neighbours, overlaps, entries too small for anything.
pub fn fragment(space: &Space, case: &mut Case, dice: &mut Dice) {
    let mut room = room(space, case);
    for _ in 0..dice.below(6) {
        let size = dice.of(&[PAGE, 2 * MIB, 16 * MIB, 64 * MIB + PAGE, 300 * MIB]);
        let bounds = Range::new(FIRST_MEGABYTE.end, FOUR_GIB);
        let Some(cut) = room.find(dice, size, PAGE, bounds) else { continue };
        let kind = dice.of(&[
            MemoryKind::Reserved,
            MemoryKind::Unlisted,
            MemoryKind::Acpi,
            MemoryKind::Nvs,
            MemoryKind::Unusable,
            MemoryKind::Pmem,
        ]);
        cut_out(&mut case.memory, cut);
        case.memory.push(MemoryEntry { start: cut.start, end: cut.end, kind });
    }
    case.memory.sort_by_key(|entry| entry.start);
    if dice.once_in(3) {
        split(&mut case.memory, dice);
    }
    if dice.once_in(4) {
        // A first entry that is good for nothing.
        cut_out(&mut case.memory, Range::new(PAGE, 0x9_fc00));
    }
    if space.above_4g && dice.once_in(3) {
        let start = dice.of(&[4 * GIB, 5 * GIB + PAGE, FOUR_LEVELS_END, FOUR_LEVELS_END - GIB]);
        let free = case.memory.iter().all(|e| !e.range().overlaps(Range::sized(start, 2 * GIB)));
        if free {
            case.memory.push(MemoryEntry::usable(start, start + 2 * GIB));
        }
    }
    if dice.once_in(4) {
        crowd(&mut case.memory, dice);
    }
    if dice.once_in(8) {
        // A loader that tells nothing.
        case.memory.retain(|entry| entry.kind == MemoryKind::Usable);
        case.memory.iter_mut().for_each(|entry| entry.kind = MemoryKind::Unlisted);
    }
    if dice.once_in(4) {
        let shift = dice.below(case.memory.len().max(1) as u64) as usize;
        case.memory.rotate_left(shift);
    }
}

/// Removes `cut` from what is usable.
fn cut_out(memory: &mut Vec<MemoryEntry>, cut: Range) {
    let mut rest = Vec::new();
    for entry in memory.drain(..) {
        if entry.kind != MemoryKind::Usable || !entry.range().overlaps(cut) {
            rest.push(entry);
            continue;
        }
        for (start, end) in [(entry.start, cut.start), (cut.end, entry.end)] {
            if start < end {
                rest.push(MemoryEntry::usable(start, end));
            }
        }
    }
    *memory = rest;
}

/// Makes the pages of `own` an entry of their own.
pub fn set_apart(memory: &mut Vec<MemoryEntry>, own: Range, kind: MemoryKind) {
    let whole = Range::new(own.start & !(PAGE - 1), own.end.next_multiple_of(PAGE));
    cut_out(memory, whole);
    memory.push(MemoryEntry { start: whole.start, end: whole.end, kind });
    memory.sort_by_key(|entry| entry.start);
}

/// Tells one large entry as two that touch, or that overlap by some pages.
fn split(memory: &mut Vec<MemoryEntry>, dice: &mut Dice) {
    let Some(index) = memory
        .iter()
        .position(|entry| entry.kind == MemoryKind::Usable && entry.range().len() > 16 * MIB)
    else {
        return;
    };
    let MemoryEntry { start, end, .. } = memory[index];
    let middle = start + (1 + dice.below((end - start) / PAGE - 1)) * PAGE;
    let overlap = dice.of(&[0, PAGE, 4 * MIB]).min(end - middle);
    memory[index].end = middle + overlap;
    memory.insert(index + 1, MemoryEntry::usable(middle, end));
}

/// Fills the table with small reserved entries, up to the last one.
fn crowd(memory: &mut Vec<MemoryEntry>, dice: &mut Dice) {
    let free = MAX_E820_ENTRIES.saturating_sub(memory.len()) as u64;
    let count = dice.of(&[8, free.min(100), free]).min(free);
    for i in 0..count {
        let start = (0xfe << 24) + i * 2 * PAGE;
        memory.push(MemoryEntry { start, end: start + PAGE, kind: MemoryKind::Reserved });
    }
}

/// Regions just as large as KASLR needs, or a page less, or a page more; nothing else is usable but what
/// the kernel needs at once.
pub fn tighten(space: &Space, case: &mut Case, dice: &mut Dice) {
    let alignment = case.kernel_alignment.unwrap_or(space.kernel_alignment);
    let window = space.window(case.load, alignment);
    let stub = Range::sized(case.load, space.init_size.max(space.file));
    let mut memory = vec![MemoryEntry::usable(0, 0x9_fc00)];
    let around = Range::new(window.start.min(stub.start), window.end.max(stub.end));
    if window.overlaps(stub) || around.len() < GIB {
        memory.push(MemoryEntry::usable(around.start, around.end));
    } else {
        memory.extend([stub, window].map(|range| MemoryEntry::usable(range.start, range.end)));
    }
    let mut next = around.end.next_multiple_of(space.kernel_alignment) + space.kernel_alignment;
    // Where KASLR chooses from little, regions far from each other would be out of its reach.
    let gap = space.kernel_alignment * if space.randomized_end() < GIB { 1 } else { 16 };
    for _ in 0..1 + dice.below(5) {
        let slack = dice.of(&[0, PAGE, space.kernel_alignment, space.kernel_alignment - PAGE]);
        let less = dice.of(&[0, PAGE, 1]);
        let offset = dice.of(&[0, PAGE, space.kernel_alignment - PAGE]);
        // An offset costs the slots that begin before it, unless the region has room for one more.
        let extra =
            if offset == 0 || dice.once_in(2) { 0 } else { space.kernel_alignment - offset };
        let start = next + offset;
        let end = start + extra + space.needed + slack - less;
        if end > space.highest_memory(case) {
            break;
        }
        memory.push(MemoryEntry::usable(start, end));
        next = end.next_multiple_of(space.kernel_alignment) + gap;
    }
    case.memory = memory;
}

/// More regions than a stub keeps (`MAX_SLOT_AREA`, arch/x86/boot/compressed/kaslr.c), each with room for one place of the
/// kernel or two; none, if the kernel is too large for so many.
pub fn multiply(space: &Space, case: &mut Case) {
    const MANY: u64 = 112;
    let end = case.memory.iter().map(|entry| entry.end).max().unwrap_or(GIB);
    let start = end.next_multiple_of(space.kernel_alignment);
    let size = space.needed.next_multiple_of(space.kernel_alignment);
    let distance = size + 2 * space.kernel_alignment;
    let highest = space.highest_memory(case).min(space.randomized_end());
    if start + MANY * distance > highest {
        return;
    }
    case.memory.extend((0..MANY).map(|i| {
        let start = start + i * distance;
        MemoryEntry::usable(start, start + size + i % 2 * space.kernel_alignment)
    }));
}

impl Space {
    /// What the entry protocol of `case` can name.
    fn highest_memory(&self, case: &Case) -> u64 {
        match (self.above_4g, case.load >= FOUR_GIB) {
            (true, true) => case.load + 64 * GIB,
            (true, false) => 64 * GIB,
            (false, _) => FOUR_GIB,
        }
    }
}
