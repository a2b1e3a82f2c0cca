// SPDX-License-Identifier: GPL-2.0-only
//! A machine that is driven step by step, forth and back.
//!
//! It does exactly what a run of the same setup does. A session goes back by going to a snapshot before and running forth
//! from there, which gives the same every time; what was changed from outside is changed again at the same position.

mod edit;
mod snapshot;
#[cfg(test)]
mod tests;
pub mod track;

use std::collections::BTreeMap;

use super::outcome::{Access, End, Registers};
use super::paging::{Miss, Paging};
use super::ram::Ram;
use super::setup::Setup;
use super::unicorn::{Machine, UnicornEngine};
use super::{MachineError, cpu};
use crate::range::Range;
use edit::Edit;
pub use edit::Register;
use snapshot::Snapshots;
use track::{Hit, Hits, Pace, PageFault, Track, Watch, WatchKind};

/// A snapshot at least so many instructions apart, and apart by this part of what has run.
const SNAPSHOT_EVERY: u64 = 4 << 20;
const SNAPSHOT_PART: u64 = 32;
/// So many instructions before a place that is gone back to, a snapshot is worth while.
const NEAR: u64 = 1 << 16;

/// Why a session stands where it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It has gone as far as it was told.
    Limit,
    /// An instruction with a breakpoint is next.
    Break,
    /// Watched memory was accessed: by the instruction that has just run, or going back by that which is next.
    Watch {
        /// Linear address of the watchpoint.
        address: u64,
        /// Its kind.
        kind: WatchKind,
    },
    /// The run is over.
    End(End),
    /// This is the start of the run.
    Start,
    /// Whoever drives it asked it to stop.
    Interrupted,
}

/// A machine between two instructions.
pub struct Session<'e> {
    engine: &'e UnicornEngine,
    setup: Setup,
    machine: Machine,
    snapshots: Snapshots,
    /// What was changed from outside, by position.
    edits: BTreeMap<u64, Vec<Edit>>,
    end: Option<End>,
    /// Position at which the budget is used up, once that matters.
    budget_ends: Option<u64>,
}

impl<'e> Session<'e> {
    /// The machine of `setup`, about to be entered.
    ///
    /// # Errors
    /// As for any run.
    pub fn open(engine: &'e UnicornEngine, setup: &Setup) -> Result<Session<'e>, MachineError> {
        Session::with_memory(engine, setup, snapshot::MOST_MEMORY)
    }

    fn with_memory(
        engine: &'e UnicornEngine,
        setup: &Setup,
        most_memory: usize,
    ) -> Result<Session<'e>, MachineError> {
        let machine = tracked(engine, setup)?;
        let snapshots = Snapshots::new(&machine, most_memory)?;
        Ok(Session {
            engine,
            setup: setup.clone(),
            machine,
            snapshots,
            edits: BTreeMap::new(),
            end: None,
            budget_ends: None,
        })
    }

    /// How many instructions have run. Each round of a repeated string instruction counts, and each page fault that the
    /// guest's handler takes.
    pub fn position(&self) -> u64 {
        self.track().position
    }

    /// How the run ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What the machine was told at first.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Whether anything was changed from outside, before the present.
    pub fn is_edited(&self) -> bool {
        self.edits.range(..=self.position()).next().is_some()
    }

    /// The CPU's registers.
    pub fn registers(&self) -> Result<Registers, MachineError> {
        Ok(cpu::registers(&self.machine.uc, self.setup.word)?)
    }

    /// The guest's memory.
    pub fn ram(&self) -> &Ram {
        &self.machine.uc.get_data().ram
    }

    /// How addresses are translated now.
    pub fn paging(&self) -> Result<Paging, MachineError> {
        Ok(cpu::paging(&self.machine.uc, self.setup.word)?)
    }

    /// Page faults so far, with the positions behind them.
    pub fn faults(&self) -> &[(u64, PageFault)] {
        self.track().faults()
    }

