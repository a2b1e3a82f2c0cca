// SPDX-License-Identifier: GPL-2.0-only
//! What pictures of memory share: `axis.rs` says how high each stretch of addresses is, `labels.rs` where names have room,
//! `memory.rs` which memory is shown, and what it is called.

mod axis;
mod labels;
mod memory;

pub use axis::Axis;
pub use labels::{spread, thinned};
pub use memory::{PHYSICAL_BITS, memory_class, memory_words, worth_showing};

/// A coordinate, short.
pub fn tenths(value: f64) -> String {
    format!("{value:.1}")
}
