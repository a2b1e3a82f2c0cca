// SPDX-License-Identifier: GPL-2.0-only
//! Watches a run for the stores, ports and blocks that findings ask about.

use super::code::{LONGEST, Ran, Thing, added, bits};
use super::copies::Copies;
use super::trail::Trail;
use crate::image::WordSize;
use crate::machine::{Access, Event, Interest, Observer, PAGE, Setup, View};
use crate::range::Range;

/// So many instructions are kept of those that wrote to the same bytes.
const KEPT: usize = 6;
/// So many appearances of a value are kept.
const APPEARANCES: usize = 8;
/// For so many blocks values are looked for: a stub knows where the kernel goes long before it decompresses it.
const LOOKED_AT: u32 = 1 << 16;
/// The widest store of the engine, in bytes: wider ones are told in parts.
const WIDEST: u64 = 8;

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Bytes in memory.
    pub bytes: Vec<Range>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Values that appear in registers.
    pub values: Vec<u64>,
    /// Whether what runs is of interest.
    pub blocks: bool,
}

impl Watch {
    /// The number of the range among those that are watched.
    pub fn add(&mut self, range: Range) -> usize {
        let known = self.bytes.iter().position(|known| *known == range);
        known.unwrap_or_else(|| {
            self.bytes.push(range);
            self.bytes.len() - 1
        })
    }

    /// The number of the value among those that are looked for; small ones are everywhere, and are not.
    pub fn look_for(&mut self, value: u64) -> Option<usize> {
        if value < PAGE {
            return None;
        }
        self.blocks = true;
        let known = self.values.iter().position(|known| *known == value);
        Some(known.unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        }))
    }

    /// What the machine has to tell for this.
    pub fn interest(&self) -> Interest {
        // A store that begins before the bytes may reach them.
        let reach = |range: &Range| Range::new(range.start.saturating_sub(WIDEST - 1), range.end);
        let mut writes: Vec<Range> = self.bytes.iter().map(reach).collect();
        writes.sort();
        // One store is told once.
        let mut merged: Vec<Range> = Vec::new();
        for range in writes {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Interest { writes: merged, blocks: self.blocks, instructions: Vec::new() }
    }
}

/// A store to bytes that are watched.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The instruction.
    pub ran: Ran,
    /// Physical address of the first byte that it wrote.
    pub address: u64,
    /// Bytes that it wrote.
    pub size: usize,
    /// The watched bytes before it.
    pub before: Vec<u8>,
    /// And after it.
    pub after: Vec<u8>,
    /// How often the instruction wrote to them.
    pub times: u64,
    /// The register that it added or subtracted, if what ran is known.
    pub added: Option<Held>,
}

/// A register with a value.
#[derive(Clone, Debug)]
pub struct Held {
    /// Which.
    pub thing: Thing,
    /// What it holds.
    pub value: u64,
    /// The instruction that put it there.
    pub ran: Option<Ran>,
}

/// What was seen.
pub struct Witness {
    word: WordSize,
    /// Where the stub ran.
    pub copies: Copies,
    /// What is watched.
    watch: Watch,
    /// For each range the last instructions that wrote to it, in the order of their last time.
    pub stores: Vec<Vec<Stored>>,
    /// For each port the first instruction that used it.
    pub ports: Vec<Option<Ran>>,
    /// For each value the registers in which it appeared while no register had it, in their order.
    pub appearances: Vec<Vec<Held>>,
    /// The registers that have the values, of each one, as a bit mask.
    holding: Vec<u16>,
    /// Blocks at which values are still looked for.
    left: u32,
    /// What ran.
    pub trail: Trail,
}

impl Witness {
    /// Of a run that is about to begin.
    pub fn new(setup: &Setup, watch: &Watch) -> Witness {
        Witness {
            word: setup.word,
            copies: Copies::new(setup),
            stores: vec![Vec::new(); watch.bytes.len()],
            ports: vec![None; watch.ports.len()],
            appearances: vec![Vec::new(); watch.values.len()],
            holding: vec![0; watch.values.len()],
            left: if watch.values.is_empty() { 0 } else { LOOKED_AT },
            trail: Trail::new(setup.word),
            watch: watch.clone(),
        }
    }

