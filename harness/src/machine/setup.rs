// SPDX-License-Identifier: GPL-2.0-only
//! What a machine is told before it starts: RAM, what the loader put there, and how to enter.

use std::sync::Arc;

use super::devices::DeviceState;
use super::features::CpuFeatures;
use super::fill::Fill;
use crate::image::WordSize;
use crate::range::Range;

/// How the loader enters the stub (boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryMode {
    /// Protected mode, paging off.
    Protected,
    /// Long mode, paging on with the loader's identity map at `page_tables`.
    Long {
        /// Physical address of the top-level table, for CR3.
        page_tables: u64,
        /// CR4.LA57: the tables have five levels, not four. Only for a CPU with
        /// [`CpuFeatures::la57`].
        five_levels: bool,
    },
}

/// What the boot protocol leaves open of the CPU's state at the entry. The default is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryState {
    /// The direction flag.
    pub direction_flag: bool,
    /// Seed of what the general registers hold that the protocol says nothing of: all but RSI at the 64-bit
    /// entry; EAX, ECX, EDX and ESP at the 32-bit entry. `None`: zeros.
    pub registers: Option<u64>,
}

/// Bytes that the loader put into RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Physical address of the first byte.
    pub address: u64,
    /// What is there.
    pub bytes: Arc<[u8]>,
    /// What a report calls it.
    pub what: &'static str,
}

impl Placed {
    /// Where it lies.
    pub fn range(&self) -> Range {
        Range::sized(self.address, self.bytes.len() as u64)
    }
}

/// Everything that determines one run of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Word size of the kernel, which decides what CPU it is given.
    pub word: WordSize,
    /// What else is up to the CPU.
    pub cpu: CpuFeatures,
    /// Mode of the CPU at the entry.
    pub mode: EntryMode,
    /// The rest of its state there.
    pub entry_state: EntryState,
    /// Address of the first instruction.
    pub entry: u64,
    /// The stub as the loader placed it, before anything in `placed`; its code may run from here and
    /// from copies of it.
    pub stub: Placed,
    /// Where in the stub's bytes the compressed kernel lies: no code of the stub's.
    pub payload: std::ops::Range<usize>,
    /// Physical address of `boot_params`, handed over in ESI or RSI.
    pub boot_params: u64,
    /// Base and limit of the loader's GDT.
    pub gdt: (u64, u16),
    /// Page-aligned, ascending, disjoint ranges of RAM.
    pub ram: Vec<Range>,
    /// What RAM holds where nobody has written.
    pub fill: Fill,
    /// What else the loader wrote, in this order.
    pub placed: Vec<Placed>,
    /// Counter values that the programmable interval timer answers with, used again from the start when
    /// they run out.
    pub timer: Vec<u16>,
    /// The other devices.
    pub devices: DeviceState,
    /// The run ends after this many translated blocks.
    pub budget: u64,
}
