// SPDX-License-Identifier: GPL-2.0-only
//! What must be in memory when the stub is done, computed from the image alone.
//!
//! Nothing here knows the emulator: a reference that shared code or state with what it judges would prove
//! nothing. A second, independent relocation table comes from the build's `vmlinux` ([`Derived`]).

mod console;
mod derive;
mod firmware;
mod guest;
mod hand_over;
mod inputs;
mod kaslr;
mod layout;
mod model;
mod options;
mod page;
mod paging;
mod placement;
mod plain;
mod prepared;
mod relocate;
mod serial;
mod start;
#[cfg(test)]
mod testing;
mod vintage;

pub use console::shown;
pub use derive::{DeriveError, Derived, Entry, type_name};
pub use hand_over::HandOver;
pub use inputs::{Cpu, Inputs, Memory, Passed};
pub use kaslr::{Area, Choice, Prediction};
pub use layout::{Link, check_moves, moved};
pub use model::Model;
pub use paging::Paging;
pub use placement::{Placement, Refusal, highest_heap, place, unrandomized_virt};
pub use plain::{Plain, PlainError};
pub use prepared::Prepared;
pub use relocate::{Applied, fields, relocate};
pub use serial::SerialPort;
pub use vintage::hand_over as vintage_hand_over;

/// The reference cannot say what should come out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A field of the setup header that the computation needs is not there.
    #[error("{0}: not in this image's boot protocol version")]
    MissingField(&'static str),
    /// The kernel has no loadable segment.
    #[error("the kernel has no PT_LOAD segment")]
    NoSegments,
    /// The kernel is linked for a place that no stub can use.
    #[error("the kernel's first segment has p_paddr {0:#x}, expected an address below 4 GiB")]
    LinkAddress(u64),
    /// A segment's destination leaves the output buffer.
    #[error(
        "segment {index}: its destination {start:#x}..{end:#x} leaves the output of {len:#x} bytes"
    )]
    SegmentOutside {
        /// Number of the segment among the PT_LOADs.
        index: usize,
        /// Offset of its destination in the output; wraps when it lies below.
        start: u64,
        /// Offset behind its destination.
        end: u64,
        /// Length of the output in bytes.
        len: usize,
    },
    /// An entry of the relocation table points outside the kernel.
    #[error("relocation table: {kind} entry {entry:#x} points outside the kernel")]
    EntryOutside {
        /// Kind of its group.
        kind: crate::image::RelocKind,
        /// The entry as stored.
        entry: u32,
    },
    /// A loop of the stub runs out of the table.
    #[error("relocation table: the stub finds no terminator and reads on into the kernel")]
    Unterminated,
}
