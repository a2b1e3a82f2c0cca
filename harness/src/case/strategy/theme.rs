// SPDX-License-Identifier: GPL-2.0-only
//! Themes: each makes one side of a case unusual, so that what goes wrong has few possible causes.

use super::dice::Dice;
use super::layout::{fragment, multiply, room, tighten};
use super::room::Room;
use super::words::{About, command_line};
use super::{FOUR_GIB, GIB, MIB, Space, acpi, cpu, firmware, spread};
use crate::case::contract::COMMAND_LINE_SIZE;
use crate::case::{
    Case, FIRST_MEGABYTE, MAX_E820_ENTRIES, MemoryEntry, MemoryKind, Protocol, SETUP_DATA_HEADER,
    SetupData, SetupDataKind, Span,
};
use crate::image::WordSize;
use crate::machine::PAGE;
use crate::range::Range;

/// One side of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Nothing but address and memory.
    Plain,
    /// A memory map with holes, neighbours, overlaps, and memory that cannot be used.
    Fragments,
    /// What the stub reads on the command line.
    CommandLine,
    /// An initrd somewhere.
    Initrd,
    /// RDRAND and the time-stamp counter.
    Entropy,
    /// Regions just as large as KASLR needs, or just not.
    Tight,
    /// A chain of setup_data.
    SetupData,
    /// EFI's memory map.
    Efi,
    /// Five levels of page tables, wanted or not.
    FiveLevels,
    /// What the boot protocol leaves open of the CPU's state.
    Entry,
    /// Something of the loader's in the only place where the kernel would fit.
    Gap,
    /// ACPI's tables, which say what memory can be unplugged.
    Acpi,
    /// boot_params with a sentinel, and garbage behind it.
    Sentinel,
    /// The loader's structures in other places, header fields that a loader may change.
    Places,
}

/// Where a 32-bit loader, and most others, put things.
pub const LOW: Range = Range { start: 0x1000, end: FOUR_GIB };
const ANYWHERE: Range = Range { start: 0x1000, end: 1 << 46 };

impl Theme {
    /// All themes, in the order in which they are visited.
    pub const ALL: [Theme; 14] = [
        Theme::Plain,
        Theme::Fragments,
        Theme::CommandLine,
        Theme::Initrd,
        Theme::Entropy,
        Theme::Tight,
        Theme::SetupData,
        Theme::Efi,
        Theme::FiveLevels,
        Theme::Entry,
        Theme::Gap,
        Theme::Acpi,
        Theme::Sentinel,
        Theme::Places,
    ];

    /// Whether it puts something in KASLR's way, for which there has to be a way.
    pub fn needs_room(self) -> bool {
        matches!(self, Theme::CommandLine | Theme::SetupData | Theme::Gap | Theme::Acpi)
    }

    /// Makes `case` one of this theme, which comes up for the `round`th time.
    pub fn apply(self, space: &Space, mut case: Case, round: usize, dice: &mut Dice) -> Case {
        // Every second round has KASLR.
        let turn = round / 2;
        match self {
            Theme::Plain => {}
            Theme::Fragments => fragment(space, &mut case, dice),
            Theme::CommandLine => words(space, &mut case, round, dice),
            Theme::Initrd => initrd(space, &mut case, dice),
            Theme::Entropy => {
                case.cpu = cpu::entropy(dice);
                case.devices.timer_not_ready = dice.of(&[0, 1, 2]);
            }
            Theme::Tight => {
                tighten(space, &mut case, dice);
                // Rounds with KASLR, as this theme meets it.
                if round % 8 == 3 {
                    multiply(space, &mut case);
                }
            }
            Theme::SetupData => setup_data(space, &mut case, dice),
            Theme::Efi => {
                if turn % 4 == 2 {
                    sentinel(&mut case, dice);
                }
                firmware::efi(space, &mut case, turn, dice);
            }
            Theme::FiveLevels => cpu::five_levels(space, &mut case, round, dice),
            Theme::Entry => cpu::entry(&mut case, turn, dice),
            Theme::Gap => gap(space, &mut case, turn, dice),
            Theme::Acpi => acpi::legacy(space, &mut case, turn, dice),
            Theme::Sentinel => {
                sentinel(&mut case, dice);
                initrd(space, &mut case, dice);
            }
            Theme::Places => places(space, &mut case, dice),
        }
        self.and_another(space, &mut case, round, dice);
        case
    }

