// SPDX-License-Identifier: GPL-2.0-only
//! A kernel that KASLR moved lies in free memory, whatever the reference predicts: aligned, inside one
//! region, over nothing that anyone still needs (arch/x86/boot/compressed/kaslr.c, `mem_avoid`).

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule, Subject};
use crate::case::{Case, Efi, EfiKind, MemoryKind, objects};
use crate::image::WordSize;
use crate::range::Range;
use crate::reference::Placement;

/// `KERNEL_IMAGE_SIZE`: what x86_64 maps for the kernel with RANDOMIZE_BASE (asm/page_64_types.h).
const KERNEL_MAPPING: u64 = 1 << 30;
/// KASLR looks for places from here on, if the kernel does not lie lower anyway.
const LOWEST: u64 = 512 << 20;

/// What of the loader's things must stay. The others lie in memory that no map calls free.
const STILL_NEEDED: [&str; 5] =
    ["boot_params", "command line", "initrd", "setup_data", "indirect setup_data"];

/// Judges where the kernel lies.
pub fn judge(scene: &Scene, landing: Landing) -> Vec<Finding> {
    let Scene { subject, case, placement, .. } = scene;
    let mut findings = Vec::new();
    let alignment = subject.image.header().kernel_alignment.map_or(1, u64::from).max(1);
    // Where a kernel must lie that was not to be moved is known exactly.
    if scene.may_choose() && landing.output != placement.output {
        findings.extend(physical(subject, case, placement, landing, alignment));
    }
    if subject.word == WordSize::Bits64 {
        let moved = landing.virt.wrapping_sub(subject.link.physical);
        let end = landing.virt.saturating_add(subject.needed());
        if !moved.is_multiple_of(alignment) || end > KERNEL_MAPPING {
            let expected =
                format!("a multiple of {alignment:#x} with the kernel below {KERNEL_MAPPING:#x}");
            findings.push(finding("virt", expected, landing.virt));
        }
    }
    findings
}

fn physical(
    subject: &Subject,
    case: &Case,
    placement: &Placement,
    landing: Landing,
    alignment: u64,
) -> Vec<Finding> {
    let kernel = Range::sized(landing.output, subject.needed());
    let mut findings = Vec::new();
    if !landing.output.is_multiple_of(alignment) {
        findings.push(finding("output", format!("a multiple of {alignment:#x}"), landing.output));
    }
    let lowest = placement.output.min(LOWEST);
    if landing.output < lowest {
        findings.push(finding("output", format!("nothing below {lowest:#x}"), landing.output));
    }
    if !regions(subject, case).iter().any(|region| region.covers(kernel)) {
        let expected = format!("{:#x} bytes inside one usable region", kernel.len());
        findings.push(finding("output", expected, landing.output));
    }
    let mut taken: Vec<(&str, Range)> = objects(case)
        .iter()
        .filter(|object| STILL_NEEDED.contains(&object.what))
        .map(|object| (object.what, object.range))
        .collect();
    if let (Some(copy), Some(payload)) = (placement.copy, subject.image.header().payload_offset) {
        let own = Range::new(copy + u64::from(payload), placement.window.end);
        taken.push(("stub, which is decompressing", own));
    }
    for (what, range) in taken {
        if range.overlaps(kernel) {
            findings.push(finding(
                "output",
                format!("not over the {what} {range}"),
                landing.output,
            ));
        }
    }
    findings
}

fn finding(place: &str, expected: String, actual: u64) -> Finding {
    Finding::new(Rule::Placement, place, expected, format!("{actual:#x}"))
}

