// SPDX-License-Identifier: GPL-2.0-only
//! Helpers that several test files share.
#![allow(dead_code, reason = "no test file uses all of them")]

pub mod blame;
pub mod rebuild;
pub mod says;