    /// About every fourth case has a second side, where two together may go wrong although each of them does not.
    fn and_another(self, space: &Space, case: &mut Case, round: usize, dice: &mut Dice) {
        // Each piece that is set apart takes up to two entries of the memory map.
        const ROOM: usize = 16;
        if case.memory.len() + ROOM > MAX_E820_ENTRIES {
            return;
        }
        let turn = round / 2;
        match (self, turn % 4) {
            (Theme::FiveLevels, _) if turn % 3 == 1 => {
                // With EFI, nothing in the BIOS's data means anything.
                case.bios.ebda_segment = dice.of(&[0x8000, 0x2001, 0xf000]);
                case.bios.lower_memory_kib = dice.of(&[512, 127, 640]);
                firmware::efi(space, case, turn / 3, dice);
            }
            (Theme::Fragments | Theme::Initrd | Theme::Tight | Theme::Sentinel, 1) => {
                firmware::efi(space, case, turn / 4, dice);
            }
            (Theme::Fragments | Theme::SetupData | Theme::Places | Theme::Sentinel, 3) => {
                acpi::legacy(space, case, turn / 4, dice);
            }
            (Theme::Acpi, 3) => sentinel(case, dice),
            (Theme::Entry, 1) => cpu::five_levels(space, case, round, dice),
            (Theme::Gap, 2) => case.cpu = cpu::entropy(dice),
            _ => {}
        }
    }
}

/// What the stub can reach: a 32-bit kernel nothing above 4 GiB. With KASLR it is what that chooses from, since nothing
/// is in its way elsewhere.
pub fn reach(space: &Space, case: &Case) -> Range {
    match space.word {
        WordSize::Bits64 if case.protocol == Protocol::Bits64 && case.sentinel.is_none() => {
            ANYWHERE
        }
        WordSize::Bits32 if case.asks_for_kaslr() => Range { end: space.randomized_end(), ..LOW },
        _ => LOW,
    }
}

/// The memory that KASLR may choose from, where nothing else is in its way: from where the kernel would go without it on, or from
/// 512 MiB on if that is lower (`choose_random_location()`, arch/x86/boot/compressed/kaslr.c).
fn randomized(space: &Space, case: &Case) -> Vec<Range> {
    let output = space.window(case.load, space.kernel_alignment).start;
    let within = Range { start: output.min(512 * MIB), end: space.randomized_end() };
    let usable = case.memory.iter().filter(|entry| entry.kind == MemoryKind::Usable);
    usable
        .map(|entry| Range { start: entry.start.max(within.start), end: entry.end.min(within.end) })
        .filter(|range| range.start < range.end)
        .collect()
}

fn words(space: &Space, case: &mut Case, round: usize, dice: &mut Dice) {
    let turn = round / 2;
    let base = case.command_line.take().unwrap_or_default();
    let large_pages = space.above_4g && turn % 4 < 2;
    if large_pages {
        case.memory.push(MemoryEntry::usable(FOUR_GIB, FOUR_GIB + 6 * GIB));
    }
    let usable = randomized(space, case);
    let about = About { space, base: &base, usable: &usable, large_pages };
    case.command_line = match round % 8 {
        1 => None,
        5 => Some(String::new()),
        _ => Some(command_line(&about, turn, dice)),
    };
    // Without the word for the serial port only the screen shows why a stub stops.
    case.screen |= !case.has_console();
}

