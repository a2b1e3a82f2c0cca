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
