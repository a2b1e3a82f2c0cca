// SPDX-License-Identifier: GPL-2.0-only
//! Places in the kernel: what they are called, which entry of the relocation table is about them, and whether it was applied.

use crate::explain::symbols::Symbols;
use crate::image::{Group, RelocKind, WordSize};
use crate::machine::Ram;
use crate::oracle::{Landing, Subject};
use crate::record::{Entry, KernelPlace};

/// A field of the kernel that the table names.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The group that its entry is in.
    pub group: &'a Group,
    /// Place of the entry in it.
    pub index: usize,
    /// Offset of the field in the output.
    pub offset: u64,
}

impl Field<'_> {
    /// The entry, for a report.
    pub fn entry(&self) -> Entry {
        Entry {
            kind: self.group.kind.to_string(),
            index: self.index,
            of: self.group.entries.len(),
            value: self.group.entries[self.index].into(),
        }
    }

    /// Its size in bytes.
    pub fn width(&self) -> u64 {
        self.group.kind.width() as u64
    }
}

/// The field that the byte at `offset` of the output is in.
pub fn field_at(subject: &Subject, offset: u64) -> Option<Field<'_>> {
    all(subject)
        .find(|field| (field.offset..field.offset.saturating_add(field.width())).contains(&offset))
}

/// All fields, group by group, in stored order.
pub fn all(subject: &Subject) -> impl Iterator<Item = Field<'_>> {
    subject.table.groups.iter().flat_map(|group| fields(subject, group))
}

/// The fields of one group, in stored order.
pub fn fields<'a>(subject: &'a Subject, group: &'a Group) -> impl Iterator<Item = Field<'a>> {
    group.entries.iter().enumerate().map(move |(index, entry)| Field {
        group,
        index,
        offset: subject.link.field_offset(*entry),
    })
}

/// Whether a field holds what it was linked with, and whether it holds what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// As it was linked.
    pub untouched: bool,
    /// As it must be.
    pub relocated: bool,
}

/// What a field holds of a kernel that landed at `landing`.
pub fn state(subject: &Subject, ram: &Ram, landing: Landing, field: &Field) -> Option<State> {
    let width = field.group.kind.width();
    let linked = subject.moved.get(usize::try_from(field.offset).ok()?..)?.get(..width)?;
    let found = ram.slice(landing.output.wrapping_add(field.offset), width)?;
    let (linked, found) = (number(linked), number(found));
    let runs_at = match subject.word {
        WordSize::Bits32 => landing.output,
        WordSize::Bits64 => landing.virt,
    };
    let delta = runs_at.wrapping_sub(subject.link.physical);
    let expected = match field.group.kind {
        RelocKind::Abs64 => linked.wrapping_add(delta),
        RelocKind::Abs32 => linked.wrapping_add(delta) & 0xffff_ffff,
        RelocKind::Inverse32 => linked.wrapping_sub(delta) & 0xffff_ffff,
    };
    Some(State { untouched: linked == found, relocated: expected == found })
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What lies at `offset` of the output.
pub fn place(subject: &Subject, symbols: &Symbols, offset: u64) -> KernelPlace {
    let covering = subject.part(offset).map(|part| &subject.segments[part]);
    let linked = |start: u64| subject.link.map.wrapping_add(start).wrapping_add(offset);
    let address = match covering {
        Some(segment) => {
            let start = segment.paddr.wrapping_sub(subject.link.physical);
            segment.vaddr.wrapping_add(offset.wrapping_sub(start))
        }
        None => linked(subject.link.physical),
    };
    KernelPlace { entry: field_at(subject, offset).map(|f| f.entry()), ..named(symbols, address) }
}

/// What lies at a link-time virtual address.
pub fn named(symbols: &Symbols, address: u64) -> KernelPlace {
    KernelPlace {
        address,
        symbol: symbols.in_kernel(address).map(|named| named.to_string()),
        section: symbols.kernel().section(address).map(|section| section.name.clone()),
        entry: None,
    }
}
