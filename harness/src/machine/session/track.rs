// SPDX-License-Identifier: GPL-2.0-only
//! Where a session is in its run, as a count that repeats exactly, and what it stops for.
//!
//! The position is the number of instructions that have run; each round of a repeated string instruction counts, and so
//! does a page fault that is delivered. At full speed the engine tells each block that begins, and how many
//! instructions it has was told when it was translated. Where the engine comes out of the middle of a block, the
//! instructions before that are counted by decoding them. The count does not depend on where blocks begin, and so not
//! on where a session stopped.

use std::collections::{BTreeSet, HashMap};

use iced_x86::{Decoder, DecoderOptions};
use unicorn_engine::{HookType, MemType, UcHookId, Unicorn, uc_error};

use super::super::cpu;
use super::super::fill::PAGE;
use super::super::hooks::{State, Stop, TRANSLATION, is_behind_halt, stop};
use super::super::outcome::Access;
use crate::image::WordSize;
use crate::range::Range;

/// So many instructions after the last access to a watched page, a session goes at full speed again.
const COOL_DOWN: u64 = 20_000;
/// Blocks whose number of instructions is found without hashing.
const NEAR_BLOCKS: usize = 1 << 12;

/// What a watchpoint stops for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchKind {
    /// Stores.
    Write,
    /// Loads.
    Read,
    /// Both.
    Access,
}

impl WatchKind {
    fn matches(self, access: Access) -> bool {
        match self {
            WatchKind::Write => access == Access::Write,
            WatchKind::Read => access == Access::Read,
            WatchKind::Access => true,
        }
    }
}

/// Memory that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watch {
    /// Linear address, as whoever set it knows it.
    pub linear: u64,
    /// Physical addresses.
    pub start: u64,
    /// One behind the last.
    pub end: u64,
    /// What for.
    pub kind: WatchKind,
}

impl Watch {
    fn pages(&self) -> Range {
        Range::new(self.start & !(PAGE - 1), self.end.next_multiple_of(PAGE))
    }
}

/// What a run came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// An instruction with a breakpoint is about to run.
    Break {
        /// Position of that instruction.
        at: u64,
    },
    /// An instruction accessed watched memory.
    Watch {
        /// Position of that instruction: it has run at the next.
        at: u64,
        /// What it accessed.
        watch: Watch,
    },
}

impl Hit {
    /// The position just before the instruction that it is about.
    pub fn at(&self) -> u64 {
        match self {
            Hit::Break { at } | Hit::Watch { at, .. } => *at,
        }
    }
}

/// What becomes of hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// They are passed by.
    Ignore,
    /// The first one ends the run.
    Stop,
    /// As [`Hits::Stop`], but for breakpoints, which are passed by.
    StopAtWatches,
    /// The run goes on; the last one is kept.
    Last,
}

/// How finely the engine tells what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Block by block.
    Blocks,
    /// Instruction by instruction.
    Instructions,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Block {
    address: u64,
    size: u32,
    instructions: u32,
}

/// Counts, and notes what was hit.
pub struct Track {
    /// Instructions that have run; at the pace of blocks all of the running one, until the engine is back.
    pub position: u64,
    /// Where the run pauses: there, or with `exact` unset at the end of a block that is not before it.
    pub limit: u64,
    /// Whether the limit is to be kept to the instruction.
    pub exact: bool,
    /// What becomes of hits.
    pub hits: Hits,
    /// The hit that ended the run, or the last one.
    pub hit: Option<Hit>,
    /// Linear addresses.
    pub breakpoints: BTreeSet<u64>,
    /// Watched memory.
    pub watches: Vec<Watch>,
    pace: Pace,
    /// Position at the start of the running block.
    base: u64,
    block: Block,
    near: Vec<Block>,
    blocks: HashMap<(u64, u32), u32>,
    /// An instruction has begun, at the pace of instructions.
    begun: bool,
    touched: Option<Watch>,
    /// Position from which on blocks are fine enough, if accesses to a watched page are why they were not.
    cool_at: Option<u64>,
    hooks: Vec<UcHookId>,
    faults: Vec<(u64, PageFault)>,
}

/// A page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// Linear address of the page that was missing.
    pub address: u64,
    /// What the CPU pushes.
    pub error_code: u64,
    /// Whether the guest's handler took it.
    pub delivered: bool,
}

