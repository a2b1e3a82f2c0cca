// SPDX-License-Identifier: GPL-2.0-only
//! Mistakes in the kernel's ELF file: a byte that flipped, a segment or an entry point somewhere else.

use std::collections::BTreeSet;
use std::ops::Range;

use super::dice::Dice;
use super::mutant::{Class, Edit, Mutant, Splice};
use super::twin::Twin;
use crate::image::WordSize;

/// The kinds of mistake.
pub const KINDS: &[&str] = &[
    "text flipped",
    "data flipped",
    "gap flipped",
    "ELF header flipped",
    "program header flipped",
    "segment moved",
    "e_entry changed",
];

const PATIENCE: usize = 64;
const PT_LOAD: u64 = 1;

/// Where an ELF file has what: e_entry, e_phoff, and the fields of a program header.
struct Layout {
    header: usize,
    word: usize,
    phoff: usize,
    entry_size: usize,
    fields: [(&'static str, usize); 3],
}

const ENTRY: usize = 0x18;
const WIDE: Layout = Layout {
    header: 64,
    word: 8,
    phoff: 0x20,
    entry_size: 56,
    fields: [("p_offset", 8), ("p_paddr", 24), ("p_filesz", 32)],
};
const NARROW: Layout = Layout {
    header: 52,
    word: 4,
    phoff: 0x1c,
    entry_size: 32,
    fields: [("p_offset", 4), ("p_paddr", 12), ("p_filesz", 16)],
};

/// Draws `count` different mutants, of each kind as many.
pub fn draw(twin: &Twin, count: usize, dice: &mut Dice) -> Vec<Mutant> {
    let places = Places::new(twin);
    let mut mutants = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<&'static str> = KINDS.to_vec();
    while mutants.len() < count && !open.is_empty() {
        open.retain(|kind| {
            if mutants.len() >= count {
                return true;
            }
            let fresh = (0..PATIENCE).find_map(|_| {
                let mutant = places.one(twin, kind, dice)?;
                seen.insert((mutant.place.clone(), mutant.after.clone())).then_some(mutant)
            });
            mutants.extend(fresh.iter().cloned());
            fresh.is_some()
        });
    }
    mutants
}

struct Places {
    layout: &'static Layout,
    text: Vec<Range<usize>>,
    data: Vec<Range<usize>>,
    gaps: Vec<Range<usize>>,
    headers: Range<usize>,
    loads: Vec<usize>,
}

impl Places {
    fn new(twin: &Twin) -> Places {
        let subject = twin.subject();
        let layout = match subject.word {
            WordSize::Bits32 => &NARROW,
            WordSize::Bits64 => &WIDE,
        };
        let payload = &twin.payload;
        let start = number(payload, layout.phoff, layout.word) as usize;
        let count = number(payload, layout.header - 8, 2) as usize;
        let headers = start..start + count * layout.entry_size;
        let loads: Vec<usize> = headers
            .clone()
            .step_by(layout.entry_size)
            .filter(|at| number(payload, *at, 4) == PT_LOAD)
            .collect();
        let ranges = |executable: bool| {
            subject
                .segments
                .iter()
                .filter(|segment| (segment.flags & 1 != 0) == executable && segment.filesz > 0)
                .map(|segment| segment.offset as usize..(segment.offset + segment.filesz) as usize)
                .collect::<Vec<_>>()
        };
        let (text, data) = (ranges(true), ranges(false));
        let mut taken = [&text[..], &data[..], &[0..layout.header, headers.clone()]].concat();
        taken.sort_by_key(|range| range.start);
        let mut gaps = Vec::new();
        let mut end = 0;
        for range in
            taken.iter().cloned().chain(std::iter::once(subject.table.offset..subject.table.offset))
        {
            if range.start > end {
                gaps.push(end..range.start);
            }
            end = end.max(range.end);
        }
        Places { layout, text, data, gaps, headers, loads }
    }

    fn one(&self, twin: &Twin, kind: &'static str, dice: &mut Dice) -> Option<Mutant> {
        let payload = &twin.payload;
        match kind {
            "text flipped" => self.flip(payload, kind, dice.pick(&self.text)?.clone(), dice),
            "data flipped" => self.flip(payload, kind, dice.pick(&self.data)?.clone(), dice),
            "gap flipped" => self.flip(payload, kind, dice.pick(&self.gaps)?.clone(), dice),
            "ELF header flipped" => self.flip(payload, kind, 0..self.layout.header, dice),
            "program header flipped" => self.flip(payload, kind, self.headers.clone(), dice),
            "segment moved" => {
                let index = dice.below(self.loads.len());
                let (name, offset) = *dice.pick(&self.layout.fields)?;
                let at = self.loads.get(index)? + offset;
                let by = *dice.pick(&[1i64, -1, 16, 0x1000, -0x1000, 0x20_0000, -0x20_0000])?;
                self.changed(payload, kind, format!("{name} of segment {index}"), at, by)
            }
            _ => {
                let by = *dice.pick(&[
                    1i64, -1, 2, -2, 4, 16, -16, 64, 0x100, 0x1000, -0x1000, 0x10_0000, 0x100_0000,
                    0x200_0000,
                ])?;
                self.changed(payload, kind, "e_entry".into(), ENTRY, by)
            }
        }
    }

    fn flip(
        &self,
        payload: &[u8],
        kind: &'static str,
        range: Range<usize>,
        dice: &mut Dice,
    ) -> Option<Mutant> {
        let at = range.start + dice.below(range.len());
        let before = *payload.get(at)?;
        let after = before ^ (1 + dice.below(255) as u8);
        Some(Mutant {
            class: Class::Payload,
            kind,
            place: format!("payload+{at:#x}{}", self.field(at)),
            before: format!("{before:02x}"),
            after: format!("{after:02x}"),
            edit: Edit::Payload(vec![Splice { at, taken: 1, put: vec![after] }]),
            reached: u64::MAX,
        })
    }

    fn changed(
        &self,
        payload: &[u8],
        kind: &'static str,
        place: String,
        at: usize,
        by: i64,
    ) -> Option<Mutant> {
        let word = self.layout.word;
        let before = number(payload, at, word);
        let after = before.wrapping_add_signed(by);
        let put = after.to_le_bytes()[..word].to_vec();
        Some(Mutant {
            class: Class::Payload,
            kind,
            place,
            before: format!("{before:#x}"),
            after: format!("{:#x}", number(&put, 0, word)),
            edit: Edit::Payload(vec![Splice { at, taken: word, put }]),
            reached: u64::MAX,
        })
    }

    /// The name of the ELF field that a byte belongs to, where it is in a header.
    fn field(&self, at: usize) -> String {
        const EHDR: [(&str, usize, usize); 14] = [
            ("e_ident", 0, 0),
            ("e_type", 16, 16),
            ("e_machine", 18, 18),
            ("e_version", 20, 20),
            ("e_entry", 24, 24),
            ("e_phoff", 28, 32),
            ("e_shoff", 32, 40),
            ("e_flags", 36, 48),
            ("e_ehsize", 40, 52),
            ("e_phentsize", 42, 54),
            ("e_phnum", 44, 56),
            ("e_shentsize", 46, 58),
            ("e_shnum", 48, 60),
            ("e_shstrndx", 50, 62),
        ];
        const PHDR: [(&str, usize, usize); 8] = [
            ("p_type", 0, 0),
            ("p_offset", 4, 8),
            ("p_vaddr", 8, 16),
            ("p_paddr", 12, 24),
            ("p_filesz", 16, 32),
            ("p_memsz", 20, 40),
            ("p_flags", 24, 4),
            ("p_align", 28, 48),
        ];
        let wide = self.layout.word == 8;
        let name = |fields: &[(&'static str, usize, usize)], offset: usize| {
            fields
                .iter()
                .map(|(name, narrow, wide_at)| (if wide { *wide_at } else { *narrow }, *name))
                .filter(|(start, _)| *start <= offset)
                .max()
                .map_or("", |(_, name)| name)
        };
        if at < self.layout.header {
            format!(", {}", name(&EHDR, at))
        } else if self.headers.contains(&at) {
            let offset = at - self.headers.start;
            let index = offset / self.layout.entry_size;
            format!(", {} of program header {index}", name(&PHDR, offset % self.layout.entry_size))
        } else {
            String::new()
        }
    }
}

/// A little-endian number of `width` bytes; 0 where there are none.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let bytes = bytes.get(at..at + width).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
