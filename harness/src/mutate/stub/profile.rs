// SPDX-License-Identifier: GPL-2.0-only
//! Which code of the stub runs, and how often: told by an observed run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use memchr::memmem;

use crate::image::WordSize;
use crate::machine::{BOOT_CS, EFER_LMA, Event, Observer, Setup, View};

/// Bytes by which code that the stub copied to low memory is found in the stub.
const RECOGNISED: usize = 16;

/// Blocks by their offset in the stub and the width of their code in bits: their length in bytes, and how often they ran.
pub type Blocks = BTreeMap<(usize, u32), (usize, u64)>;

/// Counts blocks.
pub struct Profiler {
    stub: Arc<[u8]>,
    payload: std::ops::Range<usize>,
    word: WordSize,
    bases: Vec<u64>,
    running: HashMap<(u64, u32), Seen>,
    blocks: Blocks,
    /// How many ran in all.
    pub total: u64,
}

struct Seen {
    place: Option<(usize, u32)>,
    count: u64,
}

impl Profiler {
    /// For a run of `setup`.
    pub fn new(setup: &Setup) -> Profiler {
        Profiler {
            stub: setup.stub.bytes.clone(),
            payload: setup.payload.clone(),
            word: setup.word,
            bases: vec![setup.stub.address],
            running: HashMap::new(),
            blocks: Blocks::new(),
            total: 0,
        }
    }

    /// What ran.
    pub fn into_blocks(mut self) -> Blocks {
        self.settle();
        self.blocks
    }

    /// Adds what has run up to now, before other code may stand at the same addresses.
    fn settle(&mut self) {
        for ((_, size), seen) in self.running.drain() {
            if let Some(place) = seen.place {
                let block = self.blocks.entry(place).or_default();
                block.0 = block.0.max(size as usize);
                block.1 += seen.count;
            }
        }
    }

    /// Where in the stub the block stands whose bytes are at this address.
    fn place(&self, address: u64, size: u32, view: &View) -> Option<(usize, u32)> {
        let registers = view.registers();
        let long = registers.efer & EFER_LMA != 0 && registers.selectors[1] == BOOT_CS;
        let bits = if long && self.word == WordSize::Bits64 { 64 } else { 32 };
        let bytes = view.ram().slice(address, size as usize)?;
        let at = self.bases.iter().find_map(|base| {
            let at = usize::try_from(address.checked_sub(*base)?).ok()?;
            (self.stub.get(at..at + bytes.len())? == bytes).then_some(at)
        });
        at.or_else(|| {
            let longer = view.ram().slice(address, RECOGNISED.max(bytes.len()))?;
            memmem::find_iter(&self.stub, longer)
                .find(|at| *at < self.payload.start || *at >= self.payload.end)
        })
        .map(|at| (at, bits))
    }
}

impl Observer for Profiler {
    fn event(&mut self, event: &Event, view: &View) {
        match event {
            Event::Block { address, size } => {
                self.total += 1;
                if let Some(seen) = self.running.get_mut(&(*address, *size)) {
                    seen.count += 1;
                    return;
                }
                let place = self.place(*address, *size, view);
                self.running.insert((*address, *size), Seen { place, count: 1 });
            }
            Event::NewCopy { base, .. } => {
                self.settle();
                self.bases.push(*base);
            }
            _ => {}
        }
    }
}
