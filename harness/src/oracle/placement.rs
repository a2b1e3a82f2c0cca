// SPDX-License-Identifier: GPL-2.0-only
//! Where the kernel lies and what it was relocated for: exactly where the reference says.

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule, Subject};
use crate::case::{Case, FIRST_MEGABYTE, MemoryKind};
use crate::image::WordSize;
use crate::machine::PAGE;
use crate::range::Range;
use crate::reference::Placement;

/// Compares what the stub did with what it should have done.
pub fn judge(scene: &Scene, landing: Landing) -> Vec<Finding> {
    let rule = if scene.may_choose() { Rule::Kaslr } else { Rule::Placement };
    let mut findings = Vec::new();
    if let Ok(prediction) = &scene.prediction {
        let mut expect = |place: &str, expected: u64, actual: u64| {
            if expected != actual {
                let (expected, actual) = (format!("{expected:#x}"), format!("{actual:#x}"));
                findings.push(Finding::new(rule, place, expected, actual));
            }
        };
        expect("output", prediction.output, landing.output);
        if scene.subject.word == WordSize::Bits64 {
            expect("virt", prediction.virt, landing.virt);
        }
    }
    findings
}

/// Whether KASLR may have chosen `output`: a stub that puts the kernel anywhere else has no right to.
pub fn believable(subject: &Subject, placement: &Placement, output: u64) -> bool {
    let alignment = subject.image.header().kernel_alignment.map_or(PAGE, u64::from);
    output == placement.output || output.is_multiple_of(alignment)
}

/// The memory that KASLR chooses from, when it is not known how.
pub fn anywhere(case: &Case) -> impl Iterator<Item = Range> + '_ {
    let low = FIRST_MEGABYTE.end;
    let usable = case.memory.iter().filter(|entry| entry.kind == MemoryKind::Usable);
    usable
        .map(|entry| entry.range())
        .filter(move |range| range.end > low)
        .map(move |range| Range::new(range.start.max(low), range.end))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run};
    use super::*;
    use crate::case::MemoryEntry;

    #[test]
    fn a_kernel_that_kaslr_must_not_move_stays() {
        let said = Run::new(WordSize::Bits64).moved(64 * MIB, 16 * MIB).said();
        assert_eq!(said, ["placement: output"]);
        let said = Run::new(WordSize::Bits64).moved(16 * MIB, 18 * MIB).said();
        assert_eq!(said, ["placement: virt"]);
        let said = Run::new(WordSize::Bits32).moved(64 * MIB, 0).said();
        assert_eq!(said, ["placement: output"]);
    }

    #[test]
    fn kaslr_chooses_what_its_inputs_make_it_choose() {
        let right = Run::chosen(WordSize::Bits64).judge().landing.unwrap();
        let said = Run::chosen(WordSize::Bits64).moved(right.output ^ (2 * MIB), right.virt).said();
        assert_eq!(said, ["kaslr: output"]);
        let said = Run::chosen(WordSize::Bits64).moved(right.output, right.virt ^ (2 * MIB)).said();
        assert_eq!(said, ["kaslr: virt"]);
    }

    #[test]
    fn kaslr_has_no_right_to_a_place_that_is_not_aligned() {
        let run = Run::new(WordSize::Bits64);
        let placement = Placement { output: 0x123_4000, ..run.scene().placement };
        for (output, may) in [(0x123_4000, true), (0x120_0000, true), (0x121_0000, false)] {
            assert_eq!(believable(&run.subject, &placement, output), may, "{output:#x}");
        }
    }

    #[test]
    fn kaslr_chooses_from_free_memory_above_the_first_megabyte() {
        let entry = |start, end, kind| MemoryEntry { start, end, kind };
        let memory = vec![
            entry(0, 0x9_f000, MemoryKind::Usable),
            entry(0x1000, 0x10_0000, MemoryKind::Usable),
            entry(0x8_0000, 0x30_0000, MemoryKind::Usable),
            entry(0x40_0000, 0x50_0000, MemoryKind::Reserved),
            entry(0x50_0000, 0x60_0000, MemoryKind::Usable),
        ];
        let case = Case { memory, ..Case::default() };
        let expected = [Range::new(0x10_0000, 0x30_0000), Range::new(0x50_0000, 0x60_0000)];
        assert_eq!(anywhere(&case).collect::<Vec<_>>(), expected);
    }
}
