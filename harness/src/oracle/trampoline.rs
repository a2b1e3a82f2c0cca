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

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, image};
    use super::*;
    use crate::case::Case;

    #[test]
    fn code_in_low_memory_is_where_the_trampoline_lies() {
        let place = Run::new(WordSize::Bits64).scene().paging.clone().unwrap().trampoline.unwrap();
        let code = place.start + PAGE;
        let none = "none".to_owned();
        for (ran, actual) in [
            (vec![Range::new(code, code + 0x70)], None),
            // It may begin anywhere in its page, and end where that does.
            (vec![Range::new(code + 0x10, code + PAGE)], None),
            (vec![Range::new(code, code + PAGE + 1)], Some(format!("{:#x}", code + PAGE))),
            (vec![], Some(none)),
            (vec![Range::new(0x10_0000, 0x10_0001)], Some("none".to_owned())),
            (
                vec![Range::new(code, code + 1), Range::new(0xf_fff0, 0x10_0000)],
                Some(format!("{code:#x} 0xff000")),
            ),
        ] {
            let mut run = Run::new(WordSize::Bits64);
            run.outcome.code.retain(|range| range.end > FIRST_MEGABYTE.end);
            run.outcome.code.extend(&ran);
            let expected = actual.map(|actual| ("code in low memory".to_owned(), actual));
            assert_eq!(run.found(Rule::Trampoline), expected.as_slice(), "{ran:x?}");
        }
    }

    #[test]
    fn where_none_is_needed_none_runs() {
        // `mov %rsp, %rbx; shr $32, %rbx`, by which a trampoline on demand is known, is no text.
        let mut run = Run::new(WordSize::Bits32);
        run.outcome.code.push(Range::new(0x9_0000, 0x9_0010));
        assert_eq!(run.said(), [] as [&str; 0], "i386 has no such thing");
        let mut old = Run::of(image(WordSize::Bits64, "5.9.0", "nokaslr\0"), Case::default());
        old.outcome.code.push(Range::new(0x9_0000, 0x9_0010));
        assert_eq!(old.found(Rule::Trampoline), [], "not modelled");
        assert_eq!(borrowed(&old.scene()), None);
    }
}
