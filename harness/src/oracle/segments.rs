// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's segments, before anything runs: each at the same distance between its virtual and its physical address,
//! none over another.

use memchr::memmem;

use super::{Finding, Rule};
use crate::image::{Image, Kernel, Segment, WordSize};
use crate::reference::Link;

/// What x86_64 maps from `__START_KERNEL_map` on, at most (KERNEL_IMAGE_SIZE, asm/page_64_types.h).
const KERNEL_MAPPING: u64 = 1 << 30;

/// What x86_64 maps the kernel by.
const LARGE_PAGE: u64 = 2 << 20;

/// Judges the segments of `kernel`.
pub fn judge(image: &Image, kernel: &Kernel, link: Link) -> Vec<Finding> {
    let mut findings = Vec::new();
    let displaced: Vec<Finding> = kernel
        .segments
        .iter()
        .enumerate()
        .filter_map(|(index, segment)| distance(index, segment, link))
        .collect();
    // A segment in the wrong place may well lie over another.
    if displaced.is_empty() {
        findings.extend(overlap(&kernel.segments));
    }
    findings.extend(displaced);
    findings.extend(alignment(image, &kernel.segments));
    findings
}

/// A stub that tests how segments are aligned stops at one that is not (`parse_elf()`,
/// arch/x86/boot/compressed/misc.c, 4.16, x86_64).
fn alignment(image: &Image, segments: &[Segment]) -> Option<Finding> {
    let tests = memmem::find(image.protected_mode(), b"Alignment of LOAD segment isn't multiple");
    tests?;
    let (index, segment) =
        segments.iter().enumerate().find(|(_, segment)| segment.align % LARGE_PAGE != 0)?;
    let expected = format!("p_align a multiple of {LARGE_PAGE:#x}");
    let actual = format!("{:#x}", segment.align);
    Some(Finding::new(Rule::Placement, format!("segment {index}"), expected, actual))
}

fn distance(index: usize, segment: &Segment, link: Link) -> Option<Finding> {
    let linked = match link.word {
        WordSize::Bits32 => segment.vaddr.wrapping_sub(link.map) & 0xffff_ffff,
        WordSize::Bits64 => segment.vaddr.wrapping_sub(link.map),
    };
    // x86_64 has had segments that run elsewhere: per-cpu data at 0 (until 6.14), vsyscalls at the top (until 3.0).
    if linked == segment.paddr || link.word == WordSize::Bits64 && linked >= KERNEL_MAPPING {
        return None;
    }
    let expected = format!("p_paddr {linked:#x}, for p_vaddr {:#x}", segment.vaddr);
    let actual = format!("{:#x}", segment.paddr);
    Some(Finding::new(Rule::Placement, format!("segment {index}"), expected, actual))
}