    /// The instruction that is running.
    fn running(&self, view: &View) -> Ran {
        let registers = view.registers();
        let address = registers.rip;
        let bits = bits(self.word, &registers, view.ram());
        let physical = view.physical(address, Access::Read).unwrap_or(address);
        let readable = (1..=LONGEST).rev().find_map(|len| view.ram().slice(physical, len));
        let ran = Ran::new(readable.unwrap_or_default(), bits, address, &self.copies);
        Ran { registers: Some(registers), ..ran }
    }

    fn stored(&mut self, address: u64, size: usize, value: u64, view: &View) {
        let written = Range::sized(address, size as u64);
        let watched = self.watch.bytes.iter().enumerate();
        let hit: Vec<(usize, Range)> = watched
            .filter(|(_, range)| range.overlaps(written))
            .map(|(number, range)| (number, *range))
            .collect();
        if hit.is_empty() {
            return;
        }
        let ran = self.running(view);
        for (number, range) in hit {
            let Some(before) = view.ram().slice(range.start, range.len() as usize) else {
                continue;
            };
            let before = before.to_vec();
            let mut after = before.clone();
            for (byte, at) in value.to_le_bytes().iter().take(size).zip(address..) {
                if range.contains(at) {
                    after[(at - range.start) as usize] = *byte;
                }
            }
            let stores = &mut self.stores[number];
            let same = stores.iter().position(|known| known.ran.address == ran.address);
            let known = same.map(|at| stores.remove(at));
            // A store that faults is begun again, with everything as it was.
            let again = known.as_ref().is_some_and(|known| {
                let registers = |ran: &Ran| ran.registers.as_ref().map(|r| r.general);
                registers(&known.ran) == registers(&ran) && known.before == before
            });
            let times = known.map_or(0, |known| known.times) + u64::from(!again);
            let added = match self.watch.blocks {
                true => added(&ran.instruction()).map(|thing| Held {
                    thing,
                    value: ran.registers.as_ref().map_or(0, |registers| thing.value(registers)),
                    ran: self.trail.writer(thing, ran.address, &self.copies),
                }),
                false => None,
            };
            let ran = ran.clone();
            stores.push(Stored { ran, address, size, before, after, times, added });
            if stores.len() > KEPT {
                stores.remove(0);
            }
        }
    }
}

impl Witness {
    /// Before the block at `address`: the instructions before it may have made a value that is looked for.
    fn look(&mut self, address: u64, view: &View) {
        // A repeated instruction is a block that follows itself, a million times.
        if self.left == 0 || self.trail.is_last(address) {
            return;
        }
        self.left -= 1;
        let general = view.registers().general;
        let all = self.watch.values.iter().zip(&mut self.holding).zip(&mut self.appearances);
        for ((value, holding), appearances) in all {
            let before = std::mem::take(holding);
            for (number, held) in (0..).zip(general) {
                *holding |= u16::from(held == *value) << number;
            }
            if before == 0 && *holding != 0 && appearances.len() < APPEARANCES {
                let thing = Thing(holding.trailing_zeros() as u8);
                let ran = self.trail.writer(thing, u64::MAX, &self.copies);
                appearances.push(Held { thing, value: *value, ran });
            }
        }
    }
}

impl Observer for Witness {
    fn event(&mut self, event: &Event, view: &View) {
        match *event {
            Event::Write { address, size, value } => self.stored(address, size, value, view),
            Event::Block { address, size } => {
                self.look(address, view);
                self.trail.block(address, size, view);
            }
            Event::Port { port, .. } => {
                let asked = self.watch.ports.iter().position(|known| *known == port);
                if let Some(number) = asked.filter(|number| self.ports[*number].is_none()) {
                    self.ports[number] = Some(self.running(view));
                }
            }
            Event::PageFault { delivered: true, .. } => self.trail.interrupted(),
            Event::NewCopy { .. } => {
                let address = view.instruction_pointer();
                let physical = view.physical(address, Access::Read).unwrap_or(address);
                self.copies.learn(view.ram(), physical);
                self.trail.moved();
            }
            Event::PageFault { .. } | Event::Instruction { .. } => {}
        }
    }
}
