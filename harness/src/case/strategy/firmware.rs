// SPDX-License-Identifier: GPL-2.0-only
//! Machines with EFI.

use super::dice::Dice;
use super::layout::{self, room};
use super::theme::{LOW, reach};
use super::{MIB, Space, acpi};
use crate::case::{
    AcpiGuids, Case, Efi, EfiEntry, EfiKind, EfiSignature, MemoryKind, SETUP_DATA_HEADER,
    SetupData, SetupDataKind,
};
use crate::image::WordSize;
use crate::machine::PAGE;
use crate::range::Range;

const GUIDS: [AcpiGuids; 4] =
    [AcpiGuids::Newer, AcpiGuids::Older, AcpiGuids::OlderFirst, AcpiGuids::NewerFirst];

/// What firmware keeps, or leaves behind.
const OWN: [EfiKind; 8] = [
    EfiKind::BootServicesData,
    EfiKind::LoaderCode,
    EfiKind::Unaccepted,
    EfiKind::BootServicesCode,
    EfiKind::RuntimeServicesData,
    EfiKind::LoaderData,
    EfiKind::RuntimeServicesCode,
    EfiKind::Mmio,
];

/// EFI's view of the case's memory, and its tables. After a kexec there is a node of setup_data as well.
pub fn efi(space: &Space, case: &mut Case, turn: usize, dice: &mut Dice) {
    if case.acpi.is_none() && !dice.once_in(3) {
        acpi::by_efi(space, case, turn, dice);
    }
    let signature = match space.word {
        WordSize::Bits64 => dice.of(&[EfiSignature::EL64, EfiSignature::EL32]),
        WordSize::Bits32 => dice.of(&[EfiSignature::EL32, EfiSignature::EL64]),
    };
    let mut room = room(space, case);
    let entry = |range: Range, kind| EfiEntry {
        start: range.start & !(PAGE - 1),
        end: range.end.next_multiple_of(PAGE),
        kind,
        mirror: false,
        soft_reserved: false,
    };
    let descriptor_size = dice.of(&[48, 40, 56]);
    let bounds = reach(space, case);
    // Twice as many descriptors as entries, and some more.
    let map_size = (case.memory.len() as u64 * 3 + 8) * u64::from(descriptor_size);
    let (Some(tables), Some(map)) =
        (room.find(dice, PAGE, PAGE, LOW), room.find(dice, map_size, PAGE, bounds))
    else {
        return;
    };
    for own in [tables, map] {
        layout::set_apart(&mut case.memory, own, MemoryKind::Reserved);
    }
    let mut memory = Vec::new();
    let firmware = turn % 4 != 1;
    for (number, known) in case.memory.iter().enumerate() {
        if known.range().is_empty() || known.end & !(PAGE - 1) <= known.start {
            continue;
        }
        let kind = match known.kind {
            MemoryKind::Usable => EfiKind::Conventional,
            MemoryKind::Acpi => EfiKind::AcpiReclaim,
            MemoryKind::Nvs => EfiKind::AcpiNvs,
            MemoryKind::Unusable => EfiKind::Unusable,
            MemoryKind::Pmem => EfiKind::Persistent,
            MemoryKind::Reserved | MemoryKind::Unlisted => EfiKind::Reserved,
        };
        let whole = Range::new(known.start, known.end & !(PAGE - 1));
        // Firmware leaves its own pieces behind, which e820 calls free.
        let middle = whole.start + dice.below(whole.len() / PAGE) * PAGE;
        if kind == EfiKind::Conventional && firmware && middle > whole.start {
            let own = OWN[(turn + number) % OWN.len()];
            let large = space.needed + 2 * space.kernel_alignment;
            let size = if dice.once_in(2) { large } else { dice.below(64) * MIB };
            let size = size.next_multiple_of(PAGE) + PAGE;
            let end = (middle + size).min(whole.end);
            memory.push(entry(Range::new(whole.start, middle), kind));
            memory.push(entry(Range::new(middle, end), own));
            memory.push(entry(Range::new(end, whole.end), kind));
        } else {
            memory.push(entry(whole, kind));
        }
    }
    memory.retain(|entry| !entry.range().is_empty());
    // Half of what is free, in every fourth turn each.
    let free = memory.iter_mut().filter(|entry| entry.kind == EfiKind::Conventional);
    let which = usize::from(dice.once_in(2));
    for entry in free.skip(which).step_by(2) {
        entry.mirror = turn.is_multiple_of(4);
        entry.soft_reserved = turn % 4 == 3;
    }
    let acpi = GUIDS[turn % GUIDS.len()];
    let (tables, map) = (tables.start, map.start);
    case.efi = Some(Efi { signature, tables, map, descriptor_size, acpi, memory });
    // Firmware that has been through a kexec has ACPI, too.
    if case.acpi.is_some()
        && signature == EfiSignature::EL64
        && space.word == WordSize::Bits64
        && dice.once_in(2)
    {
        let mut room = layout::room(space, case);
        let len = 96;
        if let Some(at) = room.find(dice, SETUP_DATA_HEADER + len, 16, bounds) {
            let kind = SetupDataKind::Efi;
            let points_to = Vec::new();
            let node = SetupData { address: at.start, kind, len: len as u32, points_to };
            case.setup_data.push(node);
        }
    }
}