    /// The copies of the stub that have run, the image as loaded first: where the image's first byte is or would be, and
    /// the part that is there.
    pub fn copies(&self) -> impl Iterator<Item = (u64, Range)> + '_ {
        self.machine.uc.get_data().code.copies()
    }

    /// Reads `out.len()` bytes at a linear address.
    ///
    /// # Errors
    /// Not all of it is mapped to RAM.
    pub fn read(&self, linear: u64, out: &mut [u8]) -> Result<(), Miss> {
        for (physical, part) in self.pieces(linear, out.len(), Access::Read)? {
            let outside = |_| Miss::TableOutsideRam(physical);
            self.ram().read(physical, &mut out[part]).map_err(outside)?;
        }
        Ok(())
    }

    /// Sets or, with `set` false, removes a breakpoint at a linear address; memory keeps its bytes. Whether anything
    /// changed.
    pub fn set_breakpoint(&mut self, linear: u64, set: bool) -> Result<bool, MachineError> {
        let breakpoints = &mut self.track_mut().breakpoints;
        let changed = if set { breakpoints.insert(linear) } else { breakpoints.remove(&linear) };
        self.reinstall(changed)
    }

    /// Whether there is a breakpoint at this linear address.
    pub fn has_breakpoint(&self, linear: u64) -> bool {
        self.track().breakpoints.contains(&linear)
    }

    /// Sets or removes a watchpoint on `len` bytes at a linear address. Whether anything changed.
    pub fn set_watchpoint(
        &mut self,
        linear: u64,
        len: u64,
        kind: WatchKind,
        set: bool,
    ) -> Result<bool, MachineError> {
        let physical = self.paging()?.translate(self.ram(), linear, Access::Read).unwrap_or(linear);
        let end = physical.saturating_add(len.max(1));
        let watches = &mut self.track_mut().watches;
        let found = watches
            .iter()
            .position(|w| (w.linear, w.end - w.start, w.kind) == (linear, len.max(1), kind));
        let changed = found.is_none() == set;
        match found {
            Some(index) if !set => drop(watches.remove(index)),
            None if set => watches.push(Watch { linear, start: physical, end, kind }),
            _ => {}
        }
        self.reinstall(changed)
    }

    /// Goes on for `instructions`, or some more, unless there is something to stop for.
    ///
    /// # Errors
    /// The machine cannot be driven any more.
    pub fn go_on(&mut self, instructions: u64) -> Result<Pause, MachineError> {
        let limit = self.position().saturating_add(instructions);
        let pause = self.run(limit, false, Hits::Stop)?;
        if self.end.is_none() {
            let distance = SNAPSHOT_EVERY.max(self.position() / SNAPSHOT_PART);
            if self.position() - self.snapshots.at_or_before(self.position()) >= distance {
                self.snapshots.take(&self.machine, self.position())?;
            }
        }
        Ok(pause)
    }

    /// Runs one instruction.
    ///
    /// # Errors
    /// As for [`Session::go_on`].
    pub fn step(&mut self) -> Result<Pause, MachineError> {
        self.run(self.position() + 1, true, Hits::StopAtWatches)
    }

    /// Goes to `position`, forth or back, or to the end if that is before it. Asks `interrupted` now and then.
    ///
    /// # Errors
    /// As for [`Session::go_on`].
    pub fn seek(
        &mut self,
        position: u64,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Pause, MachineError> {
        let snapshot = self.snapshots.at_or_before(position);
        if position < self.position() || snapshot > self.position() {
            self.restore(position)?;
        }
        let near = position.saturating_sub(NEAR);
        while self.position() < position && self.end.is_none() {
            if interrupted() {
                return Ok(Pause::Interrupted);
            }
            let next = self.position().saturating_add(SNAPSHOT_EVERY);
            // The block that ends behind `near` ends before `position`.
            if self.position() < near && near - self.snapshots.at_or_before(near) > NEAR {
                self.run(next.min(near), false, Hits::Ignore)?;
                let at = self.position();
                let distance = SNAPSHOT_EVERY.max(at / SNAPSHOT_PART);
                if at >= near || at - self.snapshots.at_or_before(at) >= distance {
                    self.snapshots.take(&self.machine, at)?;
                }
            } else {
                self.run(next.min(position), true, Hits::Ignore)?;
            }
        }
        Ok(match &self.end {
            Some(end) => Pause::End(end.clone()),
            None if position == 0 => Pause::Start,
            None => Pause::Limit,
        })
    }

    /// Goes back by one instruction.
    ///
    /// # Errors
    /// As for [`Session::go_on`].
    pub fn step_back(&mut self) -> Result<Pause, MachineError> {
        match self.position().checked_sub(1) {
            None => Ok(Pause::Start),
            Some(before) => match self.seek(before, &mut || false)? {
                Pause::Start => Ok(Pause::Limit),
                pause => Ok(pause),
            },
        }
    }

    /// Goes back to the last breakpoint, or to just before the last access to watched memory, or to the start. Asks
    /// `interrupted` now and then.
    ///
    /// # Errors
    /// As for [`Session::go_on`].
    pub fn go_back(
        &mut self,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Pause, MachineError> {
        let mut horizon = self.position();
        while horizon > 0 {
            let start = self.restore(horizon - 1)?;
            while self.position() < horizon && self.end.is_none() {
                if interrupted() {
                    self.restore(start)?;
                    return Ok(Pause::Interrupted);
                }
                let next = self.position().saturating_add(SNAPSHOT_EVERY).min(horizon);
                self.run(next, true, Hits::Last)?;
            }
            if let Some(hit) = self.track_mut().hit.take() {
                self.seek(hit.at(), &mut || false)?;
                return Ok(pause_of(hit));
            }
            horizon = start;
        }
        self.restore(0)?;
        Ok(Pause::Start)
    }

    /// Runs until `limit`, or with `exact` unset to the end of a block behind it.
    fn run(&mut self, limit: u64, exact: bool, hits: Hits) -> Result<Pause, MachineError> {
        if let Some(end) = &self.end {
            return Ok(Pause::End(end.clone()));
        }
        if hits != Hits::Last {
            self.track_mut().hit = None;
        }
        loop {
            let position = self.position();
            let edit = self.edits.range(position + 1..).next().map(|(at, _)| *at);
            // Without `exact`, the block that reaches the limit goes on behind it.
            let horizon = limit.saturating_add(if exact { 0 } else { track::SHORT });
            let stations = [edit, self.budget_ends].into_iter().flatten();
            let station = stations.filter(|at| *at < horizon).min();
            let track = self.track_mut();
            track.limit = station.unwrap_or(limit);
            track.exact = exact || station.is_some();
            // What was let through without looking must not be any more.
            let look_again =
                std::mem::replace(&mut track.hits, hits) != hits && !track.watches.is_empty();
            if let Some(hit) = track.hit.filter(|_| hits != Hits::Last) {
                return Ok(pause_of(hit));
            }
            if position >= limit {
                return Ok(Pause::Limit);
            }
            if self.budget_ends.is_some_and(|at| position >= at) {
                return Ok(self.ended(End::Budget { blocks: self.setup.budget }));
            }
            if look_again {
                self.machine.uc.ctl_flush_tlb()?;
            }
            let wanted = self.track().wanted_pace();
            if wanted != self.track().pace() {
                track::install(&mut self.machine.uc, wanted)?;
            }
            let entry = self.instruction_pointer()?;
            match self.machine.run(entry, || false)? {
                Some(End::Budget { .. }) => self.find_budget()?,
                Some(end) => {
                    if let Some(hit) = self.track().hit.filter(|_| hits != Hits::Last) {
                        // What was hit comes before the end, which comes again.
                        return Ok(pause_of(hit));
                    }
                    return Ok(self.ended(end));
                }
                None => {}
            }
            if edit == Some(self.position()) {
                self.repeat_edits()?;
            }
        }
    }

    fn ended(&mut self, end: End) -> Pause {
        self.end = Some(end.clone());
        Pause::End(end)
    }

    /// A session counts more blocks than a run, as it interrupts some. Where the budget may be used up, a run tells.
    fn find_budget(&mut self) -> Result<(), MachineError> {
        let mut machine = tracked(self.engine, &self.setup)?;
        machine.uc.get_data_mut().budget = self.setup.budget;
        track::install(&mut machine.uc, Pace::Blocks)?;
        let end = machine.run(self.setup.entry, || false)?;
        if let (Some(End::Budget { .. }), Some(track)) = (end, &machine.uc.get_data().track) {
            self.budget_ends = Some(track.position);
        }
        self.machine.uc.get_data_mut().budget = u64::MAX;
        Ok(())
    }

    /// Puts the machine into the latest state that is kept and not behind `position`, and says where that is.
    fn restore(&mut self, position: u64) -> Result<u64, MachineError> {
        let at = self.snapshots.restore(&mut self.machine, position)?;
        self.end = None;
        self.track_mut().rewind(at);
        self.repeat_edits()?;
        Ok(at)
    }

    fn pieces(
        &self,
        linear: u64,
        len: usize,
        access: Access,
    ) -> Result<Vec<(u64, std::ops::Range<usize>)>, Miss> {
        let paging = self.paging().map_err(|_| Miss::Unsupported)?;
        let mut pieces = Vec::new();
        let mut done = 0;
        while done < len {
            let from = linear.wrapping_add(done as u64);
            let in_page = (super::PAGE - from % super::PAGE) as usize;
            let end = len.min(done + in_page);
            let physical = paging.translate(self.ram(), from, access)?;
            pieces.push((physical, done..end));
            done = end;
        }
        Ok(pieces)
    }

    fn instruction_pointer(&self) -> Result<u64, MachineError> {
        Ok(self.machine.uc.reg_read(cpu::instruction_pointer(self.setup.word))?)
    }

    fn reinstall(&mut self, changed: bool) -> Result<bool, MachineError> {
        if changed {
            let pace = self.track().pace();
            track::install(&mut self.machine.uc, pace)?;
        }
        Ok(changed)
    }

    fn track(&self) -> &Track {
        self.machine.uc.get_data().track.as_ref().expect("set when the session was opened")
    }

    fn track_mut(&mut self) -> &mut Track {
        self.machine.uc.get_data_mut().track.as_mut().expect("set when the session was opened")
    }
}

fn pause_of(hit: Hit) -> Pause {
    match hit {
        Hit::Break { .. } => Pause::Break,
        Hit::Watch { watch, .. } => Pause::Watch { address: watch.linear, kind: watch.kind },
    }
}

/// A machine that counts, about to be entered.
fn tracked(engine: &UnicornEngine, setup: &Setup) -> Result<Machine, MachineError> {
    let mut machine = engine.machine(setup)?;
    let state = machine.uc.get_data_mut();
    state.keep_tlb_size();
    state.track = Some(Box::new(Track::new()));
    track::install(&mut machine.uc, Pace::Blocks)?;
    machine.uc.reg_write(cpu::instruction_pointer(setup.word), setup.entry)?;
    Ok(machine)
}
