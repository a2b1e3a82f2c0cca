// SPDX-License-Identifier: GPL-2.0-only
//! Whether an image was made from a `vmlinux`: every loaded section stands in the kernel as the linker left it.
//!
//! What is compared are sections, not segments: `objcopy` fills the room between sections anew, and whatever a segment has
//! beyond its bytes in the file is nothing of the linker's.

use goblin::elf::section_header::{SHT_NOTE, SectionHeader};

use super::CompareError;
use super::place::place;
use crate::oracle::{Finding, Rule, Subject};
use crate::vmlinux::{Vmlinux, VmlinuxError};

/// So many bytes of a difference are shown.
const SHOWN: usize = 8;

/// A section that stands in the image otherwise.
struct Difference {
    section: usize,
    /// Of the first byte, in the section.
    offset: u64,
    bytes: u64,
    expected: Vec<u8>,
    actual: Vec<u8>,
}

/// Findings where the image was made from this very `vmlinux`, told by its notes (the build ID is one of them), and yet has
/// other bytes.
pub fn judge(subject: &Subject, vmlinux: &Vmlinux) -> Result<Vec<Finding>, CompareError> {
    if vmlinux.word != subject.word {
        let (found, expected) = (vmlinux.word, subject.word);
        return Err(CompareError::Foreign(format!("it is {found}, the image is {expected}")));
    }
    let mut identified = false;
    let mut differences = Vec::new();
    for (index, section) in vmlinux.loaded() {
        let note = section.sh_type == SHT_NOTE;
        match difference(subject, vmlinux, index, section)? {
            None => identified |= note,
            Some(found) if note => return Err(foreign(vmlinux, section, &found)),
            Some(found) => differences.push(found),
        }
    }
    match differences.first() {
        Some(first) if !identified => {
            let section = vmlinux.sections.get(first.section);
            Err(section.map_or(CompareError::Foreign("no sections".into()), |section| {
                foreign(vmlinux, section, first)
            }))
        }
        _ => Ok(differences.iter().map(|found| finding(subject, vmlinux, found)).collect()),
    }
}

fn foreign(vmlinux: &Vmlinux, section: &SectionHeader, found: &Difference) -> CompareError {
    let at = section.sh_addr.wrapping_add(found.offset);
    let name = vmlinux.section_name(found.section);
    CompareError::Foreign(match found.actual.is_empty() {
        true => format!("the image has no place for its section {name} at {at:#x}"),
        false => format!(
            "section {name} at {at:#x} is {}, in the image {}",
            hex(&found.expected),
            hex(&found.actual)
        ),
    })
}

fn finding(subject: &Subject, vmlinux: &Vmlinux, found: &Difference) -> Finding {
    let address = vmlinux.sections.get(found.section).and_then(|s| vmlinux.load_address(s));
    let address = address.unwrap_or_default().wrapping_add(found.offset);
    let link = subject.link;
    let named = place(vmlinux, link, address.wrapping_add(link.map));
    Finding {
        bytes: found.bytes,
        ..Finding::new(
            Rule::Memory,
            format!("payload, {}, against vmlinux", named.unwrap_or_default()),
            hex(&found.expected),
            if found.actual.is_empty() { "nothing".to_owned() } else { hex(&found.actual) },
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The first difference between a section and the image's kernel; a section that no segment loads has none.
fn difference(
    subject: &Subject,
    vmlinux: &Vmlinux,
    index: usize,
    section: &SectionHeader,
) -> Result<Option<Difference>, VmlinuxError> {
    let Some(load) = vmlinux.load_address(section) else { return Ok(None) };
    let start = load.wrapping_sub(subject.link.physical);
    let mut found: Option<Difference> = None;
    vmlinux.section_bytes::<VmlinuxError>(section, |offset, piece| {
        let place = usize::try_from(start.wrapping_add(offset)).unwrap_or(usize::MAX);
        let room = place.checked_add(piece.len());
        let there = room.and_then(|end| subject.moved.get(place..end)).unwrap_or_default();
        if there == piece {
            return Ok(());
        }
        let unequal = |(_, (left, right)): &(usize, (&u8, &u8))| left != right;
        let mut pairs = piece.iter().zip(there).enumerate().filter(unequal);
        let first = pairs.next().map_or(0, |(at, _)| at);
        let bytes = if there.is_empty() { piece.len() } else { 1 + pairs.count() };
        let shown = |bytes: &[u8]| bytes.iter().skip(first).take(SHOWN).copied().collect();
        let new = || Difference {
            section: index,
            offset: offset + first as u64,
            bytes: 0,
            expected: shown(piece),
            actual: shown(there),
        };
        found.get_or_insert_with(new).bytes += bytes as u64;
        Ok(())
    })?;
    Ok(found)
}
