// SPDX-License-Identifier: GPL-2.0-only
//! Many cases of many images: drawn, run in parallel, judged, shrunk.

pub mod bugs;
mod check;
mod draw;
pub mod kaslr;
pub mod nightly;
mod opened;
mod recorded;
mod run;
mod shrink;
mod simplify;

pub use check::{CaseResult, ImageFacts, ImageFailure, ImageResult, Input, Plan, Progress, check};
pub use draw::{CaseTree, draw};
pub use opened::{Opened, compare};
pub use recorded::{case_record, facts_record, image_record, report, shrunk_record};
pub use run::{Run, run, run_keeping, run_setup};
pub use shrink::{Shrunk, shrink};
