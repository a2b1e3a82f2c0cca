// SPDX-License-Identifier: GPL-2.0-only
//! How a run ended, and the machine's state then.

use std::collections::BTreeMap;

use super::ram::Ram;
use crate::range::Range;

/// What kind of access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Fetch,
}

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::Fetch => "instruction fetch",
        })
    }
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Control left the stub's code: RIP is the first instruction elsewhere.
    HandOff,
    /// `hlt` with interrupts off: nothing can wake the CPU.
    Halted,
    /// An exception that no handler of the guest could take.
    Fault {
        /// Vector of the exception.
        vector: u8,
        /// Address that was accessed, of a page fault.
        address: Option<u64>,
    },
    /// An access to a physical address without RAM behind it.
    OutsideRam {
        /// Physical address.
        address: u64,
        /// What was tried.
        access: Access,
    },
    /// The budget of translated blocks was used up.
    Budget {
        /// How many blocks had run.
        blocks: u64,
    },
    /// The engine cannot emulate what the guest asked for.
    Unsupported(String),
}

/// A descriptor table register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Linear base address.
    pub base: u64,
    /// Limit: size in bytes less one.
    pub limit: u32,
}

/// The CPU's registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// General registers in encoding order: AX, CX, DX, BX, SP, BP, SI, DI, then R8 to R15.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Selectors of ES, CS, SS, DS, FS, GS, in encoding order.
    pub selectors: [u16; 6],
    /// Global descriptor table.
    pub gdtr: Table,
    /// Interrupt descriptor table.
    pub idtr: Table,
    /// Modes: protection, paging, write protection.
    pub cr0: u64,
    /// Address of the last page fault.
    pub cr2: u64,
    /// Top-level page table.
    pub cr3: u64,
    /// Extensions that are switched on.
    pub cr4: u64,
    /// Extended features (MSR 0xc0000080).
    pub efer: u64,
}

impl Registers {
    /// RBX.
    pub fn rbx(&self) -> u64 {
        self.general[3]
    }

    /// The source index register, which holds `boot_params` at every entry.
    pub fn rsi(&self) -> u64 {
        self.general[6]
    }
}

/// One port of the PC's I/O space, as the guest used it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortUse {
    /// How often it was read.
    pub reads: u64,
    /// How often it was written.
    pub writes: u64,
    /// The sizes of all accesses in bytes (1, 2 and 4), or-ed.
    pub sizes: u8,
    /// The distinct values written, in the order of their first use, without data sent to a serial port:
    /// the first [`PortUse::MOST_VALUES`].
    pub values: Vec<u32>,
    /// Whether there were more.
    pub more_values: bool,
}

impl PortUse {
    /// So many values are kept.
    pub const MOST_VALUES: usize = 16;

    pub(super) fn note_value(&mut self, value: u32) {
        if self.values.contains(&value) {
            return;
        }
        if self.values.len() < PortUse::MOST_VALUES {
            self.values.push(value);
        } else {
            self.more_values = true;
        }
    }
}

/// The machine after a run.
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// The CPU's registers.
    pub registers: Registers,
    /// All of RAM.
    pub ram: Ram,
    /// Places from which the stub's own code ran, in the order of their first use: the loader's copy
    /// first, then the copies that the stub made of itself.
    pub code: Vec<Range>,
    /// What was sent to a serial port.
    pub serial: Vec<u8>,
    /// Ports that were used: 65536 at most.
    pub ports: BTreeMap<u16, PortUse>,
    /// How many page faults the guest's own handler took.
    pub page_faults: u64,
    /// How often the guest asked the timer for entropy.
    pub timer_reads: u64,
    /// How often it executed RDRAND, where there is one, with or without success.
    pub rdrand_reads: u64,
    /// How often it executed RDTSC, announced or not.
    pub tsc_reads: u64,
}
