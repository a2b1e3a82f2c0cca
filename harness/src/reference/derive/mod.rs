// SPDX-License-Identifier: GPL-2.0-only
//! The relocation table, derived from a kernel's own ELF relocations: what arch/x86/tools/relocs.c has to decide, decided
//! anew.
//!
//! A relocation of the ELF file says how the linker computed a field. The stub moves the kernel by one distance, so what
//! matters of it is how the field changes with that: not at all (a distance within the kernel, a number), by the
//! distance (an address), or against it (the distance from the kernel to something that stays, which is per-cpu data
//! linked at 0). Addends make no difference.

mod error;
mod kinds;
mod symbols;
#[cfg(test)]
mod tests;

use goblin::elf::Reloc;

pub use self::error::DeriveError;
pub use self::kinds::type_name;
use self::kinds::{Move, effect};
use self::symbols::{Classes, Moves};
use crate::image::{Group, RelocKind, RelocTable, WordSize};
use crate::vmlinux::{RelocsOf, Vmlinux};

/// `__START_KERNEL_map` (asm/page_64_types.h).
const MAP: u64 = 0xffff_ffff_8000_0000;
/// More entries than this are no kernel's.
const MAX_ENTRIES: usize = 1 << 23;
/// The section whose relocations are there if any are: `ld --emit-relocs` leaves them for every kernel's.
const TEXT: &str = ".text";
/// The per-cpu section up to 6.14, where it is linked at 0 on x86_64.
const PER_CPU: &str = ".data..percpu";

/// An entry that the table must have, and the relocation that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The group that it belongs to.
    pub kind: RelocKind,
    /// Low 32 bits of the link-time virtual address of the field.
    pub address: u32,
    /// Type of the ELF relocation.
    pub reloc_type: u32,
    /// Index of its symbol.
    pub symbol: u32,
    /// Index of the section that the field is in.
    pub section: u32,
}

/// What was derived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// All entries, sorted by group and address.
    pub entries: Vec<Entry>,
    /// What relocations of notes would ask for, sorted. Notes are read from the file, not from memory: they must not move.
    /// Tools before 6.10 moved them nevertheless.
    pub notes: Vec<Entry>,
    /// Names of absolute symbols of which no list says whether they move: their value decided. relocs.c refuses them.
    pub unlisted: Vec<String>,
}

/// Where the per-cpu section is linked at 0.
#[derive(Clone, Copy, Debug)]
struct PerCpu {
    section: usize,
    /// Bytes in it.
    size: u64,
    /// Virtual address at which its template is loaded: `__per_cpu_load`.
    load: u64,
}

impl Derived {
    /// Derives the table of a kernel.
    ///
    /// # Errors
    /// The file has no relocations, or one that cannot be: what makes relocs.c stop, but for absolute symbols.
    pub fn new(vmlinux: &Vmlinux) -> Result<Derived, DeriveError> {
        let sections = vmlinux.reloc_sections();
        if !sections.iter().any(|relocs| vmlinux.is_section(relocs.target, TEXT)) {
            return Err(DeriveError::NoRelocations);
        }
        let per_cpu = per_cpu(vmlinux)?;
        let mut classes = Classes::new(vmlinux, per_cpu);
        let mut derived = Derived::default();
        for relocs in sections {
            let notes = is_note(vmlinux, relocs.target);
            vmlinux.relocations(relocs.section, |reloc| {
                let entry = entry(vmlinux, &mut classes, per_cpu, relocs, reloc)?;
                let list = if notes { &mut derived.notes } else { &mut derived.entries };
                list.extend(entry);
                match list.len() > MAX_ENTRIES {
                    true => Err(DeriveError::TooMany),
                    false => Ok(()),
                }
            })?;
        }
        derived.entries.sort_unstable();
        derived.notes.sort_unstable();
        derived.unlisted = classes.unlisted();
        Ok(derived)
    }

    /// The entries of one group, sorted by address.
    pub fn of_kind(&self, kind: RelocKind) -> &[Entry] {
        let start = self.entries.partition_point(|entry| entry.kind < kind);
        let end = self.entries.partition_point(|entry| entry.kind <= kind);
        self.entries.get(start..end).unwrap_or_default()
    }

