// SPDX-License-Identifier: GPL-2.0-only
//! Every byte of [output, output + output_len) equals the reference, gaps between segments included.

use std::collections::BTreeMap;

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule, Subject, invariance};
use crate::reference::{Applied, ReferenceError, fields, relocate};

/// Differing bytes closer than this belong to one range.
const JOIN: usize = 8;
/// So many bytes of each range are shown.
const SHOWN: usize = 8;
const CHUNK: usize = 4096;

/// What the comparison says.
pub struct Compared {
    /// Deviations.
    pub findings: Vec<Finding>,
    /// A digest of the kernel in memory, with its relocation undone.
    pub kernel: Option<u64>,
    /// Fields that hold their relocated value, if nothing is found.
    pub applied: Applied,
}

/// Compares the kernel in memory with the reference for the same addresses. Also counts the relocations
/// that the reference applied, and so memory holds if nothing is found.
///
/// # Errors
///
/// The reference has nothing to compare with: the table points outside the kernel.
pub fn judge(scene: &Scene, landing: Landing) -> Result<Compared, ReferenceError> {
    let Scene { subject, outcome, .. } = scene;
    let mut expected = subject.moved.clone();
    let applied =
        relocate(&mut expected, &subject.table, subject.link, landing.output, landing.virt)?;
    let Some(actual) = outcome.ram.slice(landing.output, expected.len()) else {
        let place = format!("output+0..{:#x}", expected.len());
        let finding = Finding {
            address: Some(landing.output),
            ..Finding::new(Rule::Memory, place, "the kernel, in RAM", "no RAM there")
        };
        return Ok(Compared { findings: vec![finding], kernel: None, applied });
    };
    let mut by_part: BTreeMap<Option<usize>, Finding> = BTreeMap::new();
    for (start, end) in differences(&expected, actual) {
        let part = subject.part(start as u64);
        let finding = by_part.entry(part).or_insert_with(|| {
            let shown = start..end.min(start + SHOWN);
            Finding {
                address: Some(landing.output + start as u64),
                ranges: 0,
                ..Finding::new(
                    Rule::Memory,
                    describe(subject, start as u64),
                    bytes(&expected[shown.clone()]),
                    bytes(&actual[shown]),
                )
            }
        });
        finding.ranges += 1;
        finding.bytes += expected[start..end]
            .iter()
            .zip(&actual[start..end])
            .filter(|(expected, actual)| expected != actual)
            .count() as u64;
    }
    let kernel = match by_part.is_empty() {
        true => Some(subject.digest),
        false => invariance::unrelocated(subject, landing, actual),
    };
    Ok(Compared { findings: by_part.into_values().collect(), kernel, applied })
}

/// The ranges in which two equally long slices differ.
fn differences(expected: &[u8], actual: &[u8]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let chunks = expected.chunks(CHUNK).zip(actual.chunks(CHUNK)).enumerate();
    for (number, (expected, actual)) in chunks.filter(|(_, (expected, actual))| expected != actual)
    {
        for (i, _) in expected.iter().zip(actual).enumerate().filter(|(_, (a, b))| a != b) {
            let at = number * CHUNK + i;
            match ranges.last_mut() {
                Some((_, end)) if at < *end + JOIN => *end = at + 1,
                _ => ranges.push((at, at + 1)),
            }
        }
    }
    ranges
}

/// The place of a byte, and the table entry whose field it is in.
fn describe(subject: &Subject, offset: u64) -> String {
    let field = fields(&subject.table, subject.link).find(|(kind, start, _)| {
        (*start..start.saturating_add(kind.width() as u64)).contains(&offset)
    });
    let place = subject.describe(offset);
    match field {
        Some((kind, _, entry)) => format!("{place}, field of the {kind} entry {entry:#x}"),
        None => place,
    }
}

