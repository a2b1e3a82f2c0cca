// SPDX-License-Identifier: GPL-2.0-only
//! The engine that runs a machine in Unicorn.
//!
//! Address translation is ours (Unicorn's "virtual TLB"), because it lets each access be granted just the
//! permission it needs: an entry both writable and executable sends every store through a slow path, and
//! a fetch that is refused is a free hand-off detector.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use unicorn_engine::{Arch, Mode, Prot, TlbType, Unicorn, X86CpuModel, uc_error};

use super::faults::{self, Delivery, PAGE_FAULT};
use super::hooks::{self, State, Stop};
use super::outcome::{End, Outcome};
use super::paging::Paging;
use super::ram::{Fill, Ram, Tile};
use super::setup::Setup;
use super::watchdog::Guard;
use super::{Engine, MachineError, cpu, entry};
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

    fn machine(&self, setup: &Setup) -> Result<Machine, MachineError> {
        let mut ram = Ram::new(&*self.tile(setup.fill)?, &setup.ram)?;
        for placed in std::iter::once(&setup.stub).chain(&setup.placed) {
            ram.write(placed.address, &placed.bytes)
                .map_err(|outside| MachineError::Placement { what: placed.what, outside })?;
        }
        Machine::open(setup, ram)
    }
}

impl Engine for UnicornEngine {
    fn run(&self, setup: &Setup) -> Result<Outcome, MachineError> {
        let patience = self.patience.unwrap_or_else(|| {
            Duration::from_millis(setup.budget.saturating_mul(1000) / FASTEST_HOST)
        });
        match self.machine(setup)?.run_watched(setup, patience)? {
            Some(outcome) => Ok(outcome),
            None => self.machine(setup)?.run_counted(setup),
        }
    }
}

struct Machine {
    uc: Unicorn<'static, State>,
    page_faults: u64,
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
        cpu::script_instructions(&uc, setup.word)?;
        entry::enter(&mut uc, setup)?;
        Ok(Machine { uc, page_faults: 0 })
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

    fn run(
        &mut self,
        entry: u64,
        interrupted: impl Fn() -> bool,
    ) -> Result<Option<End>, MachineError> {
        let pc = cpu::instruction_pointer(self.uc.get_data().word);
        let mut next = entry;
        loop {
            let result = self.uc.emu_start(next, 0, 0, 0);
            if interrupted() {
                return Ok(None);
            }
            let end = match self.uc.get_data_mut().stop.take() {
                Some(stop) => self.handle(stop)?,
                None => Some(self.unrequested(result)?),
            };
            if end.is_some() {
                return Ok(end);
            }
            next = self.uc.reg_read(pc)?;
        }
    }

    /// Does what a hook asked for; the end, if it asked for that.
    fn handle(&mut self, stop: Stop) -> Result<Option<End>, MachineError> {
        Ok(Some(match stop {
            Stop::NewCopy => {
                self.uc.ctl_flush_tb()?;
                self.uc.ctl_flush_tlb()?;
                return Ok(None);
            }
            Stop::GrowTlb => {
                self.uc.ctl_flush_tlb()?;
                return Ok(None);
            }
            Stop::PageFault { address, error_code, paging } => {
                return self.page_fault(address, error_code, &paging);
            }
            Stop::HandOff => End::HandOff,
            Stop::OutsideRam(address, access) => End::OutsideRam { address, access },
            Stop::Exception(vector) => End::Fault { vector, address: None },
            Stop::LegacyPaging => End::Unsupported("paging outside long mode".into()),
            Stop::Budget => End::Budget { blocks: self.uc.get_data().budget },
        }))
    }

    fn page_fault(
        &mut self,
        address: u64,
        error_code: u64,
        paging: &Paging,
    ) -> Result<Option<End>, MachineError> {
        self.page_faults += 1;
        let unhandled = End::Fault { vector: PAGE_FAULT, address: Some(address) };
        if self.page_faults > MAX_PAGE_FAULTS {
            return Ok(Some(unhandled));
        }
        Ok(match faults::deliver_page_fault(&mut self.uc, paging, address, error_code)? {
            Delivery::Delivered => None,
            Delivery::NoHandler => Some(unhandled),
            Delivery::Unsupported(what) => Some(End::Unsupported(what.into())),
        })
    }

    /// The engine came back without being asked to.
    fn unrequested(&mut self, result: Result<(), uc_error>) -> Result<End, MachineError> {
        const HLT: u8 = 0xf4;
        let word = self.uc.get_data().word;
        let rip = self.uc.reg_read(cpu::instruction_pointer(word))?;
        let paging = cpu::paging(&self.uc, word)?;
        let ram = &self.uc.get_data().ram;
        let before = paging
            .translate(ram, rip.wrapping_sub(1), super::Access::Read)
            .ok()
            .and_then(|physical| ram.slice(physical, 1))
            .map(|bytes| bytes[0]);
        Ok(match result {
            Ok(()) if before == Some(HLT) => End::Halted,
            Ok(()) => End::Unsupported("the engine stopped for no reason it gives".into()),
            Err(uc_error::INSN_INVALID) => End::Fault { vector: INVALID_OPCODE, address: None },
            Err(error) => End::Unsupported(format!("the engine says {error:?}")),
        })
    }

