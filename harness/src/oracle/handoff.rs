// SPDX-License-Identifier: GPL-2.0-only
//! The CPU at the hand-off: target, boot_params, selectors, flags, control registers
//! (the entry conditions of arch/x86/kernel/head_32.S and head_64.S; boot.rst).

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule};
use crate::image::WordSize;
use crate::machine::{BOOT_CS, BOOT_DS, CR0_PG, CR4_LA57, CR4_MCE, CR4_PAE, EFER_LMA, entry_cr4};

const CR0_PE: u64 = 1;
const FLAG_INTERRUPT: u64 = 1 << 9;
const FLAG_DIRECTION: u64 = 1 << 10;
/// A release whose stub switches all of CR4 off but page tables and machine checks; 5.10 does not.
const CLEARS_CR4: (u32, u32) = (6, 1);
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// Judges the registers with which control left the stub.
pub fn judge(scene: &Scene, landing: Landing) -> Vec<Finding> {
    let Scene { subject, setup, outcome, .. } = scene;
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
            if subject.since(CLEARS_CR4) {
                let known = CR4_PAE | CR4_LA57 | CR4_MCE;
                expect("cr4.MCE", entry_cr4(setup) & CR4_MCE, registers.cr4 & CR4_MCE);
                expect("cr4", registers.cr4 & known, registers.cr4);
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
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, image};
    use super::*;
    use crate::case::{Case, Protocol};
    use crate::machine::{Fill, Registers};

    type Change = (&'static str, fn(&mut Registers));

    fn found(word: WordSize, change: fn(&mut Registers)) -> Vec<String> {
        let mut run = Run::new(word);
        change(&mut run.outcome.registers);
        let found = run.found(Rule::HandOff);
        found.into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn each_register_counts() {
        let both: [Change; 10] = [
            ("rip", |r| r.rip += 1),
            ("rsi", |r| r.general[6] += 1),
            ("interrupt flag", |r| r.rflags |= FLAG_INTERRUPT),
            ("direction flag", |r| r.rflags |= FLAG_DIRECTION),
            ("cr0.PE", |r| r.cr0 &= !CR0_PE),
            ("cr0.PG", |r| r.cr0 ^= CR0_PG),
            ("es", |r| r.selectors[0] = 0x20),
            ("cs", |r| r.selectors[1] = BOOT_DS),
            ("ss", |r| r.selectors[2] = BOOT_CS),
            ("ds", |r| r.selectors[3] = 0x28),
        ];
        for (place, change) in both {
            assert_eq!(found(WordSize::Bits64, change), [place]);
            let narrow = place.replace("rip", "eip").replace("rsi", "esi");
            assert_eq!(found(WordSize::Bits32, change), [narrow]);
        }
        let wide: [Change; 5] = [
            ("efer.LMA", |r| r.efer = 0),
            ("cr4.PAE", |r| r.cr4 = 0),
            ("cr4.LA57", |r| r.cr4 |= CR4_LA57),
            ("fs", |r| r.selectors[4] = BOOT_CS),
            ("gs", |r| r.selectors[5] = 1),
        ];
        for (place, change) in wide {
            assert_eq!(found(WordSize::Bits64, change), [place]);
            assert_eq!(found(WordSize::Bits32, change), [] as [&str; 0], "not on i386: {place}");
        }
    }

    #[test]
    fn nothing_of_cr4_is_inherited_but_machine_checks() {
        let asks = (0..).find(|seed| Fill(*seed).word(0) & CR4_MCE != 0);
        let found = |release, cr4: u64, asked: bool| {
            let mut case = Case { protocol: Protocol::Bits64, ..Case::default() };
            case.entry.registers = asks.filter(|_| asked);
            let mut run = Run::of(image(WordSize::Bits64, release, "nokaslr\0"), case);
            run.outcome.registers.cr4 = CR4_PAE | cr4;
            run.found(Rule::HandOff)
        };
        let none = Vec::new();
        let one = |place: &str, actual: u64| vec![(place.to_owned(), format!("{actual:#x}"))];
        assert_eq!(found("6.1.192", CR4_MCE, true), none);
        assert_eq!(found("6.1.192", 0, true), one("cr4.MCE", 0));
        assert_eq!(found("6.1.192", CR4_MCE, false), one("cr4.MCE", CR4_MCE));
        let global = 1 << 7;
        assert_eq!(found("6.1.192", global, false), one("cr4", CR4_PAE | global));
        assert_eq!(found("5.10.223", global, false), none);
    }

    #[test]
    fn each_segment_has_its_selector() {
        let mut run = Run::new(WordSize::Bits64);
        run.outcome.registers.selectors = [0x20; 6];
        let expected = ["0x18", "0x10", "0x18", "0x18", "0x18", "0x18"];
        assert_eq!(run.expected(Rule::HandOff), expected);
    }

    #[test]
    fn what_the_kernel_does_not_read_may_be_anything() {
        for change in [
            (|r| r.rflags = 0x46) as fn(&mut Registers),
            |r| r.general[3] = 7,
            |r| r.selectors[4..].copy_from_slice(&[BOOT_DS; 2]),
        ] {
            for word in [WordSize::Bits64, WordSize::Bits32] {
                assert_eq!(found(word, change), [] as [&str; 0]);
            }
        }
        assert_eq!(found(WordSize::Bits64, |r| r.selectors[0] = 0), [] as [&str; 0]);
        assert_eq!(found(WordSize::Bits32, |r| r.selectors[0] = 0), ["es"]);
    }

    #[test]
    fn five_levels_are_on_where_they_were_asked_for() {
        let mut case = Case { command_line: Some("nokaslr".into()), ..Case::default() };
        case.cpu.la57 = true;
        let run = Run::of(image(WordSize::Bits64, "6.1.192", "nokaslr\0no5lvl\0"), case);
        let found = run.found(Rule::HandOff);
        assert_eq!(found, [("cr4.LA57".to_owned(), "0x0".to_owned())]);
    }
}