fn bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run};
    use super::*;
    use crate::image::WordSize;

    #[test]
    fn differences_are_found_to_the_byte_and_joined_when_near() {
        let expected = vec![0; 3 * CHUNK];
        let mut actual = expected.clone();
        for at in [0, 3, 100, CHUNK - 1, CHUNK, 3 * CHUNK - 1] {
            actual[at] = 1;
        }
        let ranges = differences(&expected, &actual);
        assert_eq!(
            ranges,
            [(0, 4), (100, 101), (CHUNK - 1, CHUNK + 1), (3 * CHUNK - 1, 3 * CHUNK)]
        );
        assert!(differences(&expected, &expected).is_empty());
    }

    #[test]
    fn each_part_of_the_kernel_is_one_finding() {
        let mut run = Run::new(WordSize::Bits64);
        let output = 16 * MIB;
        // In the 64-bit field, behind it, and behind the segment.
        for at in [0x20, 0x27, 0x30, 0x3f, 0x48, 0x150] {
            run.flip(output + at);
        }
        let found = run.judge().findings;
        let shown: Vec<_> =
            found.iter().map(|f| (&f.place[..], f.address.unwrap(), f.ranges, f.bytes)).collect();
        assert_eq!(
            shown,
            [
                ("gap at output+0x48", output + 0x48, 2, 2),
                (
                    "segment 0 (r-x) 0xffffffff81000020, field of the 64-bit entry 0x81000020",
                    output + 0x20,
                    3,
                    4
                ),
            ]
        );
        assert!(found.iter().all(|found| found.rule == Rule::Memory));
        assert_eq!(found[1].expected, "cc cc cc cc cc cc cc cc");
        assert_eq!(found[1].actual, "cd cc cc cc cc cc cc cd");
        let mut run = Run::new(WordSize::Bits64);
        (0x20..0x34).for_each(|at| run.flip(output + at));
        let found = &run.judge().findings[0];
        assert_eq!((found.ranges, found.bytes, found.actual.len()), (1, 20, 8 * 3 - 1));
    }

    #[test]
    fn a_field_ends_with_its_last_byte() {
        let run = Run::new(WordSize::Bits64);
        let entry =
            |offset| describe(&run.subject, offset).split_once("entry ").map(|e| e.1.to_owned());
        for (offset, expected) in [
            (0x7, None),
            (0x8, Some("0x81000008")),
            (0xb, Some("0x81000008")),
            (0xc, None),
            (0x13, Some("0x81000010")),
            (0x14, None),
            (0x27, Some("0x81000020")),
            (0x28, None),
        ] {
            assert_eq!(entry(offset).as_deref(), expected, "{offset:#x}");
        }
    }

    #[test]
    fn the_kernel_is_told_by_its_bytes_wherever_it_runs() {
        let plain = Run::new(WordSize::Bits64).judge();
        let moved = Run::chosen(WordSize::Bits64);
        assert_eq!(plain.kernel, moved.judge().kernel);
        assert_eq!(plain.applied.total(), 0);
        assert_eq!(moved.judge().applied.total(), 3);
        let mut other = Run::chosen(WordSize::Bits64);
        let output = other.judge().landing.unwrap().output;
        other.flip(output + 0x38);
        let digest = other.judge().kernel;
        assert!(digest.is_some() && digest != plain.kernel);
        // The same mistake in a kernel that was not moved.
        let mut still = Run::new(WordSize::Bits64);
        still.flip(16 * MIB + 0x38);
        assert_eq!(still.judge().kernel, digest);
    }

    #[test]
    fn a_kernel_outside_of_ram_is_none() {
        let mut run = Run::new(WordSize::Bits64);
        run.outcome.registers.rip = 5 << 40;
        let lost = super::super::Landing { output: 5 << 40, virt: 16 * MIB };
        let compared = judge(&run.scene(), lost).unwrap();
        assert_eq!(compared.findings[0].actual, "no RAM there");
        assert_eq!(compared.findings[0].address, Some(5 << 40));
        assert_eq!((compared.findings.len(), compared.kernel), (1, None));
    }

    #[test]
    fn a_table_that_leaves_the_kernel_cannot_be_applied() {
        let mut run = Run::chosen(WordSize::Bits64);
        run.subject.table.groups[0].entries.push(0x8200_0000);
        let said = run.said();
        assert_eq!(said, ["relocation table: 32-bit entry 0x82000000 points outside the kernel"]);
    }
}
