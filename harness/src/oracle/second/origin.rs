// SPDX-License-Identifier: GPL-2.0-only
//! Whether an image was made from a `vmlinux`: every loaded section stands in the kernel as the linker left it.
//!
//! What is compared are sections, not segments: `objcopy` fills the room between sections anew, and whatever a segment has
//! beyond its bytes in the file is nothing of the linker's. Left out is what the build takes out of the kernel.

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
    for (index, section) in vmlinux.loaded().filter(|(index, _)| !vmlinux.is_taken_out(*index)) {
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

#[cfg(test)]
mod tests {
    use super::super::testing::{TABLE, elf, subject};
    use super::*;
    use crate::vmlinux::fixture::Elf;

    /// What is said of an image whose kernel has other bytes at these places: section (.text is 1) and offset.
    fn said(places: &[(usize, usize)]) -> Result<Vec<Finding>, String> {
        let mut kernel = elf().build();
        let vmlinux = Vmlinux::parse(kernel.clone()).unwrap();
        for (section, offset) in places {
            kernel[vmlinux.sections[*section].sh_offset as usize + offset] ^= 1;
        }
        judge(&subject(&kernel, TABLE, "6.15.0"), &vmlinux).map_err(|error| error.to_string())
    }

    #[test]
    fn each_section_that_differs_is_one_finding() {
        assert_eq!(said(&[]), Ok(vec![]));
        let found = said(&[(1, 0x10), (1, 0x11), (1, 0x17), (1, 0x18), (2, 0x3f)]).unwrap();
        let shown: Vec<_> = found.iter().map(|f| (&f.place[..], f.bytes, &f.actual[..])).collect();
        assert_eq!(
            shown,
            [
                ("payload, start+0x10, .text, against vmlinux", 4, "01 01 00 00 00 00 00 01"),
                ("payload, foo+0x3f, .data, against vmlinux", 1, "01 00 00 00 00 00 00 00"),
            ]
        );
        assert_eq!(found[1].expected, "00 00 00 00 00 00 00 00");
        assert_eq!(found[0].rule, Rule::Memory);
    }

    #[test]
    fn other_notes_are_another_kernels() {
        let why = said(&[(1, 0x10), (3, 0x3f)]).unwrap_err();
        let expected = "section .notes at 0xffffffff8100203f is 00, in the image 01";
        assert_eq!(why, format!("not the vmlinux of this image: {expected}"));
    }

    #[test]
    fn without_notes_any_difference_is_another_kernels() {
        let mut elf = Elf::new(true);
        let text = elf.section(crate::vmlinux::fixture::Sec::data(".text", 0x40));
        let foo = elf.symbol("foo", elf.address(text), text);
        elf.reloc(text, 8, 1, foo);
        let file = elf.build();
        let vmlinux = Vmlinux::parse(file.clone()).unwrap();
        let table = &[0, 0x8100_0008, 0, 0];
        assert_eq!(judge(&subject(&file, table, "6.15.0"), &vmlinux).unwrap(), []);
        let mut other = file;
        other[vmlinux.sections[1].sh_offset as usize] ^= 1;
        let error = judge(&subject(&other, table, "6.15.0"), &vmlinux).unwrap_err();
        assert!(
            error.to_string().contains("section .text at 0xffffffff81000000 is 00 00"),
            "{error}"
        );
    }

    #[test]
    fn a_section_that_the_image_has_no_place_for_is_foreign() {
        let file = elf().build();
        let mut subject = subject(&file, TABLE, "6.15.0");
        let vmlinux = Vmlinux::parse(file).unwrap();
        subject.moved.truncate(0x1020);
        let error = judge(&subject, &vmlinux).unwrap_err().to_string();
        assert!(
            error.ends_with("the image has no place for its section .notes at 0xffffffff81002000"),
            "{error}"
        );
        let mut narrow = Elf::new(false);
        narrow.section(crate::vmlinux::fixture::Sec::data(".text", 0x40));
        let error =
            judge(&subject, &Vmlinux::parse(narrow.build()).unwrap()).unwrap_err().to_string();
        assert!(error.ends_with("it is 32-bit, the image is 64-bit"), "{error}");
    }

    #[test]
    fn a_section_that_is_cut_off_is_missing_as_a_whole() {
        let file = elf().build();
        let mut subject = subject(&file, TABLE, "6.15.0");
        let vmlinux = Vmlinux::parse(file).unwrap();
        subject.moved.truncate(0x1020);
        let section = &vmlinux.sections[2];
        let found = difference(&subject, &vmlinux, 2, section).unwrap().unwrap();
        assert_eq!((found.offset, found.bytes, found.actual.len()), (0, 0x1000, 0));
        assert_eq!(finding(&subject, &vmlinux, &found).actual, "nothing");
        subject.moved.resize(0x2000, 0);
        assert!(difference(&subject, &vmlinux, 2, section).unwrap().is_none());
    }
}
