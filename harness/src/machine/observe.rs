// SPDX-License-Identifier: GPL-2.0-only
//! Runs that tell what happens while it happens: which instruction wrote where, which blocks ran, which faults were
//! taken.
//!
//! An observed run comes to the same end as any other run of its setup: observers only look.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use unicorn_engine::{HookType, Unicorn, uc_error};

use super::cpu;
use super::guard;
use super::hooks::State;
use super::outcome::{Access, Registers};
use super::paging::{EFER_LMA, Miss, Paging};
use super::ram::Ram;
use crate::range::Range;

/// The engine stores at most so many bytes at a time.
pub const WIDEST_STORE: u64 = 8;

/// What an observer wants to be told. Page faults, port accesses and new copies of the stub cost nothing, and are
/// always told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Stores that touch these physical addresses. If they are many, every access of the guest takes the engine's slow
    /// path.
    pub writes: Vec<Range>,
    /// The start of every translated block.
    pub blocks: bool,
    /// Every instruction in these linear addresses, before it runs.
    pub instructions: Vec<Range>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A store, about to be done: memory still holds what it held.
    Write {
        /// Physical address of the first byte.
        address: u64,
        /// Bytes.
        size: usize,
        /// What is stored, little-endian.
        value: u64,
    },
    /// A translated block is about to run.
    Block {
        /// Linear address of its first instruction.
        address: u64,
        /// Bytes of its instructions.
        size: u32,
    },
    /// An instruction is about to run.
    Instruction {
        /// Linear address.
        address: u64,
        /// Bytes.
        size: u32,
    },
    /// A page fault.
    PageFault {
        /// Linear address of the page that was missing.
        address: u64,
        /// Linear address of the instruction that needed it.
        instruction: u64,
        /// What the CPU pushes.
        error_code: u64,
        /// Whether the guest's handler is about to run.
        delivered: bool,
    },
    /// A port was read or written.
    Port {
        /// Which.
        port: u16,
        /// Bytes.
        size: usize,
        /// What was read or written.
        value: u32,
        /// Whether it was written.
        written: bool,
    },
    /// The stub runs from another copy of itself for the first time.
    NewCopy {
        /// Physical address of the image's first byte in that copy, or where it would be.
        base: u64,
        /// Where that is, as far as it equals the image.
        range: Range,
    },
}

/// Is told what happens.
pub trait Observer {
    /// `event` happens to the machine in `view`.
    fn event(&mut self, event: &Event, view: &View);
}

/// The machine at an event.
pub struct View<'a, 'u> {
    uc: &'a Unicorn<'u, State>,
}

impl View<'_, '_> {
    /// Linear address of the instruction that is running.
    pub fn instruction_pointer(&self) -> u64 {
        // An engine for this word size has this register.
        self.uc.reg_read(cpu::instruction_pointer(self.uc.get_data().word)).unwrap_or_default()
    }

    /// All registers.
    pub fn registers(&self) -> Registers {
        cpu::registers(self.uc, self.uc.get_data().word).unwrap_or_default()
    }

    /// The guest's memory.
    pub fn ram(&self) -> &Ram {
        &self.uc.get_data().ram
    }

    /// Bits of the code that is running: 64, or 32 before long mode and in its compatibility mode.
    pub fn code_bits(&self) -> u32 {
        /// CS.L in a segment descriptor (Intel SDM volume 3, "segment descriptors").
        const LONG_CODE: u64 = 1 << 53;
        let registers = self.registers();
        if registers.efer & EFER_LMA == 0 {
            return 32;
        }
        let [_, cs, ..] = registers.selectors;
        let descriptor = registers.gdtr.base.wrapping_add(u64::from(cs & !7));
        let physical = self.physical(descriptor, Access::Read).ok();
        let long = physical
            .and_then(|physical| self.ram().read_u64(physical).ok())
            .is_none_or(|descriptor| descriptor & LONG_CODE != 0);
        if long { 64 } else { 32 }
    }

    /// The physical address of a linear one, by the page tables that are in force.
    pub fn physical(&self, linear: u64, access: Access) -> Result<u64, Miss> {
        let paging: Result<Paging, uc_error> = cpu::paging(self.uc, self.uc.get_data().word);
        paging.map_err(|_| Miss::Unsupported)?.translate(self.ram(), linear, access)
    }
}

/// An observer that the hooks of one engine share.
pub type Shared = Rc<RefCell<dyn Observer>>;

/// Tells the observer of a machine, if it has one.
pub fn tell(uc: &Unicorn<State>, event: &Event) {
    if let Some(observer) = &uc.get_data().observer {
        observer.borrow_mut().event(event, &View { uc });
    }
}

/// Makes `uc`, in which nothing has run, tell `observer` what it is interested in. If the result becomes true, guarded pages
/// have changed what runs, and the run has to be done over again with [`Watching::All`].
pub fn install(
    uc: &mut Unicorn<State>,
    observer: Shared,
    interest: &Interest,
    watching: Watching,
) -> Result<Rc<Cell<bool>>, uc_error> {
    uc.get_data_mut().observer = Some(observer);
    let pages = match watching {
        Watching::FewPages => guard::pages(&interest.writes),
        Watching::All => None,
    };
    let overwritten = match pages {
        Some(pages) => guard::install(uc, &pages, &interest.writes)?,
        None => {
            watch_all(uc, &interest.writes)?;
            Rc::default()
        }
    };
    if interest.blocks {
        uc.add_block_hook(1, 0, |uc, address, size| tell(uc, &Event::Block { address, size }))?;
    }
    for range in &interest.instructions {
        let last = range.end.saturating_sub(1);
        uc.add_code_hook(range.start, last, |uc, address, size| {
            tell(uc, &Event::Instruction { address, size });
        })?;
    }
    Ok(overwritten)
}

/// How stores are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// By guarded pages, if those are few.
    FewPages,
    /// By a hook on all of them.
    All,
}

fn watch_all(uc: &mut Unicorn<State>, ranges: &[Range]) -> Result<(), uc_error> {
    for range in ranges.iter().copied() {
        // The engine asks where a store begins, not where it ends.
        let first = range.start.saturating_sub(WIDEST_STORE - 1);
        let last = range.end.saturating_sub(1);
        uc.add_mem_hook(HookType::MEM_WRITE, first, last, move |uc, _, address, size, value| {
            let value = value as u64;
            if address.saturating_add(size as u64) > range.start {
                tell(uc, &Event::Write { address, size, value });
            }
            true
        })?;
    }
    Ok(())
}