fn overlap(segments: &[Segment]) -> Option<Finding> {
    let mut spans: Vec<(u64, u64, usize)> = segments
        .iter()
        .enumerate()
        .filter(|(_, segment)| segment.filesz > 0)
        .map(|(index, segment)| {
            (segment.paddr, segment.paddr.saturating_add(segment.filesz), index)
        })
        .collect();
    spans.sort_unstable();
    spans.windows(2).find(|pair| pair[1].0 < pair[0].1).map(|pair| {
        Finding::new(
            Rule::Placement,
            format!("segment {}", pair[1].2),
            format!("behind the end of segment {}, {:#x}", pair[0].2, pair[0].1),
            format!("p_paddr {:#x}", pair[1].0),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, build, fixture, image};
    use super::*;
    use crate::case::Case;

    const WIDE: Link =
        Link { physical: 0x100_0000, map: 0xffff_ffff_8000_0000, word: WordSize::Bits64 };
    const NARROW: Link = Link { physical: 0x100_0000, map: 0xc000_0000, word: WordSize::Bits32 };

    fn segment(vaddr: u64, paddr: u64) -> Segment {
        Segment { offset: 0, paddr, vaddr, filesz: 0x1000, memsz: 0x1000, align: 0, flags: 7 }
    }

    #[test]
    fn each_segment_lies_where_it_is_linked_for() {
        for (vaddr, paddr, link) in [
            (0xffff_ffff_8100_0000, 0x100_0000, WIDE),
            (0, 0x301_8000, WIDE),
            (0xffff_ffff_ff60_0000, 0x180_0000, WIDE),
            (0xc1c3_9000, 0x1c3_9000, NARROW),
        ] {
            assert_eq!(distance(0, &segment(vaddr, paddr), link), None);
        }
        let found = distance(2, &segment(0xffff_ffff_8200_0000, 0x1e0_0000), WIDE).unwrap();
        assert_eq!(
            found.to_string(),
            "placement: segment 2: expected p_paddr 0x2000000, for p_vaddr 0xffffffff82000000, found 0x1e00000"
        );
        assert!(distance(0, &segment(0, 0x301_8000), NARROW).is_some());
    }

    #[test]
    fn segments_that_touch_do_not_overlap() {
        let at = |paddr| segment(0, paddr);
        assert_eq!(overlap(&[at(0x2000), at(0x1000), at(0x3000)]), None);
        let found = overlap(&[at(0x3800), at(0x1000), at(0x3000)]).unwrap();
        assert_eq!((&found.place[..], &found.actual[..]), ("segment 0", "p_paddr 0x3800"));
    }

    #[test]
    fn alignment_counts_where_the_stub_tests_it() {
        let tests = "Alignment of LOAD segment isn't multiple";
        let found = |words, align| {
            let run = Run::of(image(WordSize::Bits64, "6.1.192", words), Case::default());
            alignment(&run.subject.image, &[Segment { align, ..segment(0, 0) }])
        };
        assert_eq!(found(tests, 0x40_0000), None);
        assert_eq!(found("", 0x1000), None);
        assert_eq!(found(tests, 0x1000).unwrap().actual, "0x1000");
        assert_eq!(found(tests, 0x30_0000).unwrap().place, "segment 0");
    }

    #[test]
    fn an_empty_segment_overlaps_nothing() {
        let empty = Segment { filesz: 0, ..segment(0, 0x1800) };
        assert_eq!(overlap(&[segment(0, 0x1000), empty, segment(0, 0x2000)]), None);
        let high = Segment { filesz: u64::MAX, ..segment(0, 0x1000) };
        assert!(overlap(&[high, segment(0, 0x2000)]).is_some());
    }

    #[test]
    fn a_segment_may_run_elsewhere_only_outside_of_the_kernels_mapping() {
        let at = |vaddr| distance(0, &segment(vaddr, 0x180_0000), WIDE);
        assert_eq!(at(0xffff_ffff_c000_0000), None);
        assert!(at(0xffff_ffff_bfff_f000).is_some());
        assert!(distance(0, &segment(0x8000_0000, 0x180_0000), NARROW).is_some());
    }

    #[test]
    fn an_image_of_displaced_segments_is_told_once() {
        let run = Run::of(build(fixture(WordSize::Bits64, "6.1.192", "")), Case::default());
        let mut kernel = run.subject.image.kernel().unwrap();
        let link = run.subject.link;
        let said = |kernel: &Kernel| {
            let found = judge(&run.subject.image, kernel, link);
            found.into_iter().map(|f| format!("{} {}", f.place, f.actual)).collect::<Vec<_>>()
        };
        assert_eq!(said(&kernel), [] as [&str; 0]);
        let first = kernel.segments[0].clone();
        let second = Segment { vaddr: first.vaddr + 0x20, paddr: first.paddr + 0x20, ..first };
        kernel.segments.push(second);
        assert_eq!(said(&kernel), ["segment 1 p_paddr 0x1000020"], "one over the other");
        kernel.segments[1].vaddr += 0x1000;
        assert_eq!(said(&kernel), ["segment 1 0x1000020"], "why it is");
    }
}
