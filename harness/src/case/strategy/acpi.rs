// SPDX-License-Identifier: GPL-2.0-only
//! ACPI tables that say what memory can be unplugged: where a stub finds them, and in what shapes.

use super::dice::Dice;
use super::layout::{self, room};
use super::theme::LOW;
use super::{GIB, MIB, Space};
use crate::case::{Acpi, Affinity, Case, Checksums, MemoryKind, SecondRoot};
use crate::range::Range;

/// Where a BIOS puts its RSDP.
const BIOS: u64 = 0xe_0000;
/// The last place there.
const LAST_IN_BIOS: u64 = 0xf_ffd0;
/// Room for a second RSDP with its tables.
const SECOND: u64 = 0x200;
/// The largest tables that are put right behind an RSDP in the BIOS.
const SHORT: u64 = 0x800;

/// What leads the stub to the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    BootParams,
    /// The BIOS, which is searched.
    Bios,
    /// The extended BIOS data, which are searched before.
    Ebda,
    /// The command line, and boot_params have another RSDP.
    CommandLine,
    /// EFI's tables.
    Efi,
}

const WAYS: [Way; 5] = [Way::BootParams, Way::Ebda, Way::Bios, Way::CommandLine, Way::Bios];
const REVISIONS: [u8; 4] = [2, 1, 2, 0];

/// Tables of another shape in each `turn`, with what the command line may say of them.
pub fn legacy(space: &Space, case: &mut Case, turn: usize, dice: &mut Dice) {
    let way = WAYS[turn % WAYS.len()];
    if place(space, case, way, turn, dice).is_some() {
        words(case, way, turn);
    }
}

/// Tables that EFI names; there may be a second RSDP for it to name as well.
pub fn by_efi(space: &Space, case: &mut Case, turn: usize, dice: &mut Dice) {
    let _ = place(space, case, Way::Efi, turn, dice);
}

fn place(space: &Space, case: &mut Case, way: Way, turn: usize, dice: &mut Dice) -> Option<()> {
    let mut acpi = Acpi {
        revision: REVISIONS[turn % REVISIONS.len()],
        other_tables: [1, 2, 0][turn % 3],
        processors: [2, 0, 5][turn % 3],
        affinity: affinity(space, case, dice),
        ..Acpi::at(BIOS)
    };
    if turn.is_multiple_of(4) {
        let immovable = |a: &&Affinity| !a.hot_pluggable && a.start < a.end;
        let count = acpi.affinity.iter().filter(immovable).count() as u32;
        // One less than is too many, just too many, and one more; where nobody knows how many that is, any number.
        let wanted = space.srat_limit.unwrap_or(64) - 1 + (turn / 4 % 3) as u32;
        acpi.small_affinities = wanted.saturating_sub(count);
    }
    let size = acpi.pieces()[0].2.len() as u64;
    let mut room = room(space, case);
    let mut apart = Vec::new();
    let second = match way {
        Way::Bios | Way::Ebda => {
            let ebda = u64::from(case.bios.ebda_segment) << 4;
            let has_ebda = case.bios == Default::default();
            let bios = BIOS + SECOND + dice.below(0xf000) / 16 * 16;
            let (root, decoy) = match (way, has_ebda) {
                (Way::Ebda, true) => (ebda + dice.of(&[SECOND, 0x3d0]), ebda),
                (_, true) if turn % 2 == 1 => (dice.of(&[bios, LAST_IN_BIOS]), ebda),
                _ => (dice.of(&[bios, LAST_IN_BIOS]), bios - SECOND),
            };
            acpi.address = root;
            if root != bios || size > SHORT {
                let found = room.find(dice, size, 16, LOW)?;
                acpi.tables = Some(found.start);
                apart.push(found);
            }
            (!dice.once_in(8)).then_some(decoy)
        }
        Way::BootParams | Way::CommandLine | Way::Efi => {
            let found = room.find(dice, size, 16, LOW)?;
            acpi.address = found.start;
            apart.push(found);
            let other = room.find(dice, SECOND, 16, LOW)?;
            (way != Way::BootParams).then(|| {
                apart.push(other);
                other.start
            })
        }
    };
    acpi.in_boot_params = way == Way::BootParams;
    acpi.second = second.map(|address| SecondRoot {
        address,
        checksums: match way {
            Way::Bios | Way::Ebda if turn % 2 == 1 => Checksums::WrongExtended,
            Way::Bios | Way::Ebda => Checksums::Wrong,
            _ => Checksums::Right,
        },
        in_boot_params: way == Way::CommandLine,
    });
    for own in apart {
        layout::set_apart(&mut case.memory, own, MemoryKind::Acpi);
    }
    case.acpi = Some(acpi);
    Some(())
}

/// Half of the largest free memory cannot be unplugged; and some more, here and there.
fn affinity(space: &Space, case: &Case, dice: &mut Dice) -> Vec<Affinity> {
    let usable = case.memory.iter().filter(|entry| entry.kind == MemoryKind::Usable);
    let largest = usable.map(|entry| entry.range()).max_by_key(|range| range.len());
    let half = largest.map(|Range { start, end }| {
        let middle = (start + (end - start) / 2).next_multiple_of(2 * MIB).min(end);
        let half = dice.of(&[(middle, end), (start, middle)]);
        Affinity { start: half.0, end: half.1, hot_pluggable: false }
    });
    let end = case.memory.iter().map(|entry| entry.end).max().unwrap_or(GIB);
    let more = (0..dice.below(4)).map(|_| {
        let start = dice.below(end / (64 * MIB)) * 64 * MIB;
        let len = dice.of(&[GIB, 64 * MIB, space.needed, space.needed + space.kernel_alignment, 0]);
        Affinity { start, end: start + len, hot_pluggable: dice.once_in(3) }
    });
    let more: Vec<Affinity> = more.collect();
    more.into_iter().chain(half).collect()
}

/// `acpi=` and `acpi_rsdp=`, of which the last one counts.
fn words(case: &mut Case, way: Way, turn: usize) {
    let Some(acpi) = &case.acpi else { return };
    let root = acpi.address;
    let second = acpi.second.map_or(root, |second| second.address);
    let words = match (way, turn % 10) {
        (Way::CommandLine, 3) => format!("acpi_rsdp={root:#x}"),
        (Way::CommandLine, _) => format!("acpi_rsdp={second:#x} acpi_rsdp={root:#x}"),
        (_, 4) => "acpi=on acpi=off".into(),
        (_, 5) => "acpi=rsdt".into(),
        // One digit more than there can be; some stubs cut it off.
        (_, 6 | 1) => format!("acpi_rsdp=0x{second:016x}0"),
        _ => return,
    };
    if let Some(line) = &mut case.command_line {
        *line = format!("{line} {words}");
    }
}
