// SPDX-License-Identifier: GPL-2.0-only
//! Tells people and programs what a check found. A format knows nothing of the others, and nothing but the records.

mod again;
mod bugs;
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
mod map;
mod mutate;
mod picture;
mod plain;
mod profile;
mod regression;
mod replay;
mod size;
mod text;
mod trend;

pub use again::{quote, replay as replay_command};
pub use bugs::{BugRow, BugsReport, KernelRow, Outcome};
pub use diff::diff_text;
pub use format::{Format, render};
pub use github::summary as github_summary;
pub use headline::headline;
pub use html::{Past, html};
pub use judgement::{brief, judgement_text, replay_text};
pub use kaslr::KaslrReport;
pub use map::{MapReport, map};
pub use mutate::MutationReport;
pub use profile::{call_tree_text, chrome_trace, flame_graph, folded_stacks};
pub use regression::regression;
pub use text::diverging;
pub use trend::trend;
