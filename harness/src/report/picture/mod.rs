// SPDX-License-Identifier: GPL-2.0-only
//! What pictures of memory share: `axis.rs` says how high each stretch of addresses is, `labels.rs` where names have room,
//! `memory.rs` what kinds of memory are called.

mod axis;
mod labels;
mod memory;

pub use axis::{Axis, Content};
pub use labels::{spread, thinned};
pub use memory::{memory_class, memory_words};

/// A coordinate, short.
pub fn tenths(value: f64) -> String {
    format!("{value:.1}")
}
