// SPDX-License-Identifier: GPL-2.0-only
//! Proofs that a mutant does what the unmutated image does, in every case and not only in those that were run.

use std::collections::BTreeMap;

use super::twin::Twin;
use crate::image::{RelocKind, RelocTable, Segment, WordSize};
use crate::oracle::Subject;
use crate::reference::fields;

/// What x86_64 maps of the kernel at most (KERNEL_IMAGE_SIZE, asm/page_64_types.h).
const KERNEL_MAPPING: u64 = 1 << 30;
/// What parse_elf() wants p_align of an x86_64 kernel to be a multiple of.
const SEGMENT_ALIGNMENT: u64 = 2 << 20;
/// No two fields whose places are further apart overlap.
const WIDEST: u64 = 8;

/// The kernel is the same for a stub, although bytes of its file are not: what the stub reads of it leads to the same bytes
/// at the same place, and to the same entry point.
///
/// A stub reads only p_type, p_offset, p_paddr and p_filesz of a program header, on x86_64 also whether p_align is whole 2 MiB,
/// and of the ELF header its magic, e_phoff, e_phnum and e_entry (arch/x86/boot/compressed/misc.c, `parse_elf()`).
pub fn payload(twin: &Twin, mutated: &Subject) -> Option<String> {
    let subject = twin.subject();
    let same = mutated.moved == subject.moved
        && mutated.entry == subject.entry
        && mutated.link == subject.link
        && mutated.table == subject.table;
    let whole = |segment: &Segment| segment.align.is_multiple_of(SEGMENT_ALIGNMENT);
    let aligned = subject.word == WordSize::Bits32
        || mutated.segments.iter().map(whole).eq(subject.segments.iter().map(whole));
    (same && aligned).then(|| {
        "no stub reads the field, and a segment is moved over it: the reference gives the same kernel in every case"
            .into()
    })
}

/// The table is another one, and gives the same bytes for every distance by which KASLR can move an x86_64 kernel.
pub fn table(twin: &Twin, new: &RelocTable) -> Option<String> {
    let subject = twin.subject();
    if new.missing_terminators > 0 || new.unread > 0 || subject.word == WordSize::Bits32 {
        return None;
    }
    let old = &subject.table;
    let bits = subject.image.header().min_alignment.map_or(12, u32::from).clamp(12, 30);
    let room = KERNEL_MAPPING.checked_sub(subject.link.physical)?;
    let distances = || (0..room).step_by(1 << bits);
    let same = touched(subject, old, new).into_iter().all(|at| {
        let (old, new) = (near(subject, old, at), near(subject, new, at));
        distances().all(|distance| {
            let after = |fields| applied(subject, at, fields, distance);
            after(&old) == after(&new)
        })
    });
    same.then(|| {
        let count = distances().count();
        format!(
            "both tables give the same bytes for each of the {count} virtual bases that there are"
        )
    })
}

/// Offsets of the fields that the tables name differently often.
fn touched(subject: &Subject, old: &RelocTable, new: &RelocTable) -> Vec<u64> {
    let mut counts: BTreeMap<(u64, RelocKind), i64> = BTreeMap::new();
    for (table, sign) in [(old, 1), (new, -1)] {
        for (kind, offset, _) in fields(table, subject.link) {
            *counts.entry((offset, kind)).or_default() += sign;
        }
    }
    counts.into_iter().filter(|(_, count)| *count != 0).map(|((offset, _), _)| offset).collect()
}

/// The fields that may overlap with one at this offset, in the order in which the stub changes them.
fn near(subject: &Subject, table: &RelocTable, at: u64) -> Vec<(RelocKind, u64)> {
    fields(table, subject.link)
        .filter(|(_, offset, _)| offset.abs_diff(at) < WIDEST)
        .map(|(kind, offset, _)| (kind, offset))
        .collect()
}

/// The bytes around an offset, with these fields moved; `None` if one is not inside the kernel.
fn applied(
    subject: &Subject,
    at: u64,
    fields: &[(RelocKind, u64)],
    distance: u64,
) -> Option<Vec<u8>> {
    let start = at.checked_sub(WIDEST)?;
    let range = start as usize..(at + 2 * WIDEST) as usize;
    let mut bytes = subject.moved.get(range)?.to_vec();
    for (kind, offset) in fields {
        let place = (offset - start) as usize;
        match kind {
            RelocKind::Abs64 => {
                let field: &mut [u8; 8] = bytes[place..].first_chunk_mut()?;
                *field = u64::from_le_bytes(*field).wrapping_add(distance).to_le_bytes();
            }
            RelocKind::Abs32 | RelocKind::Inverse32 => {
                let by = match kind {
                    RelocKind::Inverse32 => (distance as u32).wrapping_neg(),
                    _ => distance as u32,
                };
                let field: &mut [u8; 4] = bytes[place..].first_chunk_mut()?;
                *field = u32::from_le_bytes(*field).wrapping_add(by).to_le_bytes();
            }
        }
    }
    Some(bytes)
}
