// SPDX-License-Identifier: GPL-2.0-only
//! The phases of a run, and which memory each of them changed.
//!
//! The machine knows no phases. The reference says which bytes are the last to be decompressed, moved and relocated, and stores
//! into those bytes divide the run; between two of them all of RAM that was ever written is compared page by page.

mod cells;
mod recorder;
mod snapshot;
#[cfg(test)]
mod tests;

pub use cells::{Cells, Expected};
pub use recorder::Recorder;

use crate::range::Range;

/// What a stub does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The loader put everything into memory.
    Loaded,
    /// The stub copied itself out of the way.
    Copied,
    /// The kernel's ELF file stands in the output buffer, all of it.
    Decompressed,
    /// `parse_elf()` moved the segments to where they belong.
    Moved,
    /// The relocation table was applied.
    Relocated,
    /// The run ended, with the jump into the kernel if all is well.
    Ended,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Phase; 6] = [
        Phase::Loaded,
        Phase::Copied,
        Phase::Decompressed,
        Phase::Moved,
        Phase::Relocated,
        Phase::Ended,
    ];
}

/// What a phase did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseRecord {
    /// Which.
    pub phase: Phase,
    /// Translated blocks that had run when it was over; `None`: it never was.
    pub blocks: Option<u64>,
    /// Pages whose bytes it changed, as ranges of physical addresses, ascending.
    pub changed: Vec<Range>,
}

/// A run in phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phases {
    /// All six, in their order.
    pub records: Vec<PhaseRecord>,
    /// The largest copy that the stub made of itself: where the image's first byte is or would be, and what is there.
    pub copy: Option<(u64, Range)>,
}

impl Phases {
    /// What one phase did.
    pub fn get(&self, phase: Phase) -> &PhaseRecord {
        &self.records[phase as usize]
    }

    /// Translated blocks of the run.
    pub fn blocks(&self) -> u64 {
        self.get(Phase::Ended).blocks.unwrap_or(0)
    }
}
