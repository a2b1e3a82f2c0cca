// SPDX-License-Identifier: GPL-2.0-only
//! Cases with the addresses and the habits of real loaders.

use super::dice::Dice;
use super::room::Room;
use super::{FOUR_GIB, GIB, MIB, Space};
use crate::case::{
    Case, CpuFeatures, FIRST_MEGABYTE, GdtLayout, Loader, MemoryEntry, MemoryKind, Places,
    Protocol, SetupData, SetupDataKind, Span,
};
use crate::machine::PAGE;
use crate::range::Range;

/// Initrds of these sizes are loaded, in bytes.
const INITRD: [u64; 3] = [8 * MIB, 24 * MIB + 321, 60 * MIB];
/// The page tables of purgatory, kexec's code between two kernels, lie behind it.
const PURGATORY: u64 = 64 * PAGE;
/// kexec-tools' DEFAULT_BZIMAGE_ADDR_MAX and its limit for purgatory.
const BZIMAGE_MAX: u64 = 0x37ff_ffff;
const TWO_GIB: u64 = 2 * GIB;

/// The entry protocol of a loader that has only one.
pub fn protocol(loader: Loader) -> Option<Protocol> {
    match loader {
        Loader::Any => None,
        Loader::Kexec64 | Loader::KexecFile | Loader::Kdump | Loader::Crosvm => {
            Some(Protocol::Bits64)
        }
        Loader::Kexec32
        | Loader::Qemu
        | Loader::CloudHypervisor
        | Loader::Coreboot
        | Loader::Grub => Some(Protocol::Bits32),
    }
}

/// Whether an image with the entry points `available` can be started by `loader`.
pub fn fits(loader: Loader, available: &[Protocol]) -> bool {
    protocol(loader).is_none_or(|protocol| available.contains(&protocol))
}

/// A case that `loader` would make; without any in particular, at the address that the kernel prefers.
pub fn case(space: &Space, loader: Loader, base: Case, dice: &mut Dice) -> Case {
    let protocol = protocol(loader).unwrap_or(space.protocols[0]);
    let base = Case { loader, protocol, ..base };
    match loader {
        Loader::Any => Case {
            load: space.pref_address,
            memory: super::layout::memory(space, space.pref_address, space.kernel_alignment, dice),
            ..base
        },
        Loader::Kexec32 => kexec_32(space, base, dice),
        Loader::Kexec64 => kexec_64(space, base, dice),
        Loader::KexecFile => kexec_file(space, base, dice),
        Loader::Kdump => kdump(space, base, dice),
        Loader::Qemu => qemu(space, base, dice),
        Loader::CloudHypervisor => virtual_machine(space, base, MIB, 0x500, dice),
        Loader::Crosvm => virtual_machine(space, base, 2 * MIB, 0x1500, dice),
        Loader::Coreboot => coreboot(space, base, dice),
        Loader::Grub => grub(space, base, dice),
    }
}

/// A PC of `size` bytes, with the usual hole below 4 GiB.
fn pc(size: u64) -> Vec<MemoryEntry> {
    const HOLE: u64 = 3 * GIB;
    let entry = |start, end, kind| MemoryEntry { start, end, kind };
    let mut memory = vec![
        MemoryEntry::usable(0, 0x9_fc00),
        entry(0x9_fc00, 0xa_0000, MemoryKind::Reserved),
        entry(0xf_0000, MIB, MemoryKind::Reserved),
        MemoryEntry::usable(MIB, size.min(HOLE)),
        entry(0xfeff_c000, 0xff00_0000, MemoryKind::Reserved),
        entry(0xfffc_0000, FOUR_GIB, MemoryKind::Reserved),
    ];
    if size > HOLE {
        memory.push(MemoryEntry::usable(FOUR_GIB, FOUR_GIB + size - HOLE));
    }
    memory
}

fn size(space: &Space, dice: &mut Dice) -> u64 {
    let least = (space.pref_address + 3 * space.init_size).next_multiple_of(256 * MIB) + 256 * MIB;
    (least + dice.below(20) * 256 * MIB).max(GIB)
}

fn usable(memory: &[MemoryEntry]) -> Vec<Range> {
    let usable = memory.iter().filter(|entry| entry.kind == MemoryKind::Usable);
    usable.map(|entry| entry.range()).collect()
}

/// What kexec leaves alone: the first megabyte, but for what it puts there on purpose, and where the kernel
/// will move.
fn kexec_room(memory: &[MemoryEntry]) -> Room {
    Room::new(&usable(memory), &[Range::new(0, FIRST_MEGABYTE.end)])
}

