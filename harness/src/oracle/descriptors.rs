// SPDX-License-Identifier: GPL-2.0-only
//! Descriptor tables at the hand-off: they are the ones of the stub's copy, as what the loader left may be overwritten, and
//! have what the selectors stand for (arch/x86/boot/compressed/head_32.S, head_64.S, idt_64.c).

use super::scene::Scene;
use super::{Finding, Rule};
use crate::image::WordSize;
use crate::machine::{BOOT_CS, BOOT_DS, Table};
use crate::range::Range;

/// The first release whose stub loads its own GDT after it has moved.
const OWN_GDT: (u32, u32) = (5, 7);
/// The first release whose x86_64 stub takes its IDT away at its end (`cleanup_exception_handling()`).
const NO_IDT: (u32, u32) = (5, 13);

/// Judges the tables, and the descriptors of code and data.
pub fn judge(scene: &Scene) -> Vec<Finding> {
    let Scene { subject, outcome, placement, .. } = scene;
    let Some(copy) = outcome.code.iter().max_by_key(|range| (range.len(), range.start)) else {
        return Vec::new();
    };
    let copy = Range::new(placement.copy.unwrap_or(copy.start), placement.window.end);
    let inside = |table: Table| copy.covers(Range::sized(table.base, bytes(table)));
    let mut findings = Vec::new();
    if subject.since(OWN_GDT) {
        let gdt = outcome.registers.gdtr;
        if inside(gdt) {
            findings.extend(limit(gdt).or_else(|| descriptors(scene, gdt)));
        } else {
            findings.push(finding("gdtr", gdt, format!("a table inside the stub's copy {copy}")));
        }
    }
    let idt = outcome.registers.idtr;
    if idt.limit != 0 {
        if subject.word == WordSize::Bits64 && subject.since(NO_IDT) {
            findings.push(finding("idtr", idt, "no table: a limit of 0".into()));
        } else if !inside(idt) {
            findings.push(finding("idtr", idt, format!("a table inside the stub's copy {copy}")));
        }
    }
    findings
}

fn bytes(table: Table) -> u64 {
    u64::from(table.limit) + 1
}

fn finding(name: &str, table: Table, expected: String) -> Finding {
    let actual = format!("{} bytes at {:#x}", bytes(table), table.base);
    Finding { address: Some(table.base), ..Finding::new(Rule::HandOff, name, expected, actual) }
}

/// The limit is the offset of the last byte, and descriptors have eight.
fn limit(gdt: Table) -> Option<Finding> {
    const DESCRIPTOR: u64 = 8;
    let last = bytes(gdt) % DESCRIPTOR;
    (last != 0).then(|| {
        let expected = format!("whole descriptors of {DESCRIPTOR} bytes");
        Finding::new(Rule::HandOff, "gdtr limit", expected, format!("{:#x}", gdt.limit))
    })
}

/// Bits of a descriptor that matter, and how they must be (Intel SDM, volume 3, "Segment Descriptors"): present, for ring 0, no
/// system segment.
type Bits = (u64, u64);
/// Code of 64 bits, of which base and limit do not count.
const CODE_64: Bits = (0x0060_f800_0000_0000, 0x0020_9800_0000_0000);
/// Code of 32 bits, 4 GiB from 0 on.
const CODE_32: Bits = (0xffef_f8ff_ffff_ffff, 0x00cf_9800_0000_ffff);
/// Data that can be written, and end at the limit.
const DATA_64: Bits = (0x0000_fe00_0000_0000, 0x0000_9200_0000_0000);
/// The same, 4 GiB from 0 on.
const DATA_32: Bits = (0xffcf_feff_ffff_ffff, 0x00cf_9200_0000_ffff);

