// SPDX-License-Identifier: GPL-2.0-only
//! The engine that runs a machine in Unicorn.
//!
//! Address translation is ours (Unicorn's "virtual TLB"), because it lets each access be granted just the
//! permission it needs: an entry both writable and executable sends every store through a slow path, and
//! a fetch that is refused is a free hand-off detector.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use unicorn_engine::{Arch, Mode, Prot, TlbType, Unicorn, X86CpuModel, uc_error};

use super::faults::{self, Delivery, PAGE_FAULT};
use super::fill::{Fill, Tile};
use super::hooks::{self, State, Stop};
use super::observe::{self, Event, Interest, Observer, Watching};
use super::outcome::{End, Outcome};
use super::paging::Paging;
use super::ram::{MOST_TOUCHED, Ram, Untouchable};
use super::rdrand;
use super::script::Script;
use super::session::track;
use super::session::track::PageFault;
use super::setup::Setup;
use super::watchdog::Guard;
use super::{Engine, MachineError, cpu, entry, exit_check};
use crate::image::WordSize;

/// The largest number of page faults that a run may take; a stub takes one per 2 MiB that it maps.
const MAX_PAGE_FAULTS: u64 = 100_000;
/// Code buffer of one engine in bytes; the engine's default reserves a gibibyte.
const TRANSLATION_BUFFER: u32 = 32 << 20;
/// Vector of an invalid instruction.
const INVALID_OPCODE: u8 = 6;

/// Blocks per second that no host reaches: each costs the engine at least a call out of translated code.
const FASTEST_HOST: u64 = 1_000_000_000;

/// Runs machines in Unicorn. One may be shared by any number of threads.
///
/// A run first goes without counting its blocks, which takes two thirds of the time. One that lasts so long
/// that it may have used up its budget is repeated from the start with its blocks counted, and only that
/// count can end it: whichever way a host takes, the outcome is the same.
#[derive(Default)]
pub struct UnicornEngine {
    tiles: Mutex<HashMap<u64, Arc<Tile>>>,
    patience: Option<Duration>,
}

impl UnicornEngine {
    /// An engine that starts to count as soon as any host might have used up the budget.
    pub fn new() -> UnicornEngine {
        UnicornEngine::default()
    }

    /// An engine that starts to count after `patience`, for tests of both ways.
    pub fn with_patience(patience: Duration) -> UnicornEngine {
        UnicornEngine { patience: Some(patience), ..UnicornEngine::default() }
    }

    fn tile(&self, fill: Fill) -> io::Result<Arc<Tile>> {
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tile) = tiles.get(&fill.0) {
            return Ok(tile.clone());
        }
        let tile = Arc::new(Tile::new(fill)?);
        tiles.insert(fill.0, tile.clone());
        Ok(tile)
    }

    /// A machine that is about to be entered.
    pub(super) fn machine(&self, setup: &Setup) -> Result<Machine, MachineError> {
        let mut ram = Ram::new(&*self.tile(setup.fill)?, &setup.ram)?;
        for placed in std::iter::once(&setup.stub).chain(&setup.placed) {
            ram.write(placed.address, &placed.bytes)
                .map_err(|outside| MachineError::Placement { what: placed.what, outside })?;
        }
        Machine::open(setup, ram)
    }
}

impl UnicornEngine {
    /// How long a run may go without counting its blocks.
    fn patience(&self, setup: &Setup) -> Duration {
        self.patience.unwrap_or_else(|| {
            Duration::from_millis(setup.budget.saturating_mul(1000) / FASTEST_HOST)
        })
    }

    /// Runs one machine as [`Engine::run`] does, and tells an observer that `make` makes what happens in it.
    ///
    /// A run that has to be repeated, with its blocks counted or without guarded pages, gets another observer.
    ///
    /// # Errors
    /// As for any run.
    pub fn observe<O: Observer + 'static>(
        &self,
        setup: &Setup,
        interest: &Interest,
        make: impl Fn() -> O,
    ) -> Result<(Outcome, O), MachineError> {
        // The machine, which shares the observer, is gone when its outcome is there.
        let alone = |observer: Rc<RefCell<O>>| {
            Rc::into_inner(observer).expect("nobody else has it any more").into_inner()
        };
        for watching in [Watching::FewPages, Watching::All] {
            let observed = || -> Result<Observed<O>, MachineError> {
                let mut machine = self.machine(setup)?;
                let observer = Rc::new(RefCell::new(make()));
                let overwritten =
                    observe::install(&mut machine.uc, observer.clone(), interest, watching)?;
                Ok((machine, observer, overwritten))
            };
            let (machine, mut observer, mut overwritten) = observed()?;
            let outcome = match machine.run_watched(setup, self.patience(setup))? {
                Some(outcome) => outcome,
                None => {
                    let machine;
                    (machine, observer, overwritten) = observed()?;
                    machine.run_counted(setup)?
                }
            };
            if !overwritten.get() {
                return Ok((outcome, alone(observer)));
            }
        }
        unreachable!("nothing is guarded the second time")
    }

    /// Runs one machine as [`Engine::run`] does, always with its blocks counted: `observer` sees one run and no other,
    /// and the same blocks each time. Otherwise the engine stops inside a block now and then, when its TLB has to grow,
    /// and goes on with a block that begins there.
    ///
    /// # Errors
    /// As for any run.
    pub fn observe_once<O: Observer + 'static>(
        &self,
        setup: &Setup,
        interest: &Interest,
        observer: O,
    ) -> Result<(Outcome, O), MachineError> {
        let mut machine = self.machine(setup)?;
        let observer = Rc::new(RefCell::new(observer));
        observe::install(&mut machine.uc, observer.clone(), interest, Watching::All)?;
        let outcome = machine.run_counted(setup)?;
        let alone = Rc::into_inner(observer).expect("the machine that shared it is gone");
        Ok((outcome, alone.into_inner()))
    }
}