/// Puts what goes with the kernel: each from the top down, as kexec's hole finder does.
fn kexec_objects(case: &mut Case, room: &mut Room, highest: u64, dice: &mut Dice) -> Option<()> {
    let bounds = Range::new(FIRST_MEGABYTE.end, highest);
    let purgatory = room.highest(PURGATORY + 2 * PAGE, PAGE, bounds)?;
    // boot_params and the command line behind it are one piece.
    let params = room.highest(3 * PAGE, PAGE, bounds)?;
    case.places = Places {
        boot_params: params.start,
        command_line: params.start + PAGE,
        gdt: purgatory.start,
        page_tables: purgatory.start + 2 * PAGE,
    };
    let initrd = room.highest(dice.of(&INITRD), PAGE, bounds)?;
    case.initrd = Some(Span { start: initrd.start, end: initrd.end });
    Some(())
}

fn kexec_32(space: &Space, mut case: Case, dice: &mut Dice) -> Case {
    case.memory = pc(size(space, dice));
    let mut room = kexec_room(&case.memory);
    let bounds = Range::new(FIRST_MEGABYTE.end, BZIMAGE_MAX.min(space.accepted));
    // It looks at the size of the file alone: what the kernel needs behind it is luck.
    let found = room.highest(space.file, space.kernel_alignment, bounds);
    case.load = found.map_or(space.pref_address, |found| found.start);
    let moved = space.window(case.load, space.kernel_alignment);
    if found.is_none() || moved.end > BZIMAGE_MAX || dice.once_in(2) {
        // Room that a careful user has reserved with --mem-max.
        case.load =
            (BZIMAGE_MAX.min(space.accepted) - 2 * space.init_size) & !(space.kernel_alignment - 1);
    }
    room.take(Range::sized(case.load, space.init_size));
    room.take(space.window(case.load, space.kernel_alignment));
    let _ = kexec_objects(&mut case, &mut room, TWO_GIB.min(BZIMAGE_MAX), dice);
    case.entry.gdt = GdtLayout::Minimal;
    case
}

fn kexec_64(space: &Space, mut case: Case, dice: &mut Dice) -> Case {
    case.memory = pc(size(space, dice));
    let mut room = kexec_room(&case.memory);
    let highest = if space.above_4g { u64::MAX } else { FOUR_GIB };
    let bounds = Range::new(FIRST_MEGABYTE.end, highest);
    load_at_top(space, &mut case, &mut room, bounds);
    let _ = kexec_objects(&mut case, &mut room, TWO_GIB, dice);
    case.cpu = CpuFeatures { gib_pages: dice.once_in(2), ..CpuFeatures::default() };
    case
}

/// The highest place for `init_size` bytes, and nothing else where the kernel moves.
fn load_at_top(space: &Space, case: &mut Case, room: &mut Room, bounds: Range) {
    let size = space.init_size.next_multiple_of(PAGE);
    let found = room.highest(size, space.kernel_alignment, bounds);
    case.load = found.map_or(space.pref_address, |found| found.start);
    room.take(Range::sized(case.load, size));
    room.take(space.window(case.load, space.kernel_alignment));
}

/// The kernel's own loader allocates upwards, from `pref_address` on.
fn kexec_file(space: &Space, mut case: Case, dice: &mut Dice) -> Case {
    case.memory = pc(size(space, dice));
    let mut room = kexec_room(&case.memory);
    let bounds = Range::new(FIRST_MEGABYTE.end, if space.above_4g { u64::MAX } else { FOUR_GIB });
    let all = Range::new(FIRST_MEGABYTE.end, u64::MAX);
    let backup = room.lowest(PURGATORY + 2 * PAGE, PAGE, all);
    let params = room.lowest(3 * PAGE, 16, all);
    if let (Some(backup), Some(params)) = (backup, params) {
        case.places = Places {
            boot_params: params.start,
            command_line: params.start + PAGE,
            gdt: backup.start,
            page_tables: backup.start + 2 * PAGE,
        };
        case.setup_data = vec![SetupData {
            address: params.start + 2 * PAGE,
            kind: SetupDataKind::RngSeed,
            len: 32,
            points_to: Vec::new(),
        }];
    }
    let upwards = Range { start: space.pref_address, ..bounds };
    let size = space.init_size.next_multiple_of(PAGE);
    let found = room.lowest(size, space.kernel_alignment, upwards);
    case.load = found.map_or(space.pref_address, |found| found.start);
    room.take(space.window(case.load, space.kernel_alignment));
    let initrd = room.lowest(dice.of(&INITRD), PAGE, Range::new(16 * MIB, u64::MAX));
    case.initrd = initrd.map(|range| Span { start: range.start, end: range.end });
    case.cpu.gib_pages = true;
    case
}