impl Track {
    /// The start of a run.
    pub fn new() -> Track {
        Track {
            position: 0,
            limit: u64::MAX,
            exact: false,
            hits: Hits::Ignore,
            hit: None,
            breakpoints: BTreeSet::new(),
            watches: Vec::new(),
            pace: Pace::Blocks,
            base: 0,
            block: Block::default(),
            near: vec![Block::default(); NEAR_BLOCKS],
            blocks: HashMap::new(),
            begun: false,
            touched: None,
            cool_at: None,
            hooks: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Whether an access of this kind to the page at the physical address `page` has to be looked at closely.
    pub fn is_watched(&self, page: u64, access: Access) -> bool {
        self.pace == Pace::Blocks
            && self.hits != Hits::Ignore
            && access != Access::Fetch
            // Permission to write includes that to read.
            && self.watches.iter().any(|watch| {
                watch.pages().contains(page)
                    && (access == Access::Write || watch.kind != WatchKind::Write)
            })
    }

    /// Whether memory of the page at `page` is watched for being read: then code in it may be fetched, no more.
    pub fn hides(&self, page: u64) -> bool {
        self.is_watched(page, Access::Read)
    }

    /// The pace at which to go on.
    pub fn wanted_pace(&self) -> Pace {
        let cool = self.cool_at.is_none_or(|at| self.position >= at);
        let near = self.exact && self.limit.saturating_sub(self.position) < SHORT;
        if cool && !near { Pace::Blocks } else { Pace::Instructions }
    }

    /// Whether the engine may have to stop elsewhere than between two blocks.
    pub fn stops_within_blocks(&self) -> bool {
        self.pace == Pace::Instructions || !self.breakpoints.is_empty()
    }

    /// At what pace the engine tells.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Looks closely for a while, because watched memory is near.
    pub fn look_closely(&mut self) {
        self.cool_at = Some(self.position + COOL_DOWN);
    }

    /// Counts what the machine did in place of the engine.
    pub fn skip_one(&mut self) {
        self.position += 1;
        self.base = self.position;
    }

    /// Page faults before the present, with the positions behind them.
    pub fn faults(&self) -> &[(u64, PageFault)] {
        &self.faults
    }

    /// Remembers a page fault.
    pub fn log_fault(&mut self, fault: PageFault) {
        self.faults.push((self.position, fault));
    }

    /// Forgets what was under way.
    pub fn rewind(&mut self, position: u64) {
        self.position = position;
        self.base = position;
        self.begun = false;
        self.touched = None;
        self.cool_at = None;
        self.hit = None;
        self.faults.retain(|(at, _)| *at <= position);
    }

    fn instructions(&self, address: u64, size: u32) -> Option<u32> {
        let near = &self.near[address as usize % NEAR_BLOCKS];
        if (near.address, near.size) == (address, size) {
            return Some(near.instructions);
        }
        self.blocks.get(&(address, size)).copied()
    }

    fn learn(&mut self, block: Block) {
        self.near[block.address as usize % NEAR_BLOCKS] = block;
        self.blocks.insert((block.address, block.size), block.instructions);
    }

    fn note(&mut self, hit: Hit) {
        match (self.hits, hit) {
            (Hits::Ignore, _) | (Hits::StopAtWatches, Hit::Break { .. }) => {}
            (Hits::Last, _) => self.hit = Some(hit),
            (Hits::Stop | Hits::StopAtWatches, _) => {
                self.hit.get_or_insert(hit);
            }
        }
    }

    fn has_to_stop(&self) -> bool {
        self.hit.is_some() && self.hits != Hits::Last
    }

    /// The instruction that has begun has run.
    fn complete(&mut self) {
        if std::mem::take(&mut self.begun) {
            self.position += 1;
            if let Some(watch) = self.touched.take() {
                self.note(Hit::Watch { at: self.position - 1, watch });
            }
        }
    }

    /// A block of `size` bytes begins at `address`; whether the run has to pause before it.
    fn block_begins(&mut self, address: u64, size: u32, instructions: u32) -> bool {
        let left = self.limit.saturating_sub(self.position);
        let ends = if self.exact { u64::from(instructions) > left } else { left == 0 };
        if ends {
            return true;
        }
        self.base = self.position;
        self.position += u64::from(instructions);
        self.block = Block { address, size, instructions };
        false
    }

    /// An instruction begins at `address`; whether the run has to pause before it.
    fn instruction_begins(&mut self, address: u64) -> bool {
        let at = self.position + u64::from(self.begun);
        self.complete();
        let cool = self.cool_at.is_some() && self.wanted_pace() == Pace::Blocks;
        if self.has_to_stop() || at >= self.limit || cool {
            return true;
        }
        if self.breakpoints.contains(&address) {
            self.note(Hit::Break { at });
        }
        self.begun = !self.has_to_stop();
        !self.begun
    }
}

/// So close before an exact limit a session goes by instructions: blocks are shorter (TCG_MAX_INSNS, 512).
pub const SHORT: u64 = 1024;

/// Makes the engine, in which nothing is running, tell what happens at the pace that is wanted.
pub fn install(uc: &mut Unicorn<State>, pace: Pace) -> Result<(), uc_error> {
    let track = track(uc);
    track.pace = pace;
    let breakpoints: Vec<u64> = track.breakpoints.iter().copied().collect();
    let watches = track.watches.clone();
    for hook in std::mem::take(&mut track.hooks) {
        uc.remove_hook(hook)?;
    }
    let mut hooks = vec![
        uc.add_block_hook(1, 0, move |uc, address, size| {
            let state = uc.get_data_mut();
            state.blocks += 1;
            if state.blocks >= state.budget {
                return stop(uc, Stop::Budget);
            }
            if pace == Pace::Instructions {
                return;
            }
            let known = self::track(uc).instructions(address, size);
            let instructions = known.unwrap_or_else(|| count(uc, address, size, None));
            if self::track(uc).block_begins(address, size, instructions) {
                stop(uc, Stop::Pause);
            }
        })?,
        uc.add_edge_gen_hook(1, 0, |uc, block, _| {
            uc.get_data_mut().blocks += TRANSLATION;
            self::track(uc).learn(Block {
                address: block.pc,
                size: block.size.into(),
                instructions: block.icount.into(),
            });
        })?,
    ];
    match pace {
        Pace::Blocks => {
            for address in breakpoints {
                hooks.push(uc.add_code_hook(address, address, |uc, address, _| {
                    let at = position_in_block(uc, address);
                    let track = self::track(uc);
                    track.note(Hit::Break { at });
                    if track.has_to_stop() {
                        stop(uc, Stop::Pause);
                    }
                })?);
            }
        }
        Pace::Instructions => {
            hooks.push(uc.add_code_hook(1, 0, |uc, address, _| {
                if self::track(uc).instruction_begins(address) {
                    stop(uc, Stop::Pause);
                }
            })?);
            for watch in watches {
                let pages = watch.pages();
                let kind = HookType::MEM_READ | HookType::MEM_WRITE;
                hooks.push(uc.add_mem_hook(
                    kind,
                    pages.start,
                    pages.end - 1,
                    move |uc, kind, address, size, _| {
                        let access = match kind {
                            MemType::WRITE => Access::Write,
                            _ => Access::Read,
                        };
                        let track = self::track(uc);
                        track.look_closely();
                        let overlaps = address < watch.end && address + size as u64 > watch.start;
                        if overlaps && watch.kind.matches(access) && track.touched.is_none() {
                            track.touched = Some(watch);
                        }
                        true
                    },
                )?);
            }
        }
    }
    self::track(uc).hooks = hooks;
    uc.ctl_flush_tb()?;
    uc.ctl_flush_tlb()
}

/// Corrects the position when the engine is back, which `stop` was the reason for, if any was given. `fetching` tells that
/// it could not fetch the next instruction.
pub fn settle(
    uc: &mut Unicorn<State>,
    stop: Option<&Stop>,
    fetching: bool,
) -> Result<(), uc_error> {
    if uc.get_data().track.is_none() {
        return Ok(());
    }
    let word = uc.get_data().word;
    let rip = uc.reg_read(cpu::instruction_pointer(word))?;
    let halted = stop.is_none() && is_behind_halt(uc)?;
    let before = (track(uc).pace == Pace::Blocks).then(|| position_in_block(uc, rip));
    let track = track(uc);
    match (stop, track.pace) {
        (Some(Stop::Pause), Pace::Blocks) => {
            if let (Some(Hit::Break { at }), Hits::Stop) = (track.hit, track.hits) {
                track.position = at;
            }
        }
        (Some(Stop::Pause), Pace::Instructions) => {}
        // The block before has run.
        (Some(Stop::Budget), _) => track.complete(),
        _ if fetching || halted => track.complete(),
        (_, Pace::Blocks) => track.position = before.unwrap_or(track.position),
        (_, Pace::Instructions) => {}
    }
    track.begun = false;
    track.touched = None;
    track.base = track.position;
    track.block = Block::default();
    Ok(())
}

/// The position of the instruction at `address` of the running block, or of the one behind it.
fn position_in_block(uc: &Unicorn<State>, address: u64) -> u64 {
    let Some(track) = &uc.get_data().track else { return 0 };
    let Block { address: start, size, instructions } = track.block;
    if !(start..start + u64::from(size)).contains(&address) {
        return track.position;
    }
    let before = count(uc, start, size, Some((address, instructions)));
    track.base + u64::from(before)
}

/// How many instructions the block of `size` bytes at `start` has; with `upto` how many before that address, where it
/// is known how many there are in all.
fn count(uc: &Unicorn<State>, start: u64, size: u32, upto: Option<(u64, u32)>) -> u32 {
    let state = uc.get_data();
    let physical = cpu::paging(uc, state.word)
        .ok()
        .and_then(|paging| paging.translate(&state.ram, start, Access::Fetch).ok())
        .unwrap_or(start);
    let Some(bytes) = state.ram.slice(physical, size as usize) else { return 1 };
    // Which of the two a block is, the engine does not say: that which fits.
    let widths: &[u32] = if state.word == WordSize::Bits32 { &[32] } else { &[64, 32] };
    let counts = widths.iter().map(|bits| {
        let mut decoder = Decoder::with_ip(*bits, bytes, start, DecoderOptions::NONE);
        let (mut all, mut before) = (0, 0);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            all += 1;
            if upto.is_some_and(|(address, _)| instruction.ip() < address) {
                before = all;
            }
        }
        (all, before)
    });
    let counts: Vec<(u32, u32)> = counts.collect();
    match upto {
        Some((_, known)) => counts.iter().find(|(all, _)| *all == known).unwrap_or(&counts[0]).1,
        None => counts[0].0,
    }
}

fn track<'a>(uc: &'a mut Unicorn<State>) -> &'a mut Track {
    uc.get_data_mut().track.as_mut().expect("the engine of a session")
}