    fn into_outcome(mut self, end: End) -> Result<Outcome, MachineError> {
        let registers = cpu::registers(&self.uc, self.uc.get_data().word)?;
        let page_faults = self.page_faults;
        let (ram, code, devices) = self.uc.get_data_mut().take();
        let (serial, ports, timer_reads) = devices.into_record();
        let code = code.into_ranges();
        Ok(Outcome { end, registers, ram, code, serial, ports, page_faults, timer_reads })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::image::WordSize;
    use crate::machine::{Access, EntryMode, Placed};
    use crate::range::Range;

    const LOAD: u64 = 0x20_0000;

    /// A machine whose stub is `code`, entered at 32 bits.
    fn setup(code: &[u8]) -> Setup {
        let mut bytes = code.to_vec();
        bytes.resize(0x2000, 0x90);
        Setup {
            word: WordSize::Bits32,
            mode: EntryMode::Protected,
            entry: LOAD,
            stub: Placed { address: LOAD, bytes: Arc::from(bytes), what: "stub" },
            payload: 0x1000..0x2000,
            boot_params: 0x1_0000,
            gdt: (0x3_0000, 0x2f),
            ram: vec![Range::new(0, 0x40_0000)],
            fill: Fill(3),
            placed: vec![Placed { address: 0x3_0000, bytes: gdt(), what: "GDT" }],
            timer: vec![7],
            budget: 10_000,
        }
    }

    fn gdt() -> Arc<[u8]> {
        let descriptors = [0, 0, 0x00cf_9b00_0000_ffff_u64, 0x00cf_9300_0000_ffff, 0, 0];
        descriptors.iter().flat_map(|descriptor| descriptor.to_le_bytes()).collect()
    }

    fn run(code: &[u8], patience: Duration) -> Outcome {
        UnicornEngine::with_patience(patience).run(&setup(code)).unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_jump_out_of_the_stub_is_the_hand_off() {
        // mov $0x300040, %eax; jmp *%eax
        let outcome = run(b"\xb8\x40\x00\x30\x00\xff\xe0", LONG);
        assert_eq!((outcome.end, outcome.registers.rip), (End::HandOff, 0x30_0040));
        assert_eq!(outcome.registers.rsi(), 0x1_0000);
    }

    #[test]
    fn a_halt_with_interrupts_off_is_the_end() {
        assert_eq!(run(b"\xfa\xf4", LONG).end, End::Halted);
    }

    #[test]
    fn accesses_without_memory_are_told_by_kind() {
        // mov %eax, 0x50000000
        let write = End::OutsideRam { address: 0x5000_0000, access: Access::Write };
        assert_eq!(run(b"\xa3\x00\x00\x00\x50", LONG).end, write);
        // mov 0x60000000, %eax
        let read = End::OutsideRam { address: 0x6000_0000, access: Access::Read };
        assert_eq!(run(b"\xa1\x00\x00\x00\x60", LONG).end, read);
    }

    #[test]
    fn an_invalid_instruction_is_a_fault() {
        assert_eq!(run(b"\x0f\x0b", LONG).end, End::Fault { vector: 6, address: None });
    }

    #[test]
    fn an_endless_loop_ends_by_its_budget_and_always_at_the_same_place() {
        // 1: inc %eax; jmp 1b
        let first = run(b"\x40\xeb\xfd", Duration::from_millis(20));
        let second = run(b"\x40\xeb\xfd", Duration::from_millis(90));
        assert_eq!(first.end, End::Budget { blocks: 10_000 });
        assert_eq!(first.registers, second.registers);
    }

    #[test]
    fn code_that_never_stops_changing_itself_uses_its_budget_up_sooner() {
        // 1: movb $0x90, 2f; 2: nop; jmp 1b
        let mut setup = setup(b"\xc6\x05\x07\x00\x20\x00\x90\x90\xeb\xf6");
        setup.budget = 100_000_000;
        let outcome = UnicornEngine::with_patience(Duration::ZERO).run(&setup).unwrap();
        assert_eq!(outcome.end, End::Budget { blocks: 100_000_000 });
    }

    #[test]
    fn code_that_changes_itself_is_seen() {
        // movb $0xf4, 1f; jmp 1f; 1: nop; jmp to 0x300000
        let code = b"\x90\xc6\x05\x0a\x00\x20\x00\xf4\xeb\x00\x90\xb8\x00\x00\x30\x00\xff\xe0";
        assert_eq!(run(code, LONG).end, End::Halted);
    }

    #[test]
    fn serial_output_and_the_timer_reach_the_outcome() {
        // mov $0x3f8, %edx; mov $'x', %al; out %al, %dx; mov $0xc2, %al; out %al, $0x43; hlt
        let outcome = run(b"\xba\xf8\x03\x00\x00\xb0x\xee\xb0\xc2\xe6\x43\xf4", LONG);
        assert_eq!((outcome.serial.as_slice(), outcome.timer_reads), (&b"x"[..], 1));
        assert_eq!(outcome.ports.keys().copied().collect::<Vec<_>>(), [0x43, 0x3f8]);
    }

    #[test]
    fn the_engine_that_is_linked_leaves_its_exit_checks_out() {
        run(b"\xa3\x00\x00\x00\x10", LONG);
        assert!(crate::machine::exit_checks_left_out() > 0);
    }
}
