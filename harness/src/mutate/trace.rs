// SPDX-License-Identifier: GPL-2.0-only
//! What a run leaves behind that anyone could tell it by: for mutants that no oracle speaks of, whether they came to the
//! very same end as the unmutated image.
//!
//! The stub's own memory is nobody's any more when it jumps: where it was loaded, and the `init_size` window that it moved
//! into, as far as the kernel does not lie there. Neither are the general registers that the kernel does not read
//! (arch/x86/kernel/head_32.S, head_64.S), and the flags of arithmetic. Page tables count by what they map.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::WordSize;
use crate::machine::{Access, End, Outcome, PAGE, Paging, PortUse, Registers, Setup};
use crate::oracle::{Judgement, Loaded, Subject};
use crate::range::Range;
use crate::reference::{self, Passed};

/// CF, PF, AF, ZF, SF and OF, and the bit that is always set.
const ARITHMETIC_FLAGS: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 11;
/// Addresses that a mapping is asked for lie so far apart.
const STEP: u64 = 2 << 20;
/// RSI.
const SOURCE: usize = 6;

/// The end of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    end: End,
    registers: Registers,
    serial: Vec<u8>,
    ports: BTreeMap<u16, PortUse>,
    counts: [u64; 4],
    /// Pages that count and were written, by a digest of their bytes.
    pages: BTreeMap<u64, u64>,
    /// Where the page tables lead to from some addresses that count.
    mapped: Vec<(u64, Option<u64>)>,
    gdt: Option<Vec<u8>>,
}

/// In what two runs differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What a kernel or a user could notice.
    pub matters: Vec<String>,
    /// What nobody reads any more.
    pub idle: Vec<String>,
}

impl Trace {
    /// Of a run of `setup`, whose machine was told what the unmutated image's is.
    pub fn new(
        subject: &Subject,
        setup: &Setup,
        judgement: &Judgement,
        outcome: &Outcome,
    ) -> Trace {
        let kernel = judgement
            .landing
            .map(|landing| Range::sized(landing.output, subject.moved.len() as u64));
        let dead = dead(subject, setup);
        // Of a page that the kernel shares with the stub only what is the kernel's.
        let counted = |page: u64| {
            let whole = Range::sized(page, PAGE);
            if !dead.iter().any(|dead| dead.covers(whole)) {
                return Some(whole);
            }
            let kernel = kernel.filter(|kernel| kernel.overlaps(whole))?;
            Some(Range::new(whole.start.max(kernel.start), whole.end.min(kernel.end)))
        };
        let digested = |page: u64| {
            let range = counted(page)?;
            Some((page, digest(outcome.ram.slice(range.start, range.len() as usize)?)))
        };
        let pages: BTreeMap<u64, u64> =
            outcome.ram.written_pages().into_iter().filter_map(digested).collect();
        let registers = outcome.registers.clone();
        let handed_off = outcome.end == End::HandOff;
        let mapped = match subject.word {
            WordSize::Bits64 if handed_off => mapped(&registers, outcome, &pages),
            _ => Vec::new(),
        };
        let table = registers.gdtr;
        let gdt = outcome.ram.slice(table.base, table.limit as usize + 1).filter(|_| handed_off);
        Trace {
            end: outcome.end.clone(),
            serial: outcome.serial.clone(),
            ports: outcome.ports.clone(),
            counts: [
                outcome.page_faults,
                outcome.timer_reads,
                outcome.rdrand_reads,
                outcome.tsc_reads,
            ],
            pages,
            mapped,
            gdt: gdt.map(<[u8]>::to_vec),
            registers,
        }
    }