impl Engine for UnicornEngine {
    fn run(&self, setup: &Setup) -> Result<Outcome, MachineError> {
        let patience = self.patience(setup);
        match self.machine(setup)?.run_watched(setup, patience)? {
            Some(outcome) => Ok(outcome),
            None => self.machine(setup)?.run_counted(setup),
        }
    }
}

/// A machine, its observer, and whether its guarded pages had code that was overwritten.
type Observed<O> = (Machine, Rc<RefCell<O>>, Rc<Cell<bool>>);

/// A machine in Unicorn.
pub(super) struct Machine {
    /// The engine, with RAM and devices in its data.
    pub uc: Unicorn<'static, State>,
    // Below the engine, which is closed before this is dropped.
    /// What the CPU answers.
    pub script: Rc<Script>,
    /// Page faults so far.
    pub page_faults: u64,
}

/// How to go on when the engine came back.
enum Turn {
    /// From the instruction pointer.
    Go,
    /// Not now.
    Pause,
    /// Not at all.
    End(End),
}

impl Machine {
    fn open(setup: &Setup, ram: Ram) -> Result<Machine, MachineError> {
        let mode = match setup.word {
            WordSize::Bits32 => Mode::MODE_32,
            WordSize::Bits64 => Mode::MODE_64,
        };
        let mut uc = Unicorn::new_with_data(Arch::X86, mode, State::new(setup, ram))?;
        uc.ctl_set_cpu_model(X86CpuModel::PHENOM as i32)?;
        cpu::limit_translation_buffer(&uc, TRANSLATION_BUFFER)?;
        uc.ctl_set_tlb_type(TlbType::VIRTUAL)?;
        let mappings: Vec<_> = uc.get_data().ram.mappings().collect();
        for (address, host, size) in mappings {
            // SAFETY: the RAM lives in the engine's own data, or in the outcome made from it when the
            // engine will not run again.
            unsafe { uc.mem_map_ptr(address, size, Prot::ALL, host)? };
        }
        // No address ends a run: the engine would look one up like an instruction fetch.
        uc.ctl_exits_enable()?;
        hooks::install(&mut uc)?;
        let script = Script::new(setup.word, setup.cpu.clone());
        // SAFETY: nothing runs in the engine before it is in a machine, which keeps the script for longer.
        unsafe { script.install(&uc)? };
        entry::enter(&mut uc, setup)?;
        Ok(Machine { uc, script, page_faults: 0 })
    }

    /// Runs at full speed; `None` if that took longer than `limit`.
    fn run_watched(
        mut self,
        setup: &Setup,
        limit: Duration,
    ) -> Result<Option<Outcome>, MachineError> {
        let guard = Guard::new(self.uc.get_handle(), limit);
        let end = self.run(setup.entry, || guard.has_fired())?;
        drop(guard);
        end.map(|end| self.into_outcome(end)).transpose()
    }

    /// Runs with a count of translated blocks, which ends it when nothing else does.
    fn run_counted(mut self, setup: &Setup) -> Result<Outcome, MachineError> {
        hooks::count_blocks(&mut self.uc)?;
        match self.run(setup.entry, || false)? {
            Some(end) => self.into_outcome(end),
            None => Err(MachineError::Engine("an unlimited run was interrupted".into())),
        }
    }

    /// Runs from the linear address `entry` until the end, or until a pause, of which nothing is told but that it is one.
    pub fn run(
        &mut self,
        entry: u64,
        interrupted: impl Fn() -> bool,
    ) -> Result<Option<End>, MachineError> {
        let pc = cpu::instruction_pointer(self.uc.get_data().word);
        let mut next = entry;
        loop {
            let track = self.uc.get_data().track.as_ref();
            let checks = track.is_some_and(|track| track.stops_within_blocks());
            let kept = checks.then(|| exit_check::Kept::new(self.uc.get_handle()));
            let result = self.uc.emu_start(next, 0, 0, 0);
            drop(kept);
            if interrupted() {
                return Ok(None);
            }
            let state = self.uc.get_data_mut();
            let stop = state.stop.take();
            let fetching = stop.is_some() && state.stop_at_fetch;
            track::settle(&mut self.uc, stop.as_ref(), fetching)?;
            let turn = match stop {
                Some(stop) => self.handle(stop)?,
                None => self.unrequested(result)?,
            };
            match turn {
                Turn::Go => next = self.uc.reg_read(pc)?,
                Turn::Pause => return Ok(None),
                Turn::End(end) => return Ok(Some(end)),
            }
        }
    }