fn sentinel(case: &mut Case, dice: &mut Dice) {
    case.sentinel = Some(dice.any());
    case.cc_blob_address = Some(garbage(dice));
}

/// 32 bits that are not zero.
pub fn garbage(dice: &mut Dice) -> u64 {
    dice.below(1 << 32) | 1
}

fn initrd(space: &Space, case: &mut Case, dice: &mut Dice) {
    let bounds = Range { start: FIRST_MEGABYTE.end, ..reach(space, case) };
    let size = dice.of(&[PAGE, 5 * MIB + 123, 32 * MIB, 64 * MIB + 1]);
    let mut room = room(space, case);
    let found = if dice.once_in(2) {
        room.highest(size, PAGE, bounds)
    } else {
        room.find(dice, size, PAGE, bounds)
    };
    case.initrd = found.map(|range| Span { start: range.start, end: range.end });
}

fn setup_data(space: &Space, case: &mut Case, dice: &mut Dice) {
    let mut room = room(space, case);
    chain(space, case, &mut room, dice, None);
    // The page tables that a stub makes for the 32-bit entry map it anyway.
    if case.protocol == Protocol::Bits64 || dice.once_in(2) {
        spread::node_across(space, case, dice);
    }
}

/// Adds nodes; the payload of an indirect one lies in `payload` if that is given.
fn chain(
    space: &Space,
    case: &mut Case,
    room: &mut Room,
    dice: &mut Dice,
    mut payload: Option<Range>,
) {
    let bounds = reach(space, case);
    for _ in 0..1 + dice.below(4) {
        let kind = dice.of(&[
            SetupDataKind::RngSeed,
            SetupDataKind::Indirect,
            SetupDataKind::Indirect,
            SetupDataKind::Dtb,
            SetupDataKind::E820Ext,
            SetupDataKind::Pci,
            SetupDataKind::KexecKho,
        ]);
        let kind = if payload.is_some() { SetupDataKind::Indirect } else { kind };
        let areas = if kind == SetupDataKind::KexecKho { 1 + dice.below(3) } else { 0 };
        let len = match kind {
            SetupDataKind::Indirect => 24,
            SetupDataKind::KexecKho => 32 + 16 * areas as u32,
            _ => dice.of(&[32, 4080, 0x1_2345]),
        };
        let unit = dice.of(&[16, PAGE]);
        let Some(at) = room.find(dice, SETUP_DATA_HEADER + u64::from(len), unit, bounds) else {
            break;
        };
        let mut points_to = Vec::new();
        if kind == SetupDataKind::Indirect {
            let size = dice.of(&[0x100, 2 * MIB + 8]);
            // Where kernels go: so it is in their way.
            let above = Range { start: space.pref_address, ..bounds };
            let target = payload.take().or_else(|| room.find(dice, size, unit, above));
            let Some(target) = target else { break };
            points_to.push(Span { start: target.start, end: target.end });
        }
        for _ in 0..areas {
            let size = dice.of(&[space.needed, space.needed + 8 * space.kernel_alignment, 2 * MIB]);
            let area = room.find(dice, size, 2 * MIB, bounds);
            points_to.extend(area.map(|area| Span { start: area.start, end: area.end }));
        }
        case.setup_data.push(SetupData { address: at.start, kind, len, points_to });
    }
}

