// SPDX-License-Identifier: GPL-2.0-only
//! Keeps a run in a history and asks what was before it.

use std::path::Path;

use super::complain;
use crate::history::{History, HistoryError, Past};
use crate::record::Report;

/// Runs that a page shows, the last one among them.
const RUNS: u32 = 60;

/// Records `report` in the history at `file`; returns it with the runs before it. What goes wrong is told on standard
/// error and costs the past, not the report.
pub fn remember(file: &Path, report: &Report) -> Past {
    let tell = |error: HistoryError| complain(error);
    let mut history = match History::open(file) {
        Ok(history) => history,
        Err(error) => {
            tell(error);
            return Past::default();
        }
    };
    if let Err(error) = history.record(report) {
        tell(error);
    }
    history.past(report, RUNS).unwrap_or_else(|error| {
        tell(error);
        Past::default()
    })
}