/// Regions of free memory: EFI's if the kernel can read its map, else those of the memory map.
fn regions(subject: &Subject, case: &Case) -> Vec<Range> {
    let readable = |efi: &&Efi| {
        subject.image.stub().traits.efi
            && (subject.word == WordSize::Bits64 || efi.map < 1 << 32 && efi.tables < 1 << 32)
    };
    if let Some(efi) = case.efi.as_ref().filter(readable) {
        let free = |kind| matches!(kind, EfiKind::Conventional | EfiKind::Unaccepted);
        return efi.memory.iter().filter(|e| free(e.kind)).map(|e| e.range()).collect();
    }
    let usable = case.memory.iter().filter(|entry| entry.kind == MemoryKind::Usable);
    usable.map(|entry| entry.range()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run, image};
    use super::*;
    use crate::case::{EfiEntry, EfiSignature, MemoryEntry, Span};

    const WORDS: &str = "nokaslr\0EFI config table\0";

    fn case() -> Case {
        Case { command_line: Some("quiet".into()), ..Case::default() }
    }

    /// What was expected of a kernel at `output`.
    fn at(case: Case, output: u64) -> Vec<String> {
        let run = Run::of(image(WordSize::Bits64, "6.1.192", WORDS), case);
        run.moved(output, 16 * MIB).expected(Rule::Placement)
    }

    #[test]
    fn a_place_is_aligned_and_not_too_low() {
        let high = Case { load: 600 * MIB, ..case() };
        for (case, output, expected) in [
            (case(), 64 * MIB, &[][..]),
            (case(), 64 * MIB + 0x1000, &["a multiple of 0x200000"]),
            (case(), 14 * MIB, &["nothing below 0x1000000"]),
            (high.clone(), 510 * MIB, &["nothing below 0x20000000"]),
            (high, 512 * MIB, &[]),
        ] {
            assert_eq!(at(case, output), expected, "{output:#x}");
        }
    }

    #[test]
    fn a_kernel_lies_inside_one_usable_region() {
        let free = MemoryEntry::usable;
        let reserved = MemoryEntry { kind: MemoryKind::Reserved, ..free(1 << 29, 1 << 30) };
        let whole = Case { memory: vec![free(MIB, 1 << 29), reserved], ..case() };
        let mut short = whole.clone();
        short.memory[0].end -= 0x1000;
        let outside = &["0x200000 bytes inside one usable region"];
        assert_eq!(at(whole, 510 * MIB), [] as [&str; 0]);
        assert_eq!(at(short, 510 * MIB), outside);
        let split = vec![free(MIB, 101 * MIB), free(101 * MIB, 1 << 30)];
        assert_eq!(at(Case { memory: split, ..case() }, 100 * MIB), outside);
    }

    #[test]
    fn what_is_still_needed_is_not_overwritten() {
        let span = |start, end| Some(Span { start: start * MIB, end: end * MIB });
        let with = |initrd| Case { initrd, ..case() };
        for (case, output, expected) in [
            (with(span(98, 100)), 100, None),
            (with(span(102, 104)), 100, None),
            (with(span(101, 104)), 100, Some("not over the initrd [0x6500000, 0x6800000)")),
            // The stub's copy ends where its window does, at 24 MiB.
            (case(), 20, None),
            (case(), 24, None),
            (case(), 22, Some("not over the stub, which is decompressing [0x17c0204, 0x1800000)")),
        ] {
            assert_eq!(at(case, output * MIB), expected.as_slice(), "{output} MiB");
        }
        let mut gdt = case();
        gdt.places.gdt = 100 * MIB;
        assert_eq!(at(gdt, 100 * MIB), [] as [&str; 0], "the loader's GDT is done with");
        let mut line = case();
        line.places.command_line = 100 * MIB;
        assert_eq!(at(line, 100 * MIB), ["not over the command line [0x6400000, 0x6400006)"]);
    }

    #[test]
    fn without_kaslr_only_the_predicted_place_counts() {
        let run = Run::new(WordSize::Bits64).moved(64 * MIB + 0x1000, 16 * MIB);
        assert_eq!(run.expected(Rule::Placement), ["0x1000000"]);
        let run = Run::chosen(WordSize::Bits64).moved(16 * MIB, 16 * MIB);
        assert_eq!(run.expected(Rule::Placement), [] as [&str; 0], "it may also stay");
    }

    #[test]
    fn a_virtual_place_is_aligned_and_inside_the_kernels_mapping() {
        let output = Run::chosen(WordSize::Bits64).judge().landing.unwrap().output;
        let places = |virt| {
            let run = Run::chosen(WordSize::Bits64).moved(output, virt);
            run.found(Rule::Placement).into_iter().map(|found| found.0).collect::<Vec<_>>()
        };
        assert_eq!(places(1022 * MIB), [] as [&str; 0]);
        assert_eq!(places(1024 * MIB), ["virt"]);
        assert_eq!(places(18 * MIB + 0x1000), ["virt"]);
    }

    #[test]
    fn efis_map_says_what_is_free_if_the_stub_can_read_it() {
        let entry = |start, end, kind| EfiEntry {
            start: start * MIB,
            end: end * MIB,
            kind,
            mirror: false,
            soft_reserved: false,
        };
        let efi = |map, tables| Efi {
            signature: EfiSignature::EL64,
            tables,
            map,
            descriptor_size: 48,
            acpi: crate::case::AcpiGuids::Newer,
            memory: vec![
                entry(100, 104, EfiKind::Conventional),
                entry(104, 106, EfiKind::LoaderData),
                entry(108, 110, EfiKind::Unaccepted),
            ],
        };
        let case = |map, tables| Case { efi: Some(efi(map, tables)), ..case() };
        let subject = |word, words| Run::of(image(word, "6.1.192", words), Case::default()).subject;
        let wide = subject(WordSize::Bits64, WORDS);
        let narrow = subject(WordSize::Bits32, WORDS);
        let of_efi = [Range::new(100 * MIB, 104 * MIB), Range::new(108 * MIB, 110 * MIB)];
        let of_loader = [Range::new(0, 0x9_fc00), Range::new(MIB, 1 << 30)];
        assert_eq!(regions(&wide, &case(1 << 32, 1 << 32)), of_efi);
        assert_eq!(regions(&narrow, &case(0xffff_f000, 0xffff_f000)), of_efi);
        assert_eq!(regions(&narrow, &case(1 << 32, 0x6_0000)), of_loader);
        assert_eq!(regions(&narrow, &case(0x6_0000, 1 << 32)), of_loader);
        let unaware = subject(WordSize::Bits64, "nokaslr\0");
        assert_eq!(regions(&unaware, &case(0x6_0000, 0x6_0000)), of_loader);
        assert_eq!(regions(&wide, &Case::default()), of_loader);
    }
}