/// One more region, in which the kernel would fit but for what the loader put there: something else in each turn.
fn gap(space: &Space, case: &mut Case, turn: usize, dice: &mut Dice) {
    tighten(space, case, dice);
    let end = case.memory.iter().map(|entry| entry.end).max().unwrap_or(GIB);
    let away = if space.randomized_end() < GIB { PAGE } else { GIB / 2 };
    let start = (end + away).next_multiple_of(space.kernel_alignment.max(2 * MIB));
    let bounds = reach(space, case);
    let region = Range::sized(start, 2 * space.needed + 4 * space.kernel_alignment);
    if region.end > bounds.end {
        return;
    }
    case.memory.push(MemoryEntry::usable(region.start, region.end));
    // Before it, behind it, or on neither side there is room for one slot.
    let places = [
        region.start + space.needed,
        region.start + space.needed - PAGE,
        region.end - space.needed - PAGE,
        region.start + space.needed / 2,
    ];
    let at = places[turn % places.len()];
    let at = (at & !(PAGE - 1)).max(region.start);
    let object = Range::sized(at, dice.of(&[PAGE, 3 * PAGE]));
    let mut room = room(space, case);
    room.take(object);
    match turn % 7 {
        0 => case.initrd = Some(Span { start: object.start, end: object.end }),
        1 => {
            let len = (object.len() - SETUP_DATA_HEADER) as u32;
            let kind = SetupDataKind::RngSeed;
            let points_to = Vec::new();
            case.setup_data.push(SetupData { address: object.start, kind, len, points_to });
        }
        2 => chain(space, case, &mut room, dice, Some(object)),
        3 => case.places.boot_params = object.start,
        which if case.protocol == Protocol::Bits32 || space.word == WordSize::Bits64 => {
            let len = case.command_line.as_ref().map_or(0, String::len) as u64;
            let slot = (region.start + space.needed).next_multiple_of(space.kernel_alignment);
            // The NUL is the last byte before a place for the kernel, or its first one.
            case.places.command_line = [object.start, slot - len - 1, slot - len][which - 4];
        }
        _ => {}
    }
}

fn places(space: &Space, case: &mut Case, dice: &mut Dice) {
    if dice.once_in(2) {
        let mut larger = space.init_size.next_multiple_of(PAGE) + (1 + dice.below(8192)) * PAGE;
        if dice.once_in(2) {
            // The last bytes of the decompressor lie where KASLR could put a kernel.
            larger = larger.next_multiple_of(space.kernel_alignment) + PAGE;
        }
        let fits =
            larger <= u32::MAX.into() && (case.load + larger <= FOUR_GIB || case.load >= FOUR_GIB);
        case.init_size = (fits && space.adjustable).then_some(larger);
    }
    if dice.once_in(2) && case.load < GIB && space.adjustable {
        case.kernel_alignment = Some(space.kernel_alignment << dice.below(4));
    }
    let alignment = case.kernel_alignment.unwrap_or(space.kernel_alignment);
    let size = case.init_size.unwrap_or(space.init_size);
    let end = space.window(case.load, alignment).start + size;
    let end = end.max(case.load + size).next_multiple_of(PAGE);
    if case.memory.iter().all(|entry| entry.end < end) {
        let last = case.memory.iter_mut().max_by_key(|entry| entry.end).expect("a PC has memory");
        last.end = end;
    }
    if space.above_4g && case.protocol == Protocol::Bits64 && dice.once_in(2) {
        let start = case.memory.iter().map(|e| e.end).max().unwrap_or(0).max(FOUR_GIB);
        let start = start.next_multiple_of(GIB);
        case.memory.push(MemoryEntry::usable(start, start + GIB));
    }
    let mut room = room(space, case);
    let bounds = reach(space, case);
    for (size, unit, place) in [
        (PAGE, PAGE, &mut case.places.boot_params),
        (COMMAND_LINE_SIZE as u64, 1, &mut case.places.command_line),
        (256, 8, &mut case.places.gdt),
    ] {
        // The boot protocol has 32 bits for boot_params, unless it is entered at 64.
        if let Some(found) = room.find(dice, size, unit, bounds) {
            *place = found.start;
        }
    }
    initrd(space, case, dice);
    if dice.once_in(2) {
        spread::across(space, case, dice);
    } else if case.protocol == Protocol::Bits64 && space.above_4g {
        spread::scatter(space, case, dice);
    }
}
