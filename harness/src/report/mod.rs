// SPDX-License-Identifier: GPL-2.0-only
//! Tells people and programs what a check found.

mod html;
mod kaslr;
mod regression;
mod size;
mod text;
mod trend;

pub use html::{Past, html};
pub use kaslr::KaslrReport;
pub use regression::regression;
pub use text::{judgement_text, table};
pub use trend::trend;
