// SPDX-License-Identifier: GPL-2.0-only
//! What the engine asks while the guest runs: translations, ports, exceptions.

use std::sync::Arc;

use unicorn_engine::{MemType, Prot, TlbEntry, Unicorn, uc_error};

use super::code::{Code, Fetched};
use super::cpu;
use super::devices::{DeviceState, Devices};
use super::fill::PAGE;
use super::observe::{self, Event};
use super::outcome::Access;
use super::paging::{GIB_PAGE, Levels, Miss, Paging, Translation};
use super::ram::{Ram, Untouchable};
use super::session::track::Track;
use super::setup::Setup;
use crate::image::WordSize;

/// Entries of the engine's own TLB when it is opened, and the size from which on growing it does not pay.
const TLB_START: u64 = 256;
const TLB_ENOUGH: u64 = 1 << 14;

/// Vector of a general-protection fault.
const GENERAL_PROTECTION: u8 = 13;

/// Why a hook stopped the engine.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// The guest gets a page fault.
    PageFault {
        /// Linear address.
        address: u64,
        /// What the CPU pushes.
        error_code: u64,
        /// The state of translation at the fault.
        paging: Paging,
    },
    /// The stub moved to another copy of itself: forget what was translated of the old one.
    NewCopy,
    /// The engine's TLB is too small for what the guest does; it grows when it is flushed.
    GrowTlb,
    /// Control left the stub.
    HandOff,
    /// An access to a physical address without RAM.
    OutsideRam(u64, Access),
    /// An exception other than a page fault.
    Exception(u8),
    /// A kind of paging that is not emulated.
    LegacyPaging,
    /// RAM that cannot be made accessible.
    Untouchable(Untouchable),
    /// The budget is used up.
    Budget,
    /// A session wants the machine as it is now.
    Pause,
    /// A session has to look closely at an access to this page.
    Watched,
}

/// What the hooks share with the machine.
pub struct State {
    /// Word size of the kernel.
    pub word: WordSize,
    /// The guest's RAM.
    pub ram: Ram,
    /// Where the stub's code may run.
    pub code: Code,
    /// Ports.
    pub devices: Devices,
    /// Set by the hook that stopped the engine.
    pub stop: Option<Stop>,
    /// Whether it did so because an instruction cannot be fetched.
    pub stop_at_fetch: bool,
    /// Translated blocks that have run, in a counted run.
    pub blocks: u64,
    /// How many may run.
    pub budget: u64,
    /// Who is told what happens.
    pub observer: Option<observe::Shared>,
    /// Where a session is; `None` in any other run.
    pub track: Option<Box<Track>>,
    /// The guard of CR4.LA57.
    pub levels: Levels,
    gib_pages: bool,
    tlb_size: u64,
    tlb_fills: u64,
}

impl State {
    /// The state at the entry.
    pub fn new(setup: &Setup, ram: Ram) -> State {
        State {
            word: setup.word,
            ram,
            code: Code::new(setup.stub.bytes.clone(), setup.stub.address, setup.payload.clone()),
            devices: Devices::new(setup.timer.clone(), setup.devices),
            stop: None,
            stop_at_fetch: false,
            blocks: 0,
            budget: setup.budget,
            observer: None,
            track: None,
            levels: Levels::new(setup.word == WordSize::Bits64 && setup.cpu.la57),
            gib_pages: setup.cpu.gib_pages,
            tlb_size: TLB_START,
            tlb_fills: 0,
        }
    }

    /// What outlives the engine: RAM, the places that code ran from, the devices.
    pub fn take(&mut self) -> (Ram, Code, Devices) {
        let nothing = Code::new(Arc::from([]), 0, 0..0);
        (
            std::mem::take(&mut self.ram),
            std::mem::replace(&mut self.code, nothing),
            std::mem::replace(&mut self.devices, Devices::new(Vec::new(), DeviceState::default())),
        )
    }

    /// Counts an instruction, or what counts as one, that the engine did not run itself.
    pub fn count_one(&mut self) {
        if let Some(track) = &mut self.track {
            track.skip_one();
        }
    }

    /// Keeps the engine's TLB at one size: growing it stops the guest inside a block, at a moment that depends on the
    /// host's clock.
    pub fn keep_tlb_size(&mut self) {
        self.tlb_size = TLB_ENOUGH;
    }