    /// The groups as a stub would apply them. There is no table in any file behind it.
    pub fn table(&self) -> RelocTable {
        let group = |kind| {
            let entries = self.of_kind(kind).iter().map(|entry| entry.address).collect();
            Group { kind, entries, first_word: 0 }
        };
        let kinds = [RelocKind::Abs32, RelocKind::Inverse32, RelocKind::Abs64];
        let groups = kinds.map(group).into_iter().filter(|group| !group.entries.is_empty());
        RelocTable { groups: groups.collect(), ..RelocTable::default() }
    }
}

fn is_note(vmlinux: &Vmlinux, section: usize) -> bool {
    const SHT_NOTE: u32 = goblin::elf::section_header::SHT_NOTE;
    vmlinux.sections.get(section).is_some_and(|section| section.sh_type == SHT_NOTE)
}

/// Told by the file itself: the section lies at 0, and has something in it.
fn per_cpu(vmlinux: &Vmlinux) -> Result<Option<PerCpu>, DeriveError> {
    if vmlinux.word == WordSize::Bits32 {
        return Ok(None);
    }
    let found = vmlinux
        .loaded()
        .find(|(index, section)| section.sh_addr == 0 && vmlinux.is_section(*index, PER_CPU));
    let Some((index, section)) = found else { return Ok(None) };
    let physical = vmlinux.load_address(section).ok_or(DeriveError::PerCpu)?;
    Ok(Some(PerCpu { section: index, size: section.sh_size, load: physical.wrapping_add(MAP) }))
}

/// The entry that one relocation asks for, if any.
fn entry(
    vmlinux: &Vmlinux,
    classes: &mut Classes,
    per_cpu: Option<PerCpu>,
    relocs: RelocsOf,
    reloc: Reloc,
) -> Result<Option<Entry>, DeriveError> {
    let fail = |what: DeriveError| Err(what);
    let place = || vmlinux.place(relocs.target, reloc.r_offset);
    let Some(effect) = effect(vmlinux.word, reloc.r_type) else {
        return fail(DeriveError::Unsupported {
            name: type_name(vmlinux.word, reloc.r_type),
            symbol: name(vmlinux, reloc.r_sym),
            place: place(),
        });
    };
    if effect == Move::Never {
        return Ok(None);
    }
    let moves = match effect {
        Move::Address(_) => classes.address(vmlinux, reloc.r_sym),
        _ => classes.distance(vmlinux, reloc.r_sym),
    };
    let Some(moves) = moves else {
        return fail(DeriveError::NoSymbol { number: reloc.r_sym, place: place() });
    };
    let kind = match (effect, moves) {
        (_, Moves::Undefined) if vmlinux.word == WordSize::Bits64 => return Ok(None),
        (Move::Address(kind), Moves::WithKernel | Moves::Undefined) => kind,
        (Move::Relative, Moves::Fixed { per_cpu: true }) => RelocKind::Inverse32,
        (Move::Relative64, Moves::Fixed { per_cpu: true }) => {
            return fail(DeriveError::Unsupported {
                name: type_name(vmlinux.word, reloc.r_type),
                symbol: name(vmlinux, reloc.r_sym),
                place: place(),
            });
        }
        _ => return Ok(None),
    };
    let address = match per_cpu {
        Some(found) if found.section == relocs.target => reloc.r_offset.wrapping_add(found.load),
        _ => reloc.r_offset,
    };
    let fits = match vmlinux.word {
        WordSize::Bits32 => address >> 32 == 0,
        WordSize::Bits64 => i64::from(address as u32 as i32) == address as i64,
    };
    if !fits || address as u32 == 0 {
        return fail(DeriveError::Address { address, place: place() });
    }
    Ok(Some(Entry {
        kind,
        address: address as u32,
        reloc_type: reloc.r_type,
        symbol: reloc.r_sym as u32,
        section: relocs.target as u32,
    }))
}

fn name(vmlinux: &Vmlinux, symbol: usize) -> String {
    let found = vmlinux.symbol(symbol).map(|symbol| vmlinux.symbol_name(&symbol));
    found.unwrap_or_else(|| format!("number {symbol}"))
}
