// SPDX-License-Identifier: GPL-2.0-only
//! Explains a run: who wrote a wrong byte and who should have, what ran when, and a debugger to stand there with.

pub mod blame;
pub mod provenance;
pub mod symbols;
