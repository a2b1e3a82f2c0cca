// SPDX-License-Identifier: GPL-2.0-only
//! The same objects, linked at two addresses: what the linker wrote for the second is what relocation must make of the
//! first. No rule about types of relocations or names of symbols is asked.

use goblin::elf::section_header::{SHT_NOTE, SectionHeader};

use super::place::place;
use crate::image::RelocTable;
use crate::oracle::{Finding, Rule};
use crate::reference::{Plain, PlainError, fields, relocate};
use crate::vmlinux::Vmlinux;

/// So many differences are shown one by one.
const SHOWN: usize = 5;

/// What the comparison gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Twice {
    /// By how much the second is higher.
    pub distance: u64,
    /// Bytes that were compared.
    pub bytes: u64,
    /// Fields that were relocated.
    pub fields: usize,
    /// Where the relocated kernel is not what the linker makes.
    pub findings: Vec<Finding>,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum TwiceError {
    /// One of the two kernels.
    #[error(transparent)]
    Plain(#[from] PlainError),
    /// They are not made of the same objects.
    #[error("not the same objects: {0}")]
    Other(String),
}

impl From<crate::vmlinux::VmlinuxError> for TwiceError {
    fn from(error: crate::vmlinux::VmlinuxError) -> TwiceError {
        TwiceError::Plain(error.into())
    }
}

/// Whether two kernels have the same sections, each at the same distance from the begin.
///
/// # Errors
/// They do not; the text says where.
pub fn same_layout(first: &Vmlinux, second: &Vmlinux) -> Result<u64, TwiceError> {
    let start = |vmlinux: &Vmlinux| vmlinux.segments.first().map_or(0, |first| first.paddr);
    let distance = start(second).wrapping_sub(start(first));
    let describe = |vmlinux: &Vmlinux, (index, section): (usize, &SectionHeader)| {
        let load = vmlinux.load_address(section).map(|load| load.wrapping_sub(start(vmlinux)));
        (vmlinux.section_name(index), load, section.sh_size)
    };
    let pairs = first.loaded().zip(second.loaded());
    for (one, other) in pairs {
        let (one, other) = (describe(first, one), describe(second, other));
        if one != other {
            let size = |section: &(String, Option<u64>, u64)| {
                format!(
                    "{} at {:#x} with {:#x} bytes",
                    section.0,
                    section.1.unwrap_or(0),
                    section.2
                )
            };
            return Err(TwiceError::Other(format!("{}, and {}", size(&one), size(&other))));
        }
    }
    match first.loaded().count() == second.loaded().count() && first.word == second.word {
        true => Ok(distance),
        false => Err(TwiceError::Other("one has other sections".to_owned())),
    }
}

/// Relocates `first` by `table` to where `second` was linked, and compares.
///
/// Notes are left out: the build ID is a sum over all bytes, and what loaders read as physical addresses of the file (PVH,
/// Xen) belongs to the place that the file was linked for.
///
/// # Errors
/// The two are not made of the same objects, or the table leaves the kernel.
pub fn judge(first: &Vmlinux, second: &Vmlinux, table: &RelocTable) -> Result<Twice, TwiceError> {
    let distance = same_layout(first, second)?;
    if distance == 0 {
        return Err(TwiceError::Other("both are linked for the same address".to_owned()));
    }
    let (mut moved, linked) = (Plain::new(first)?, Plain::new(second)?);
    let link = moved.link;
    let to = link.physical.wrapping_add(distance);
    let applied = relocate(&mut moved.bytes, table, link, to, to).map_err(PlainError::from)?;
    let mut spans: Vec<(u64, u64)> = fields(table, link)
        .map(|(kind, start, _)| (start, start.saturating_add(kind.width() as u64)))
        .collect();
    spans.sort_unstable();

    let mut twice = Twice { distance, fields: applied.total(), ..Twice::default() };
    let mut differences: Vec<(u64, u64)> = Vec::new();
    for (_, section) in first.loaded().filter(|(_, section)| section.sh_type != SHT_NOTE) {
        let Some(load) = first.load_address(section) else { continue };
        let start = load.wrapping_sub(link.physical);
        let range = start as usize..start.saturating_add(section.sh_size) as usize;
        let (Some(moved), Some(linked)) = (moved.bytes.get(range.clone()), linked.bytes.get(range))
        else {
            continue;
        };
        twice.bytes += section.sh_size;
        if moved != linked {
            collect(start, moved, linked, &spans, &mut differences);
        }
    }
    let describe = |&(at, end): &(u64, u64)| {
        let named = place(first, link, at.wrapping_add(link.physical).wrapping_add(link.map));
        let covered = covering(&spans, at).is_some();
        let bytes = |from: &[u8]| hex(from.get(at as usize..end as usize).unwrap_or_default());
        let what = if covered { "an entry names this field" } else { "no entry names this field" };
        Finding {
            bytes: end - at,
            ..Finding::new(
                Rule::Table,
                named.unwrap_or_else(|| format!("output+{at:#x}")),
                format!("{}, as linked there", bytes(&linked.bytes)),
                format!("{}, relocated; {what}", bytes(&moved.bytes)),
            )
        }
    };
    twice.findings = differences.iter().take(SHOWN).map(describe).collect();
    if let Some(next) = differences.get(SHOWN) {
        let rest = &differences[SHOWN..];
        let bytes = rest.iter().map(|(start, end)| end - start).sum();
        let like = describe(next);
        let place = format!("{} more places from {} on", rest.len(), like.place);
        twice.findings.push(Finding { place, ranges: rest.len() as u64, bytes, ..like });
    }
    Ok(twice)
}

/// Adds where two sections differ, in whole fields where an entry names one.
fn collect(
    start: u64,
    moved: &[u8],
    linked: &[u8],
    spans: &[(u64, u64)],
    differences: &mut Vec<(u64, u64)>,
) {
    let unequal = moved.iter().zip(linked).enumerate().filter(|(_, (left, right))| left != right);
    for (offset, _) in unequal {
        let at = start + offset as u64;
        let (first, behind) = covering(spans, at).unwrap_or((at, at + 1));
        match differences.last_mut() {
            Some((_, end)) if at < *end => {}
            Some((_, end)) if first == at && first == *end && behind == at + 1 => *end = behind,
            _ => differences.push((first, behind)),
        }
    }
}

fn covering(spans: &[(u64, u64)], at: u64) -> Option<(u64, u64)> {
    let behind = spans.partition_point(|span| span.0 <= at);
    let span = spans.get(behind.checked_sub(1)?)?;
    (at < span.1).then_some(*span)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Derived;
    use crate::vmlinux::fixture::{Elf, Sec};

    /// A kernel with one address in .text+8, and what a linker would have written `by` higher.
    fn linked(by: u64) -> Vmlinux {
        let mut elf = Elf::new(true);
        elf.base += by;
        let mut bytes = [0; 0x20];
        let text = elf.section(Sec::data(".text", 0));
        bytes[8..16].copy_from_slice(&(elf.address(text) + 4).to_le_bytes());
        elf.fill(text, &bytes);
        let foo = elf.symbol("foo", elf.address(text), text);
        elf.reloc(text, 8, 1, foo);
        let note = elf.section(Sec::note(".notes", 0));
        elf.fill(note, &by.to_le_bytes());
        Vmlinux::parse(elf.build()).unwrap()
    }

    #[test]
    fn what_the_linker_writes_is_what_relocation_makes() {
        let (low, high) = (linked(0), linked(0x500_0000));
        let table = Derived::new(&low).unwrap().table();
        let twice = judge(&low, &high, &table).unwrap();
        assert_eq!(twice, Twice { distance: 0x500_0000, bytes: 0x20, fields: 1, findings: vec![] });
        let found = judge(&low, &high, &RelocTable::default()).unwrap().findings;
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.place, "foo+0xb, .text");
        assert_eq!(finding.expected, "86, as linked there");
        assert_eq!(finding.actual, "81, relocated; no entry names this field");
        assert!(judge(&low, &low, &table).unwrap_err().to_string().contains("the same address"));
    }

    #[test]
    fn an_entry_too_many_is_a_field_that_the_linker_leaves_alone() {
        let (low, high) = (linked(0), linked(0x500_0000));
        let mut table = Derived::new(&low).unwrap().table();
        table.groups[0].entries.push(0x8100_0010);
        let found = judge(&low, &high, &table).unwrap().findings;
        let [finding] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&finding.place[..], finding.bytes), ("foo+0x10, .text", 8));
        assert!(finding.actual.ends_with("an entry names this field"), "{finding}");
    }

    #[test]
    fn kernels_of_other_objects_are_not_compared() {
        let kernel = |sizes: &[(&'static str, usize)], bits64| {
            let mut elf = Elf::new(bits64);
            for (name, size) in sizes {
                elf.section(Sec::data(name, *size));
            }
            Vmlinux::parse(elf.build()).unwrap()
        };
        let one = kernel(&[(".text", 0x20), (".data", 0x20)], true);
        let why = |other: &Vmlinux| same_layout(&one, other).err().map(|error| error.to_string());
        assert_eq!(why(&one), None);
        let sizes = "not the same objects: .data at 0x1000 with 0x20 bytes, and .data at 0x1000 with 0x30 bytes";
        assert_eq!(why(&kernel(&[(".text", 0x20), (".data", 0x30)], true)).as_deref(), Some(sizes));
        assert!(why(&kernel(&[(".text", 0x20), (".bss", 0x20)], true)).is_some());
        let others = Some("not the same objects: one has other sections");
        assert_eq!(why(&kernel(&[(".text", 0x20)], true)).as_deref(), others);
        assert_eq!(why(&kernel(&[(".text", 0x20), (".data", 0x20)], false)).as_deref(), others);
    }

    #[test]
    fn differences_are_whole_fields_or_runs_of_bytes() {
        let spans = [(0x104, 0x108), (0x108, 0x110)];
        let found = |places: &[usize]| {
            let (moved, mut linked) = ([0; 0x40], [0; 0x40]);
            places.iter().for_each(|place| linked[*place] = 1);
            let mut differences = Vec::new();
            collect(0x100, &moved, &linked, &spans, &mut differences);
            differences
        };
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[4, 7, 8]), [(0x104, 0x108), (0x108, 0x110)]);
        assert_eq!(found(&[0x20, 0x21, 0x22, 0x24]), [(0x120, 0x123), (0x124, 0x125)]);
        assert_eq!(found(&[3, 5]), [(0x103, 0x104), (0x104, 0x108)]);
        assert_eq!(found(&[0xf, 0x10, 0x11]), [(0x108, 0x112)]);
        assert_eq!(covering(&spans, 0x103), None);
        assert_eq!(covering(&spans, 0x110), None);
        assert_eq!(covering(&[], 0x110), None);
    }

    #[test]
    fn some_differences_are_shown_and_the_rest_is_counted() {
        let kernel = |by: u64, marks: &[usize]| {
            let mut elf = Elf::new(true);
            elf.base += by;
            let data = elf.section(Sec::data(".data", 0));
            let mut bytes = [0; 0x80];
            marks.iter().for_each(|mark| bytes[*mark] = 1);
            elf.fill(data, &bytes);
            elf.symbol("foo", elf.address(data), data);
            Vmlinux::parse(elf.build()).unwrap()
        };
        let low = kernel(0, &[]);
        let found = |marks: &[usize]| {
            judge(&low, &kernel(0x500_0000, marks), &RelocTable::default()).unwrap().findings
        };
        let five = [0, 4, 8, 12, 16];
        assert_eq!(found(&five).len(), 5);
        let more = found(&[0, 4, 8, 12, 16, 20, 24, 25]);
        assert_eq!(more.len(), 6);
        assert_eq!(more[5].place, "2 more places from foo+0x14, .data on");
        assert_eq!((more[5].ranges, more[5].bytes), (2, 3));
    }
}
