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