    /// Does what a hook asked for.
    fn handle(&mut self, stop: Stop) -> Result<Turn, MachineError> {
        Ok(Turn::End(match stop {
            Stop::Pause => return Ok(Turn::Pause),
            Stop::Watched => {
                if let Some(track) = &mut self.uc.get_data_mut().track {
                    track.look_closely();
                }
                return Ok(Turn::Pause);
            }
            Stop::NewCopy => {
                self.uc.ctl_flush_tb()?;
                self.uc.ctl_flush_tlb()?;
                let (base, range) = self.uc.get_data().code.latest();
                observe::tell(&self.uc, &Event::NewCopy { base, range });
                return Ok(Turn::Go);
            }
            Stop::GrowTlb => {
                self.uc.ctl_flush_tlb()?;
                return Ok(Turn::Go);
            }
            Stop::PageFault { address, error_code, paging } => {
                return self.page_fault(address, error_code, &paging);
            }
            Stop::HandOff => End::HandOff,
            Stop::OutsideRam(address, access) => End::OutsideRam { address, access },
            Stop::Exception(vector) => End::Fault { vector, address: None },
            Stop::LegacyPaging => End::Unsupported("paging outside long mode".into()),
            Stop::Untouchable(Untouchable::TooMuch) => {
                End::Unsupported(format!("more than {} GiB of RAM touched", MOST_TOUCHED >> 30))
            }
            Stop::Untouchable(Untouchable::Host(error)) => {
                return Err(MachineError::Ram(error.into()));
            }
            Stop::Budget => End::Budget { blocks: self.uc.get_data().budget },
        }))
    }

    fn page_fault(
        &mut self,
        address: u64,
        error_code: u64,
        paging: &Paging,
    ) -> Result<Turn, MachineError> {
        self.page_faults += 1;
        let unhandled = End::Fault { vector: PAGE_FAULT, address: Some(address) };
        if self.page_faults > MAX_PAGE_FAULTS {
            return Ok(Turn::End(unhandled));
        }
        let instruction = self.uc.reg_read(cpu::instruction_pointer(self.uc.get_data().word))?;
        let delivery = faults::deliver_page_fault(&mut self.uc, paging, address, error_code)?;
        let delivered = delivery == Delivery::Delivered;
        observe::tell(&self.uc, &Event::PageFault { address, instruction, error_code, delivered });
        if delivered {
            self.uc.get_data_mut().count_one();
        }
        if let Some(track) = &mut self.uc.get_data_mut().track {
            track.log_fault(PageFault { address, error_code, delivered });
        }
        Ok(match delivery {
            Delivery::Delivered => Turn::Go,
            Delivery::NoHandler => Turn::End(unhandled),
            Delivery::Unsupported(what) => Turn::End(End::Unsupported(what.into())),
        })
    }

    /// The engine came back without being asked to.
    fn unrequested(&mut self, result: Result<(), uc_error>) -> Result<Turn, MachineError> {
        if result == Err(uc_error::INSN_INVALID) && self.run_rdrand()? {
            return Ok(Turn::Go);
        }
        let invalid = End::Fault { vector: INVALID_OPCODE, address: None };
        Ok(Turn::End(match result {
            Ok(()) if self.script.take_refused() => invalid,
            Ok(()) if hooks::is_behind_halt(&self.uc)? => End::Halted,
            Ok(()) => End::Unsupported("the engine stopped for no reason it gives".into()),
            Err(uc_error::INSN_INVALID) => invalid,
            Err(error) => End::Unsupported(format!("the engine says {error:?}")),
        }))
    }

    /// Whether the instruction that the engine calls invalid was an RDRAND that this machine has.
    fn run_rdrand(&mut self) -> Result<bool, MachineError> {
        let Some(instruction) = rdrand::at_instruction_pointer(&self.uc)? else {
            return Ok(false);
        };
        let Some(delivered) = self.script.rdrand() else {
            return Ok(false);
        };
        rdrand::execute(&mut self.uc, instruction, delivered)?;
        self.uc.get_data_mut().count_one();
        Ok(true)
    }

    fn into_outcome(mut self, end: End) -> Result<Outcome, MachineError> {
        let registers = cpu::registers(&self.uc, self.uc.get_data().word)?;
        let page_faults = self.page_faults;
        let (ram, code, devices) = self.uc.get_data_mut().take();
        let (serial, ports, timer_reads) = devices.into_record();
        let code = code.into_ranges();
        let (rdrand_reads, tsc_reads) = (self.script.rdrand_reads(), self.script.tsc_reads());
        Ok(Outcome {
            end,
            registers,
            ram,
            code,
            serial,
            ports,
            page_faults,
            timer_reads,
            rdrand_reads,
            tsc_reads,
        })
    }
}
