// SPDX-License-Identifier: GPL-2.0-only
//! Where the kernel lies and what it was relocated for: exactly where the reference says, and, where
//! KASLR's choice cannot be predicted, at least where it may lie.

use super::landing::Landing;
use super::loaded::Loaded;
use super::{Finding, Rule, Subject};
use crate::case::{Case, Layout, MemoryKind};
use crate::image::WordSize;
use crate::machine::{EntryMode, PAGE, Setup};
use crate::range::Range;
use crate::reference::{Cpu, Inputs, Placement, Prediction, unrandomized_virt};

/// `KERNEL_IMAGE_SIZE`: what x86_64 maps for the kernel with RANDOMIZE_BASE (asm/page_64_types.h).
const KERNEL_MAPPING: u64 = 1 << 30;

/// What the stub should have chosen; an error is the reason why it cannot be predicted.
pub fn predict(
    subject: &Subject,
    case: &Case,
    setup: &Setup,
    placement: &Placement,
) -> Result<Prediction, String> {
    let unmoved = || {
        let output = placement.output;
        let virt = unrandomized_virt(&subject.image, subject.link, output);
        Ok(Prediction { output, virt })
    };
    match &subject.model {
        _ if !subject.image.stub().kaslr => unmoved(),
        Ok(model) => model.predict(placement, &inputs(setup, &Loaded(setup))),
        Err(_) if !case.asks_for_kaslr() => unmoved(),
        Err(why) => Err(why.clone()),
    }
}

/// What the machine was told, for the reference.
fn inputs<'a>(setup: &'a Setup, memory: &'a Loaded<'a>) -> Inputs<'a> {
    Inputs {
        memory,
        cpu: Cpu { la57: false, rdrand: None, tsc: None, timer: &setup.timer },
        load: setup.stub.address,
        entered_at_32_bits: setup.mode == EntryMode::Protected,
        entered_with_five_levels: false,
        boot_params: setup.boot_params,
    }
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
        for taken in [Layout::BOOT_PARAMS, Layout::COMMAND_LINE] {
            if taken.overlaps(kernel) {
                findings.push(finding("output", format!("not over {taken}"), landing.output));
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
    let low = Layout::FIRST_MEGABYTE.end;
    usable(case)
        .filter(move |range| range.end > low)
        .map(move |range| Range::new(range.start.max(low), range.end))
}

fn usable(case: &Case) -> impl Iterator<Item = Range> + '_ {
    case.memory.iter().filter(|entry| entry.kind == MemoryKind::Usable).map(|entry| entry.range())
}
