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

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run, build, fixture};
    use super::*;
    use crate::case::Case;
    use crate::image::RelocTable;

    #[test]
    fn a_kernel_is_found_where_it_lies_and_not_where_the_jump_went() {
        let landing = |change: fn(&mut Run)| {
            let mut run = Run::new(WordSize::Bits64).moved(64 * MIB, 18 * MIB);
            change(&mut run);
            run.judge().landing.unwrap()
        };
        let right = Landing { output: 64 * MIB, virt: 18 * MIB };
        assert_eq!(landing(|_| ()), right);
        assert_eq!(landing(|run| run.outcome.registers.rip += 0x12_3456), right, "beside it");
        // Nothing looks like the kernel: the jump counts.
        let lost =
            landing(|run| run.outcome.registers.rip = 0x3000_0000 + run.subject.entry_offset());
        assert_eq!(lost.output, 0x3000_0000);
    }

    #[test]
    fn where_nothing_is_predicted_it_is_looked_for_everywhere() {
        let mut fixture = fixture(WordSize::Bits64, "6.1.192", "nokaslr\0");
        fixture.stub_text = fixture.stub_text.replace("6.1.192 (", "6.1.192_(");
        let case = Case { command_line: Some("quiet".into()), ..Case::default() };
        let mut run = Run::of(build(fixture), case).moved(64 * MIB, 20 * MIB);
        run.outcome.registers.rip = 0x10_0000;
        assert_eq!(run.judge().landing, Some(Landing { output: 64 * MIB, virt: 20 * MIB }));
    }

    #[test]
    fn half_of_the_kernel_is_enough_to_believe_the_jump() {
        let mut fixture = fixture(WordSize::Bits64, "6.1.192", "nokaslr\0");
        fixture.stub_text = fixture.stub_text.replace("6.1.192 (", "6.1.192_(");
        let case = Case { command_line: Some("quiet".into()), ..Case::default() };
        let mut run = Run::of(build(fixture), case);
        const HALF: usize = 1 << 19;
        run.subject.moved = vec![0x5a; 2 * HALF];
        run.write(64 * MIB, &[0x5a; 2 * HALF]);
        run.write(32 * MIB, &[[0x5a; HALF], [0; HALF]].concat());
        run.outcome.registers.rip = 32 * MIB + run.subject.entry_offset();
        assert_eq!(find(&run.scene()).output, 32 * MIB);
        run.flip(32 * MIB);
        assert_eq!(find(&run.scene()).output, 64 * MIB);
    }

    #[test]
    fn similar_is_what_has_most_of_the_bytes() {
        let mut run = Run::new(WordSize::Bits64);
        let whole = run.subject.moved.len();
        assert_eq!(similarity(&run.subject, &run.outcome, 16 * MIB), whole);
        run.flip(16 * MIB + 3);
        run.flip(16 * MIB + 0x100);
        assert_eq!(similarity(&run.subject, &run.outcome, 16 * MIB), whole - 2);
        assert_eq!(similarity(&run.subject, &run.outcome, 5 << 40), 0, "no RAM");
        // A large kernel is sampled: 64 bytes at 64 places.
        run.subject.moved = vec![0x5a; 1 << 20];
        run.write(32 * MIB, &vec![0x5a; 1 << 20]);
        assert_eq!(similarity(&run.subject, &run.outcome, 32 * MIB), SAMPLES * SAMPLE_BYTES);
        run.flip(32 * MIB + (1 << 14) + 63);
        run.flip(32 * MIB + (1 << 14) + 64);
        assert_eq!(similarity(&run.subject, &run.outcome, 32 * MIB), SAMPLES * SAMPLE_BYTES - 1);
    }

    /// A kernel with 40 fields of each of two kinds, at 16 MiB.
    fn many_fields() -> Run {
        let mut run = Run::new(WordSize::Bits64);
        run.subject.moved = vec![0; 0x1000];
        let group = |kind, first: u32| crate::image::Group {
            kind,
            entries: (0..40).map(|i| 0x8100_0000 + first + i * 8).collect(),
            first_word: 0,
        };
        let groups = vec![group(RelocKind::Abs32, 0), group(RelocKind::Abs64, 0x400)];
        run.subject.table = RelocTable { groups, ..RelocTable::default() };
        run.write(16 * MIB, &[0; 0x1000]);
        run
    }

    fn put(run: &mut Run, first: u64, values: impl IntoIterator<Item = u64>, width: usize) {
        for (index, value) in values.into_iter().enumerate() {
            run.write(16 * MIB + first + index as u64 * 8, &value.to_le_bytes()[..width]);
        }
    }

    #[test]
    fn most_fields_say_by_how_much_the_kernel_moved() {
        let mut run = many_fields();
        let moved =
            |run: &Run, predicted| distance(&run.subject, &run.outcome, 16 * MIB, predicted);
        assert_eq!(moved(&run, None), Some(0));
        put(&mut run, 0, [0x20_0000; 40], 4);
        assert_eq!(moved(&run, None), Some(0), "of equally many the smallest");
        put(&mut run, 0x400, [0x20_0000; 1], 8);
        assert_eq!(moved(&run, None), Some(0x20_0000));
        // Down, in both widths.
        put(&mut run, 0, [-0x20_0000i64 as u64; 40], 4);
        put(&mut run, 0x400, [-0x20_0000i64 as u64; 40], 8);
        assert_eq!(moved(&run, None), Some(-0x20_0000i64 as u64));
        run.subject.table = RelocTable::default();
        assert_eq!(moved(&run, None), None);
        assert_eq!(moved(&run, Some(5)), None);
    }

    #[test]
    fn a_predicted_distance_needs_a_sixteenth_of_the_fields() {
        let mut run = many_fields();
        let moved =
            |run: &Run, predicted| distance(&run.subject, &run.outcome, 16 * MIB, predicted);
        put(&mut run, 0, [7; 40], 4);
        put(&mut run, 0x400, [9; 4], 8);
        put(&mut run, 0x420, [7; 36], 8);
        assert_eq!(moved(&run, Some(9)), Some(7), "four of eighty");
        put(&mut run, 0x400, [9; 5], 8);
        assert_eq!(moved(&run, Some(9)), Some(9));
        assert_eq!(moved(&run, Some(8)), Some(7));
        assert_eq!(moved(&run, None), Some(7));
    }

    #[test]
    fn inverse_fields_move_the_other_way() {
        let mut run = many_fields();
        run.subject.table.groups.truncate(1);
        run.subject.table.groups[0].kind = RelocKind::Inverse32;
        put(&mut run, 0, [-0x40_0000i64 as u64; 40], 4);
        assert_eq!(distance(&run.subject, &run.outcome, 16 * MIB, None), Some(0x40_0000));
    }

    #[test]
    fn at_most_some_thousand_fields_are_asked() {
        let mut run = many_fields();
        run.subject.moved = vec![0; 0x2_0000];
        run.write(16 * MIB, &[0; 0x2_0000]);
        run.subject.table.groups.truncate(1);
        // Twice as many as are asked: every other one, from the last on.
        run.subject.table.groups[0].entries = (0..0x2000).map(|i| 0x8100_0000 + i * 8).collect();
        let odd = (0..0x2000).map(|index| if index % 2 == 1 { 0x20_0000 } else { 0 });
        put(&mut run, 0, odd, 4);
        assert_eq!(distance(&run.subject, &run.outcome, 16 * MIB, None), Some(0x20_0000));
    }

    #[test]
    fn fields_outside_have_no_vote() {
        assert_eq!(word(&[1, 2, 3, 4, 5], RelocKind::Abs32, 1), Some(0x0504_0302));
        assert_eq!(word(&[1, 2, 3, 4, 5], RelocKind::Abs32, 2), None);
        assert_eq!(word(&[1, 2, 3, 4, 5], RelocKind::Inverse32, u64::MAX), None);
        assert_eq!(word(&[1; 8], RelocKind::Abs64, 0), Some(0x0101_0101_0101_0101));
    }
}