    /// In what `other`, a run with the same fill of RAM, differs.
    pub fn difference(&self, other: &Trace, setup: &Setup) -> Difference {
        let mut difference = Difference::default();
        let Difference { matters, idle } = &mut difference;
        let note = |list: &mut Vec<String>, differs: bool, what: String| {
            if differs {
                list.push(what);
            }
        };
        note(matters, self.end != other.end, format!("how it ends: {:?}", other.end));
        note(matters, self.serial != other.serial, "text on the serial port".into());
        note(matters, self.ports != other.ports, "use of ports".into());
        let changed = self.changed_pages(other, setup);
        let first = changed.first().map_or(0, |page| *page);
        let count = changed.len();
        note(matters, count > 0, format!("{count} pages of memory, first {first:#x}"));
        note(
            matters,
            self.counts[1..] != other.counts[1..],
            "use of the sources of entropy".into(),
        );
        note(idle, self.counts[0] != other.counts[0], "number of page faults".into());
        if self.end == End::HandOff && other.end == End::HandOff {
            self.registers_differ(other, matters, idle);
            note(matters, self.mapped != other.mapped, "what page tables map".into());
            note(matters, self.gdt != other.gdt, "contents of the GDT".into());
        }
        difference
    }

    fn registers_differ(&self, other: &Trace, matters: &mut Vec<String>, idle: &mut Vec<String>) {
        const NAMES: [&str; 16] = [
            "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8", "r9", "r10", "r11", "r12", "r13",
            "r14", "r15",
        ];
        let (a, b) = (&self.registers, &other.registers);
        for (index, name) in NAMES.iter().enumerate() {
            if a.general[index] != b.general[index] {
                let list = if index == SOURCE { &mut *matters } else { &mut *idle };
                list.push(format!("register {name}"));
            }
        }
        let flags = (a.rflags ^ b.rflags) & !ARITHMETIC_FLAGS;
        let others = [
            ("instruction pointer", a.rip != b.rip),
            ("flags", flags != 0),
            ("selectors", a.selectors != b.selectors),
            ("GDTR", a.gdtr != b.gdtr),
            ("IDTR", a.idtr.limit != b.idtr.limit || a.idtr.limit != 0 && a.idtr != b.idtr),
            ("CR0", a.cr0 != b.cr0),
            ("CR4", a.cr4 != b.cr4),
            ("EFER", a.efer != b.efer),
        ];
        matters.extend(
            others.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()),
        );
        if a.cr3 != b.cr3 {
            idle.push("place of the page tables".into());
        }
        if (a.rflags ^ b.rflags) & ARITHMETIC_FLAGS != 0 {
            idle.push("flags of arithmetic".into());
        }
    }

    /// The pages that one of the runs has written and that do not hold the same.
    fn changed_pages(&self, other: &Trace, setup: &Setup) -> Vec<u64> {
        let all: BTreeSet<u64> = self.pages.keys().chain(other.pages.keys()).copied().collect();
        all.into_iter()
            .filter(|page| {
                let held = |trace: &Trace| {
                    let untouched = || digest(&setup.fill.page(*page));
                    trace.pages.get(page).copied().unwrap_or_else(untouched)
                };
                held(self) != held(other)
            })
            .collect()
    }
}

/// Where the stub has had its own things: page-aligned.
fn dead(subject: &Subject, setup: &Setup) -> Vec<Range> {
    let loaded = setup.stub.range();
    let size = subject.image.stub_size().unwrap_or(0).max(loaded.len()).next_multiple_of(PAGE);
    let window = Passed::read(&Loaded(setup), setup.boot_params)
        .map(|passed| reference::place(&subject.image, subject.link, loaded.start, passed).window);
    [Some(Range::sized(loaded.start, size)), window].into_iter().flatten().collect()
}

/// What the page tables make of the pages that count, one for each stretch.
fn mapped(
    registers: &Registers,
    outcome: &Outcome,
    pages: &BTreeMap<u64, u64>,
) -> Vec<(u64, Option<u64>)> {
    let paging =
        Paging { cr0: registers.cr0, cr3: registers.cr3, cr4: registers.cr4, efer: registers.efer };
    let stretches: BTreeSet<u64> = pages.keys().map(|page| page - page % STEP).collect();
    let lead = |at: u64| paging.translate(&outcome.ram, at, Access::Write).ok();
    stretches.into_iter().map(|at| (at, lead(at))).collect()
}

/// A digest of bytes (FNV-1a by words).
fn digest(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    })
}
