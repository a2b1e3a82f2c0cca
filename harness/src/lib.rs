// SPDX-License-Identifier: GPL-2.0-only
//! Proves that a Linux x86 bzImage relocates itself correctly.

pub mod cli;
pub mod exit;
pub mod image;

// The test helpers that unit tests share with the tests in `tests/` name the crate.
#[cfg(test)]
extern crate self as relocheck;