/// The descriptors that code and data selectors stand for.
fn descriptors(scene: &Scene, gdt: Table) -> Option<Finding> {
    let (code, data) = match scene.subject.word {
        WordSize::Bits64 => (CODE_64, DATA_64),
        WordSize::Bits32 => (CODE_32, DATA_32),
    };
    let known = [("code descriptor", BOOT_CS, code), ("data descriptor", BOOT_DS, data)];
    known.into_iter().find_map(|(name, selector, (mask, expected))| {
        let address = gdt.base + u64::from(selector);
        let inside = u64::from(selector) + 8 <= bytes(gdt);
        let found = scene.outcome.ram.slice(address, 8).filter(|_| inside);
        let found = found.map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        let wrong = found.is_none_or(|found| found & mask != expected);
        wrong.then(|| Finding {
            address: Some(address),
            ..Finding::new(
                Rule::HandOff,
                name,
                format!("{expected:#018x} in the bits {mask:#018x}"),
                found.map_or("none".into(), |found| format!("{found:#018x}")),
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GDT, Run, STUB, image};
    use super::*;
    use crate::case::Case;

    fn at(base: u64, limit: u32) -> Table {
        Table { base, limit }
    }

    fn places(run: &Run) -> Vec<String> {
        run.found(Rule::HandOff).into_iter().map(|found| found.0).collect()
    }

    #[test]
    fn descriptor_tables_lie_in_the_stubs_copy() {
        let run = Run::new(WordSize::Bits32);
        let window = run.scene().placement.window;
        let copy = window.end - STUB;
        for (table, inside) in [
            (at(copy, 0x2f), true),
            (at(copy - 1, 0x2f), false),
            (at(window.end - 0x30, 0x2f), true),
            (at(window.end - 0x2f, 0x2f), false),
            (at(window.end, 0x2f), false),
        ] {
            let mut run = Run::new(WordSize::Bits32);
            let gdt: Vec<u8> = GDT[0].iter().flat_map(|entry| entry.to_le_bytes()).collect();
            run.write(table.base, &gdt);
            run.outcome.registers.gdtr = table;
            let bytes = format!("48 bytes at {:#x}", table.base);
            let expected = [("gdtr".to_owned(), bytes.clone())];
            assert_eq!(run.found(Rule::HandOff), expected[..usize::from(!inside)], "{table:x?}");
            let found = run.judge().findings;
            let found = found.iter().filter(|found| found.rule == Rule::HandOff);
            assert!(found.map(|found| found.address).all(|at| at == Some(table.base)));
            run = Run::new(WordSize::Bits32);
            run.outcome.registers.idtr = table;
            let expected = [("idtr".to_owned(), bytes)];
            assert_eq!(run.found(Rule::HandOff), expected[..usize::from(!inside)], "{table:x?}");
        }
        let mut none = Run::new(WordSize::Bits64);
        none.outcome.registers.idtr = at(0x1234, 0);
        assert_eq!(none.said(), [] as [&str; 0], "an IDT without a gate is none");
    }

    #[test]
    fn x86_64_stubs_from_5_13_on_leave_no_idt() {
        for (word, release, found) in [
            (WordSize::Bits64, "5.12.19", &[][..]),
            (WordSize::Bits64, "5.13.0", &["idtr"]),
            (WordSize::Bits32, "6.1.192", &[]),
        ] {
            let mut run = Run::of(image(word, release, "nokaslr\0"), Case::default());
            run.outcome.registers.idtr = at(run.outcome.registers.gdtr.base, 0x1ff);
            assert_eq!(places(&run), found, "{release}");
        }
    }

    #[test]
    fn stubs_before_5_7_keep_the_loaders_gdt() {
        for (release, expected) in [("5.6.19", &[][..]), ("5.7.0", &["gdtr"]), ("6.0.0", &["gdtr"])]
        {
            let mut run = Run::of(image(WordSize::Bits64, release, "nokaslr\0"), Case::default());
            run.outcome.registers.gdtr.base = 0x3_0000;
            assert_eq!(places(&run), expected);
        }
    }

    #[test]
    fn a_table_has_whole_descriptors_of_what_is_selected() {
        let with = |word, limit: u32| {
            let mut run = Run::new(word);
            run.outcome.registers.gdtr.limit = limit;
            places(&run)
        };
        for word in [WordSize::Bits64, WordSize::Bits32] {
            assert_eq!(with(word, 0x1f), [] as [&str; 0]);
            assert_eq!(with(word, 0x20), ["gdtr limit"]);
            assert_eq!(with(word, 0x17), ["data descriptor"]);
            assert_eq!(with(word, 0x0f), ["code descriptor"]);
        }
    }

    #[test]
    fn each_bit_that_the_kernel_relies_on_counts() {
        let spoiled = |word, selector: u16, bit: u64| {
            let mut run = Run::new(word);
            let base = run.outcome.registers.gdtr.base + u64::from(selector) + bit / 8;
            let byte = run.outcome.ram.slice(base, 1).unwrap()[0];
            run.write(base, &[byte ^ 1 << (bit % 8)]);
            let findings = run.judge().findings.into_iter();
            let mut findings = findings.filter(|found| found.rule == Rule::HandOff);
            findings.next().is_some_and(|found| {
                assert_eq!(found.address, Some(base - bit / 8));
                true
            })
        };
        let relied_on = |word, selector| {
            (0..64).filter(|bit| spoiled(word, selector, *bit)).collect::<Vec<u64>>()
        };
        assert_eq!(relied_on(WordSize::Bits64, BOOT_CS), [43, 44, 45, 46, 47, 53, 54]);
        assert_eq!(relied_on(WordSize::Bits64, BOOT_DS), [41, 42, 43, 44, 45, 46, 47]);
        let unread =
            |wanted: &[u64]| (0..64).filter(|bit| !wanted.contains(bit)).collect::<Vec<_>>();
        assert_eq!(relied_on(WordSize::Bits32, BOOT_CS), unread(&[40, 41, 42, 52]));
        assert_eq!(relied_on(WordSize::Bits32, BOOT_DS), unread(&[40, 52, 53]));
    }
}
