// SPDX-License-Identifier: GPL-2.0-only
//! Explains a run: who wrote a wrong byte and who should have, what ran when, and a debugger to stand there with.

pub mod blame;
pub mod gdb;
pub mod phases;
pub mod provenance;
pub mod symbols;
pub mod trace;

/// Blocks between two signs of life of an observed run.
const TICK: u64 = 1 << 18;
