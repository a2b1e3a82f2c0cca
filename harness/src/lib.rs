// SPDX-License-Identifier: GPL-2.0-only
//! Proves that a Linux x86 bzImage relocates itself correctly.

pub mod cli;
pub mod corpus;
pub mod exit;
pub mod image;
