// SPDX-License-Identifier: GPL-2.0-only
//! Tells people and programs what a check found. A format knows nothing of the others, and nothing but the records.

mod again;
mod checks;
mod diff;
mod format;
mod github;
mod headline;
mod html;
mod judgement;
mod junit;
mod kaslr;
mod ktap;
mod mail;
mod mutate;
mod plain;
mod regression;
mod size;
mod text;
mod trend;

pub use diff::diff_text;
pub use format::{Format, render};
pub use github::summary as github_summary;
pub use headline::headline;
pub use html::{Past, html};
pub use judgement::judgement_text;
pub use kaslr::KaslrReport;
pub use mutate::MutationReport;
pub use regression::regression;
pub use trend::trend;
