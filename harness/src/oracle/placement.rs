// SPDX-License-Identifier: GPL-2.0-only
//! Where the kernel lies and what it was relocated for: exactly where the reference says, and, where
//! KASLR's choice cannot be predicted, at least where it may lie.

use super::landing::Landing;
use super::{Finding, Rule, Subject};
use crate::case::{Case, FIRST_MEGABYTE, MemoryKind, Protocol, objects};
use crate::image::WordSize;
use crate::machine::{PAGE, Setup};
use crate::range::Range;
use crate::reference::{Inputs, Placement, Prediction, unrandomized_virt};

/// `KERNEL_IMAGE_SIZE`: what x86_64 maps for the kernel with RANDOMIZE_BASE (asm/page_64_types.h).
const KERNEL_MAPPING: u64 = 1 << 30;

/// What the stub should have chosen; an error is the reason why it cannot be predicted.
pub fn predict(
    subject: &Subject,
    case: &Case,
    setup: &Setup,
    placement: &Placement,
) -> Result<Prediction, String> {
    let output = placement.output;
    if !case.asks_for_kaslr() || !subject.image.stub().kaslr {
        let virt = unrandomized_virt(&subject.image, subject.link, output);
        return Ok(Prediction { output, virt });
    }
    if case.screen && subject.image.stub().verbose {
        return Err("what the stub prints on the screen becomes a part of the entropy".into());
    }
    let plain = Case {
        initrd: None,
        setup_data: Vec::new(),
        efi: None,
        acpi: None,
        sentinel: None,
        cpu: Default::default(),
        ..case.clone()
    };
    if plain != *case {
        return Err("not modelled".into());
    }
    let model = subject.model.as_ref().map_err(Clone::clone)?;
    let usable: Vec<Range> = usable(case).collect();
    let boot_params = setup.placed.iter().find(|placed| placed.address == setup.boot_params);
    let boot_params = boot_params.ok_or("there are no boot_params")?;
    model.predict(
        placement,
        &Inputs {
            load: case.load,
            entered_at_32_bits: case.protocol == Protocol::Bits32,
            boot_params: &boot_params.bytes,
            boot_params_address: setup.boot_params,
            command_line: case.command_line.as_deref().unwrap_or_default(),
            command_line_address: case.places.command_line,
            screen: case.screen,
            usable: &usable,
            timer: &setup.timer,
        },
    )
}

/// Compares what the stub did with what it should have done.
pub fn judge(
    subject: &Subject,
    case: &Case,
    placement: &Placement,
    prediction: &Result<Prediction, String>,
    landing: Landing,
) -> Vec<Finding> {
    let rule = if case.asks_for_kaslr() { Rule::Kaslr } else { Rule::Placement };
    let mut findings = Vec::new();
    if let Ok(prediction) = prediction {
        let mut expect = |place: &str, expected: u64, actual: u64| {
            if expected != actual {
                let (expected, actual) = (format!("{expected:#x}"), format!("{actual:#x}"));
                findings.push(Finding::new(rule, place, expected, actual));
            }
        };
        expect("output", prediction.output, landing.output);
        if subject.word == WordSize::Bits64 {
            expect("virt", prediction.virt, landing.virt);
        }
        return findings;
    }
    findings.extend(possible(subject, case, placement, landing));
    findings
}

/// What holds for every choice that KASLR may make.
fn possible(
    subject: &Subject,
    case: &Case,
    placement: &Placement,
    landing: Landing,
) -> Vec<Finding> {
    let finding = |place: &str, expected: String, actual: u64| {
        Finding::new(Rule::Placement, place, expected, format!("{actual:#x}"))
    };
    let mut findings = Vec::new();
    let alignment = subject.image.header().kernel_alignment.map_or(1, u64::from).max(1);
    let size = subject.moved.len() as u64;
    let kernel = Range::sized(landing.output, size);
    if landing.output != placement.output {
        if !landing.output.is_multiple_of(alignment) {
            findings.push(finding(
                "output",
                format!("a multiple of {alignment:#x}"),
                landing.output,
            ));
        }
        if !usable(case).any(|region| region.covers(kernel)) {
            let expected = format!("{size:#x} bytes of usable RAM");
            findings.push(finding("output", expected, landing.output));
        }
        for taken in objects(case) {
            if taken.range.overlaps(kernel) {
                let expected = format!("not over the {} {}", taken.what, taken.range);
                findings.push(finding("output", expected, landing.output));
            }
        }
    }
    if subject.word == WordSize::Bits64 {
        let moved = landing.virt.wrapping_sub(subject.link.physical);
        if !moved.is_multiple_of(alignment) || landing.virt.saturating_add(size) > KERNEL_MAPPING {
            let expected =
                format!("a multiple of {alignment:#x} with the kernel below {KERNEL_MAPPING:#x}");
            findings.push(finding("virt", expected, landing.virt));
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
    usable(case)
        .filter(move |range| range.end > low)
        .map(move |range| Range::new(range.start.max(low), range.end))
}

fn usable(case: &Case) -> impl Iterator<Item = Range> + '_ {
    case.memory.iter().filter(|entry| entry.kind == MemoryKind::Usable).map(|entry| entry.range())
}