    /// The permission for one page, or why the engine has to stop.
    fn fill_tlb(
        &mut self,
        paging: &Paging,
        rip: u64,
        page: u64,
        access: Access,
    ) -> Result<TlbEntry, Stop> {
        self.tlb_fills += 1;
        if self.tlb_fills > 4 * self.tlb_size && self.tlb_size < TLB_ENOUGH {
            self.tlb_fills = 0;
            self.tlb_size *= 2;
            return Err(Stop::GrowTlb);
        }
        if !self.levels.permit(paging) {
            return Err(Stop::Exception(GENERAL_PROTECTION));
        }
        let page_fault =
            |error_code| Stop::PageFault { address: page, error_code, paging: *paging };
        let Translation { physical, page_size } =
            paging.walk(&self.ram, page, access).map_err(|miss| match miss {
                Miss::PageFault(error_code) => page_fault(error_code),
                Miss::TableOutsideRam(address) => Stop::OutsideRam(address, Access::Read),
                Miss::Unsupported => Stop::LegacyPaging,
            })?;
        if page_size == GIB_PAGE && !self.gib_pages {
            return Err(page_fault(paging.reserved_bit(access)));
        }
        if !self.ram.contains(physical) {
            return Err(Stop::OutsideRam(physical, access));
        }
        self.ram.touch(physical).map_err(Stop::Untouchable)?;
        if self.track.as_ref().is_some_and(|track| track.is_watched(physical, access)) {
            return Err(Stop::Watched);
        }
        let perms = match access {
            Access::Read => Prot::READ,
            // Only a page from which code runs right now needs the slow path that notices changed code.
            Access::Write if self.code.has_run_from(physical) => Prot::ALL,
            Access::Write => Prot::READ | Prot::WRITE,
            Access::Fetch => {
                let offset = if rip & !(PAGE - 1) == page { rip & (PAGE - 1) } else { 0 };
                match self.code.fetch(&self.ram, physical | offset) {
                    Fetched::Stub if self.track.as_ref().is_some_and(|t| t.hides(physical)) => {
                        Prot::EXEC
                    }
                    Fetched::Stub => Prot::READ | Prot::EXEC,
                    Fetched::NewCopy => return Err(Stop::NewCopy),
                    Fetched::Foreign => return Err(Stop::HandOff),
                }
            }
        };
        Ok(TlbEntry { paddr: physical, perms })
    }
}

/// Installs the hooks of every run.
pub fn install(uc: &mut Unicorn<State>) -> Result<(), uc_error> {
    // The range 1..0 means everywhere.
    uc.add_tlb_hook(1, 0, |uc, page, kind| {
        let access = match kind {
            MemType::FETCH => Access::Fetch,
            MemType::WRITE => Access::Write,
            _ => Access::Read,
        };
        let word = uc.get_data().word;
        let paging = cpu::paging(uc, word).ok()?;
        let rip = uc.reg_read(cpu::instruction_pointer(word)).ok()?;
        let state = uc.get_data_mut();
        match state.fill_tlb(&paging, rip, page, access) {
            Ok(entry) => Some(entry),
            Err(stop) => {
                state.stop = Some(stop);
                state.stop_at_fetch = access == Access::Fetch;
                None
            }
        }
    })?;
    uc.add_insn_in_hook(|uc, port, size| {
        let port = port as u16;
        let value = uc.get_data_mut().devices.read(port, size);
        observe::tell(uc, &Event::Port { port, size, value, written: false });
        value
    })?;
    uc.add_insn_out_hook(|uc, port, size, value| {
        let port = port as u16;
        uc.get_data_mut().devices.write(port, size, value);
        observe::tell(uc, &Event::Port { port, size, value, written: true });
    })?;
    uc.add_intr_hook(|uc, vector| stop(uc, Stop::Exception(vector as u8)))?;
    Ok(())
}

/// What translating a block costs, in runs of a block: guest code that changes itself all the time would
/// otherwise take hours to use its budget up.
pub const TRANSLATION: u64 = 1000;

/// Makes the engine count the blocks that run, and stop when the budget is used up.
///
/// The count must repeat exactly, so the engine's TLB keeps its size.
pub fn count_blocks(uc: &mut Unicorn<State>) -> Result<(), uc_error> {
    uc.get_data_mut().keep_tlb_size();
    uc.add_block_hook(1, 0, |uc, _, _| {
        let state = uc.get_data_mut();
        state.blocks += 1;
        if state.blocks >= state.budget {
            stop(uc, Stop::Budget);
        }
    })?;
    uc.add_edge_gen_hook(1, 0, |uc, _, _| uc.get_data_mut().blocks += TRANSLATION)?;
    Ok(())
}

/// Stops the engine, which is in a hook.
pub fn stop(uc: &mut Unicorn<State>, why: Stop) {
    let state = uc.get_data_mut();
    state.stop = Some(why);
    state.stop_at_fetch = false;
    // An engine that is running can always be stopped.
    let _ = uc.emu_stop();
}

/// Whether the instruction before the instruction pointer is `hlt`.
pub fn is_behind_halt(uc: &Unicorn<State>) -> Result<bool, uc_error> {
    const HLT: u8 = 0xf4;
    let state = uc.get_data();
    let rip = uc.reg_read(cpu::instruction_pointer(state.word))?;
    let paging = cpu::paging(uc, state.word)?;
    let before = paging.translate(&state.ram, rip.wrapping_sub(1), Access::Read).ok();
    Ok(before.and_then(|physical| state.ram.slice(physical, 1)) == Some(&[HLT]))
}
