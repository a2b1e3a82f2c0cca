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
    use super::*;

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
}
