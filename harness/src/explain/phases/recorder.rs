// SPDX-License-Identifier: GPL-2.0-only
//! Divides a run into its phases while it goes on.

use super::cells::Cells;
use super::snapshot::Snapshot;
use super::{Phase, PhaseRecord, Phases};
use crate::explain::TICK;
use crate::machine::{Event, Interest, Observer, Outcome, Ram, Setup, View};
use crate::range::Range;

/// A phase whose last byte is written again and again is looked at so many times.
const MOST_LOOKS: u32 = 16;

/// Watches a run.
pub struct Recorder {
    cells: Cells,
    image_len: u64,
    blocks: u64,
    /// The phase that is over.
    done: Phase,
    /// Whether segments have begun to move.
    moving: bool,
    /// Its last byte is being written: it is over when the next block begins.
    ending: Option<Phase>,
    looks: u32,
    snapshot: Snapshot,
    records: Vec<PhaseRecord>,
    copy: Option<(u64, Range)>,
    tick: Box<dyn FnMut(u64)>,
}

impl Recorder {
    /// For a run of `setup`, in which stores into `cells` tell the phases; `tick` is told now and then how many blocks have run.
    pub fn new(setup: &Setup, cells: Cells, tick: impl FnMut(u64) + 'static) -> Recorder {
        let record = |phase| PhaseRecord { phase, blocks: None, changed: Vec::new() };
        Recorder {
            cells,
            image_len: setup.stub.bytes.len() as u64,
            blocks: 0,
            done: Phase::Loaded,
            moving: false,
            ending: Some(Phase::Loaded),
            looks: 0,
            snapshot: Snapshot::default(),
            records: Phase::ALL.into_iter().map(record).collect(),
            copy: None,
            tick: Box::new(tick),
        }
    }

    /// What has to be observed.
    pub fn interest(cells: &Cells) -> Interest {
        Interest { blocks: true, writes: cells.ranges(), ..Interest::default() }
    }

    /// The phases of the run that ended as `outcome` says.
    pub fn finish(mut self, outcome: &Outcome) -> Phases {
        if let Some(phase) = self.ending.take() {
            self.over(phase, &outcome.ram);
        }
        self.over(Phase::Ended, &outcome.ram);
        Phases { records: self.records, copy: self.copy }
    }

    fn over(&mut self, phase: Phase, ram: &Ram) {
        self.done = phase;
        let changed = self.snapshot.changed(ram);
        let record = &mut self.records[phase as usize];
        record.blocks = Some(self.blocks);
        record.changed = union(std::mem::take(&mut record.changed), changed);
    }

    /// The phase that ends with a store into `stored`, if it is one.
    fn ends_with(&mut self, stored: Range) -> Option<Phase> {
        let hits = |cell: Range| cell.overlaps(stored);
        let decompressed = self.done >= Phase::Decompressed;
        if let (Some((first, last)), true) = (self.cells.moved, decompressed) {
            self.moving |= hits(first);
            if self.moving && self.done == Phase::Decompressed && hits(last) {
                return Some(Phase::Moved);
            }
        }
        // Before the stub runs from its copy, the end of the output may be where it copies itself to.
        let copied = matches!(self.done, Phase::Copied | Phase::Decompressed) && !self.moving;
        if copied && self.cells.decompressed.is_some_and(hits) {
            return Some(Phase::Decompressed);
        }
        let ready = match self.done {
            Phase::Decompressed => self.cells.moved.is_none(),
            done => done >= Phase::Moved,
        };
        (ready && self.cells.fields.iter().any(|field| hits(*field))).then_some(Phase::Relocated)
    }
}

impl Observer for Recorder {
    fn event(&mut self, event: &Event, view: &View) {
        match *event {
            Event::Block { .. } => {
                if let Some(phase) = self.ending.take() {
                    self.over(phase, view.ram());
                }
                self.blocks += 1;
                if self.blocks.is_multiple_of(TICK) {
                    (self.tick)(self.blocks);
                }
            }
            Event::Write { address, size, .. } => {
                let stored = Range::sized(address, size as u64);
                let moving = self.moving;
                let ends = self.ends_with(stored);
                if self.moving && !moving {
                    // Decompressors look through what they wrote, to verify a checksum.
                    self.ending = None;
                    self.over(Phase::Decompressed, view.ram());
                }
                if let Some(phase) = ends
                    && (phase != self.done || self.looks < MOST_LOOKS)
                {
                    self.looks = if phase == self.done { self.looks + 1 } else { 0 };
                    self.ending = Some(phase);
                }
            }
            // The trampoline in low memory is a small piece of the stub.
            Event::NewCopy { base, range }
                if self.done == Phase::Loaded && range.len() >= self.image_len / 2 =>
            {
                self.copy = Some((base, range));
                self.over(Phase::Copied, view.ram());
            }
            _ => {}
        }
    }
}

/// What is in either of two ascending lists, ascending.
fn union(mut ranges: Vec<Range>, more: Vec<Range>) -> Vec<Range> {
    ranges.extend(more);
    ranges.sort_unstable();
    let mut union: Vec<Range> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => union.push(range),
        }
    }
    union
}
