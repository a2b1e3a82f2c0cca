// SPDX-License-Identifier: GPL-2.0-only
//! Tells people and programs what a check found.

mod kaslr;
mod regression;
mod text;

pub use kaslr::KaslrReport;
pub use regression::regression;
pub use text::{judgement_text, table};
