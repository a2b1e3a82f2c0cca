// SPDX-License-Identifier: GPL-2.0-only
//! The CPU at the hand-off: target, boot_params, segments, descriptor tables, flags, control registers
//! (the entry conditions of arch/x86/kernel/head_32.S and head_64.S; boot.rst).

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule, Subject};
use crate::image::WordSize;
use crate::machine::{BOOT_CS, BOOT_DS, CR0_PG, CR4_LA57, CR4_PAE, EFER_LMA, Outcome, Table};
use crate::range::Range;
use crate::reference::Placement;

const CR0_PE: u64 = 1;
const FLAG_INTERRUPT: u64 = 1 << 9;
const FLAG_DIRECTION: u64 = 1 << 10;
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];
/// The first release whose stub loads its own GDT after it has moved.
const OWN_GDT: (u32, u32) = (5, 7);

/// Judges the registers with which control left the stub.
pub fn judge(scene: &Scene, landing: Landing) -> Vec<Finding> {
    let Scene { subject, setup, outcome, placement, .. } = scene;
    let registers = &outcome.registers;
    let mut findings = Vec::new();
    let mut expect = |place: &str, expected: u64, actual: u64| {
        if expected != actual {
            let (expected, actual) = (format!("{expected:#x}"), format!("{actual:#x}"));
            findings.push(Finding::new(Rule::HandOff, place, expected, actual));
        }
    };
    let (pointer, source) = match subject.word {
        WordSize::Bits32 => ("eip", "esi"),
        WordSize::Bits64 => ("rip", "rsi"),
    };
    expect(pointer, landing.output.wrapping_add(subject.entry_offset()), registers.rip);
    expect(source, setup.boot_params, registers.rsi());
    expect("interrupt flag", 0, registers.rflags & FLAG_INTERRUPT);
    expect("direction flag", 0, registers.rflags & FLAG_DIRECTION);
    expect("cr0.PE", CR0_PE, registers.cr0 & CR0_PE);
    if subject.image.vintage().is_some() {
        expect("ebx", 0, registers.rbx());
    }
    match subject.word {
        WordSize::Bits32 => expect("cr0.PG", 0, registers.cr0 & CR0_PG),
        WordSize::Bits64 => {
            expect("cr0.PG", CR0_PG, registers.cr0 & CR0_PG);
            expect("efer.LMA", EFER_LMA, registers.efer & EFER_LMA);
            expect("cr4.PAE", CR4_PAE, registers.cr4 & CR4_PAE);
            if let Ok(paging) = &scene.paging {
                let la57 = if paging.five_levels { CR4_LA57 } else { 0 };
                expect("cr4.LA57", la57, registers.cr4 & CR4_LA57);
            }
        }
    }
    for (name, selector) in SEGMENTS.iter().zip(registers.selectors) {
        let fits = match *name {
            "cs" => selector == BOOT_CS,
            _ if subject.word == WordSize::Bits64 => selector == 0 || selector == BOOT_DS,
            "fs" | "gs" => true,
            _ => selector == BOOT_DS,
        };
        if !fits {
            let expected = if *name == "cs" { BOOT_CS } else { BOOT_DS };
            findings.push(Finding::new(
                Rule::HandOff,
                *name,
                format!("{expected:#x}"),
                format!("{selector:#x}"),
            ));
        }
    }
    findings.extend(tables(subject, outcome, placement));
    findings
}

/// The GDT is the one of the stub's copy, the IDT as well or none at all: the original may be overwritten.
fn tables(subject: &Subject, outcome: &Outcome, placement: &Placement) -> Vec<Finding> {
    let Some(copy) = outcome.code.iter().max_by_key(|range| (range.len(), range.start)) else {
        return Vec::new();
    };
    let copy = Range::new(placement.copy.unwrap_or(copy.start), placement.window.end);
    let inside = |table: Table| copy.covers(Range::sized(table.base, u64::from(table.limit) + 1));
    let finding = |name: &str, table: Table| Finding {
        address: Some(table.base),
        ..Finding::new(
            Rule::HandOff,
            name,
            format!("a table inside the stub's copy {copy}"),
            format!("{} bytes at {:#x}", u64::from(table.limit) + 1, table.base),
        )
    };
    let mut findings = Vec::new();
    let owns_gdt = subject.image.vintage().is_none()
        && subject.image.release().is_none_or(|r| (r.major, r.minor) >= OWN_GDT);
    if owns_gdt && !inside(outcome.registers.gdtr) {
        findings.push(finding("gdtr", outcome.registers.gdtr));
    }
    let idt = outcome.registers.idtr;
    if idt.limit != 0 && !inside(idt) {
        findings.push(finding("idtr", idt));
    }
    findings
}