/// Only the reserved memory is the crash kernel's: the rest holds the dump.
fn kdump(space: &Space, mut case: Case, dice: &mut Dice) -> Case {
    let reserved = (2 * space.init_size + dice.below(4) * 64 * MIB + 96 * MIB)
        .next_multiple_of(space.kernel_alignment.max(2 * MIB));
    let above = space.above_4g && dice.once_in(2);
    let first = (space.pref_address + space.init_size).next_multiple_of(16 * MIB) + 16 * MIB;
    let start = match above {
        false => first + dice.below(64) * 16 * MIB,
        true => FOUR_GIB + dice.below(256) * 256 * MIB,
    };
    let region = Range::sized(start, reserved);
    let unlisted = |start, end| MemoryEntry { start, end, kind: MemoryKind::Unlisted };
    case.memory = vec![
        MemoryEntry::usable(0x1000, 0x9_fc00),
        unlisted(MIB, region.start),
        MemoryEntry::usable(region.start, region.end),
        unlisted(region.end, region.end + GIB),
    ];
    if above {
        // A second, small piece for what must lie low.
        case.memory[1].end = 3 * GIB;
        let low = Range::sized(2 * GIB, 256 * MIB);
        case.memory.push(MemoryEntry::usable(low.start, low.end));
    }
    let mut room = Room::new(&[region], &[]);
    load_at_top(space, &mut case, &mut room, region);
    let _ = kexec_objects(&mut case, &mut room, u64::MAX, dice);
    let elfcorehdr = room.highest(4 * PAGE, PAGE, region);
    if let (Some(line), Some(header)) = (&mut case.command_line, elfcorehdr) {
        *line = format!("elfcorehdr={:#x} {line}", header.start);
    }
    case
}

/// QEMU has the image's own 16-bit code enter the stub, from the segment that it was loaded to.
fn qemu(space: &Space, mut case: Case, dice: &mut Dice) -> Case {
    let size = size(space, dice);
    case.memory = pc(size);
    case.load = MIB;
    case.places.boot_params = 0x1_3000 + dice.below(16) * 0x10;
    let top = size.min(2 * GIB);
    initrd_below(space, &mut case, top, dice);
    case.cpu.gib_pages = dice.once_in(2);
    if dice.once_in(2) {
        case.cpu.rdrand = Some(vec![dice.any()]);
        case.cpu.tsc = Some(vec![dice.any()]);
    }
    case
}

/// An initrd that ends at `top`, on a page.
fn initrd_below(space: &Space, case: &mut Case, top: u64, dice: &mut Dice) {
    let moved = space.window(case.load, space.kernel_alignment);
    let mut room =
        Room::new(&usable(&case.memory), &[moved, Range::sized(case.load, space.init_size)]);
    let bounds = Range::new(FIRST_MEGABYTE.end, top);
    let initrd = room.highest(dice.of(&INITRD), PAGE, bounds);
    case.initrd = initrd.map(|range| Span { start: range.start, end: range.end });
}

/// The virtual machine monitors of the rust-vmm family share their layout of low memory.
fn virtual_machine(space: &Space, mut case: Case, load: u64, gdt: u64, dice: &mut Dice) -> Case {
    let size = size(space, dice);
    case.memory = pc(size);
    case.memory[0] = MemoryEntry::usable(0, 0xa_0000);
    case.load = load;
    case.places = Places { boot_params: 0x7000, command_line: 0x2_0000, gdt, page_tables: 0x9000 };
    case.entry.gdt = GdtLayout::Setup;
    case.cpu.gib_pages = true;
    initrd_below(space, &mut case, size.min(3 * GIB), dice);
    case
}

/// A payload made by cbfstool, with everything at fixed places.
fn coreboot(space: &Space, mut case: Case, dice: &mut Dice) -> Case {
    case.memory = pc(size(space, dice));
    case.load = (16 * MIB).next_multiple_of(space.kernel_alignment);
    case.places = Places {
        boot_params: 0x9_0000,
        command_line: 0x9_1000,
        gdt: 0x9_2000,
        page_tables: Places::default().page_tables,
    };
    let end = (case.load + space.file).max(space.window(case.load, space.kernel_alignment).end);
    let start = end.next_multiple_of(64 * MIB);
    case.initrd = Some(Span { start, end: start + dice.of(&INITRD) });
    case.screen |= case.command_line.as_ref().is_some_and(|line| line.contains("nokaslr"));
    case
}

/// GRUB's relocator puts the kernel where it prefers to be, if that is free.
fn grub(space: &Space, mut case: Case, dice: &mut Dice) -> Case {
    let size = size(space, dice);
    case.memory = pc(size);
    case.load = space.pref_address + dice.of(&[0, 1, 3]) * space.kernel_alignment;
    case.places.boot_params = 0x8_b000;
    case.places.command_line = 0x9_0000;
    case.screen |= case.command_line.as_ref().is_some_and(|line| line.contains("nokaslr"));
    initrd_below(space, &mut case, size.min(TWO_GIB), dice);
    case
}
