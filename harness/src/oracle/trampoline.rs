// SPDX-License-Identifier: GPL-2.0-only
//! Four and five levels of page tables can only be exchanged while paging is off: for that a stub copies a
//! piece of itself into low memory. It lies where the memory map allows it, runs only when needed, and what
//! was there before comes back (arch/x86/boot/compressed/pgtable_64.c).

use super::scene::Scene;
use super::{Finding, Rule};
use crate::case::FIRST_MEGABYTE;
use crate::image::WordSize;
use crate::machine::PAGE;
use crate::range::Range;

/// Judges whether and where code ran in low memory.
pub fn judge(scene: &Scene) -> Vec<Finding> {
    let Ok(paging) = &scene.paging else { return Vec::new() };
    if scene.subject.word == WordSize::Bits32 {
        return Vec::new();
    }
    // The copy begins somewhere in its page.
    let page = |range: &Range| range.end.saturating_sub(1) & !(PAGE - 1);
    let ran: Vec<u64> =
        scene.outcome.code.iter().filter(|r| r.end <= FIRST_MEGABYTE.end).map(page).collect();
    let expected = paging.trampoline.map(|range| range.start + PAGE);
    let text = |pages: &[u64]| match pages {
        [] => "none".to_owned(),
        pages => pages.iter().map(|page| format!("{page:#x}")).collect::<Vec<_>>().join(" "),
    };
    let expected: Vec<u64> = expected.into_iter().collect();
    if ran == expected {
        return Vec::new();
    }
    vec![Finding::new(Rule::Trampoline, "code in low memory", text(&expected), text(&ran))]
}

/// The pages of low memory that the stub borrows.
pub fn borrowed(scene: &Scene) -> Option<Range> {
    scene.paging.as_ref().ok().and_then(|paging| paging.trampoline)
}

/// Whether `address` lies in them.
pub fn covers(scene: &Scene, address: u64) -> bool {
    borrowed(scene).is_some_and(|range| range.contains(address))
}
