// SPDX-License-Identifier: GPL-2.0-only
//! Where the kernel ended up, and what it was relocated for: read from the memory that the stub left.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::iter;

use super::Subject;
use super::scene::Scene;
use crate::image::{RelocKind, WordSize};
use crate::machine::{Outcome, PAGE};
use crate::reference::fields;

/// What a stub did with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landing {
    /// Physical address of the kernel's first byte.
    pub output: u64,
    /// The virtual base that its fields were relocated for, as far as they agree; on i386 the same as `output`.
    pub virt: u64,
}

/// So many places of the kernel are compared to tell where it lies.
const SAMPLES: usize = 64;
const SAMPLE_BYTES: usize = 64;
/// So many fields are asked for the distance by which they moved.
const VOTERS: usize = 4096;
/// A part of the voters that is far too large for chance: one in so many.
const BELIEVED: usize = 16;

/// Finds the kernel. It is looked for where the jump went or should have gone, and where it must be; where that is not
/// known, and the jump went astray, wherever it may be.
pub fn find(scene: &Scene) -> Landing {
    let Scene { subject, outcome, placement, .. } = scene;
    let prediction = scene.prediction.as_ref().ok();
    let jump = outcome.registers.rip.wrapping_sub(subject.entry_offset());
    let alignment = subject.image.header().kernel_alignment.map_or(PAGE, u64::from).max(PAGE);
    let likely = [jump, jump - jump % alignment, placement.output];
    let likely = likely.into_iter().chain(prediction.map(|prediction| prediction.output));
    let (mut output, similarity) = most_similar(subject, outcome, likely);
    if prediction.is_none() && similarity < SAMPLES * SAMPLE_BYTES / 2 {
        let everywhere = outcome.ram.ranges().flat_map(|region| {
            let first = region.start.next_multiple_of(alignment);
            (first..region.end).step_by(alignment as usize)
        });
        (output, _) = most_similar(subject, outcome, iter::once(output).chain(everywhere));
    }
    let virt = match subject.word {
        WordSize::Bits32 => output,
        WordSize::Bits64 => {
            let link = subject.link.physical;
            let predicted = prediction.map(|prediction| prediction.virt.wrapping_sub(link));
            link.wrapping_add(distance(subject, outcome, output, predicted).unwrap_or(0))
        }
    };
    Landing { output, virt }
}

/// The first of the places that look most like the kernel, and how much it does.
fn most_similar(
    subject: &Subject,
    outcome: &Outcome,
    places: impl Iterator<Item = u64>,
) -> (u64, usize) {
    places
        .map(|place| (place, similarity(subject, outcome, place)))
        .min_by_key(|(_, similarity)| Reverse(*similarity))
        .expect("the jump went somewhere")
}

/// How many bytes of a sample of the kernel stand at `output`; relocated fields cost a few.
fn similarity(subject: &Subject, outcome: &Outcome, output: u64) -> usize {
    let step = (subject.moved.len() / SAMPLES).max(SAMPLE_BYTES);
    let equal = |(start, sample): (usize, &[u8])| {
        let there = outcome.ram.slice(output.wrapping_add(start as u64), sample.len());
        there.map_or(0, |there| there.iter().zip(sample).filter(|(a, b)| a == b).count())
    };
    (0..subject.moved.len())
        .step_by(step)
        .map(|start| {
            let end = (start + SAMPLE_BYTES).min(subject.moved.len());
            equal((start, &subject.moved[start..end]))
        })
        .sum()
}

/// The distance by which the stub meant to move the fields: the `predicted` one if many of them moved by it, else that
/// of most fields; of equally many the smallest.
///
/// A stub that moves a whole group of the table wrongly may have most fields wrong: the memory oracle has to say so,
/// and would call the right ones wrong if the majority decided.
fn distance(
    subject: &Subject,
    outcome: &Outcome,
    output: u64,
    predicted: Option<u64>,
) -> Option<u64> {
    let all = fields(&subject.table, subject.link);
    let count = all.clone().count();
    let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
    for (kind, offset, _) in all.step_by((count / VOTERS).max(1)) {
        let Some(before) = word(&subject.moved, kind, offset) else { continue };
        let Some(bytes) = outcome.ram.slice(output.wrapping_add(offset), kind.width()) else {
            continue;
        };
        let Some(after) = word(bytes, kind, 0) else { continue };
        let moved = match kind {
            RelocKind::Abs64 => after.wrapping_sub(before),
            RelocKind::Abs32 => i64::from(after.wrapping_sub(before) as i32) as u64,
            RelocKind::Inverse32 => i64::from(before.wrapping_sub(after) as i32) as u64,
        };
        *votes.entry(moved).or_default() += 1;
    }
    let voters: usize = votes.values().sum();
    let as_predicted = predicted
        .filter(|moved| votes.get(moved).is_some_and(|count| *count >= voters.div_ceil(BELIEVED)));
    if as_predicted.is_some() {
        return as_predicted;
    }
    let most = votes.values().copied().max()?;
    votes.into_iter().find(|(_, count)| *count == most).map(|(moved, _)| moved)
}

fn word(bytes: &[u8], kind: RelocKind, offset: u64) -> Option<u64> {
    let rest = bytes.get(usize::try_from(offset).ok()?..)?;
    match kind {
        RelocKind::Abs64 => rest.first_chunk().copied().map(u64::from_le_bytes),
        RelocKind::Abs32 | RelocKind::Inverse32 => {
            rest.first_chunk().copied().map(|bytes| u32::from_le_bytes(bytes).into())
        }
    }
}
