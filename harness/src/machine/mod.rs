// SPDX-License-Identifier: GPL-2.0-only
//! Runs a stub in an emulated PC, from the loader's hand-over to the stub's hand-off.
//!
//! A machine is told where the bytes lie and how to enter; it does not know what should come out.

#![allow(unsafe_code)]

mod code;
mod cpu;
mod devices;
mod entry;
mod exit_check;
mod faults;
mod features;
mod fill;
mod guard;
mod hooks;
mod observe;
mod outcome;
mod paging;
mod ram;
mod rdrand;
mod region;
mod script;
mod session;
mod setup;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod unicorn;
mod watchdog;

pub use devices::DeviceState;
pub use entry::{BOOT_CS, BOOT_DS, CR4_MCE, entry_cr4};
pub use exit_check::left_out as exit_checks_left_out;
pub use features::CpuFeatures;
pub use fill::{Fill, PAGE, Tile};
pub use observe::{Event, Interest, Observer, View};
pub use outcome::{Access, End, Outcome, PortUse, Registers, Table};
pub use paging::{CR0_PG, CR0_WP, CR4_LA57, CR4_PAE, EFER_LMA, Miss, Paging, Step};
pub use ram::{MOST_TOUCHED, OutsideRam, Ram};
pub use session::track::{PageFault, WatchKind};
pub use session::{Pause, Register, Session};
pub use setup::{EntryMode, EntryState, Placed, Setup};
pub use unicorn::UnicornEngine;

/// Something that runs machines.
pub trait Engine: Sync {
    /// Runs one machine until control leaves the stub, or something else ends it.
    fn run(&self, setup: &Setup) -> Result<Outcome, MachineError>;
}

/// The machine could not be built or driven: nothing is known about the stub.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The host refused memory.
    #[error("guest RAM: {0}")]
    Ram(#[from] std::io::Error),
    /// The loader put something where there is no RAM.
    #[error("the {what} does not fit into RAM: {outside}")]
    Placement {
        /// What it was.
        what: &'static str,
        /// Where RAM is missing.
        outside: OutsideRam,
    },
    /// The engine refused an operation.
    #[error("engine: {0}")]
    Engine(String),
}

impl From<unicorn_engine::uc_error> for MachineError {
    fn from(error: unicorn_engine::uc_error) -> MachineError {
        MachineError::Engine(format!("{error:?}"))
    }
}
