// SPDX-License-Identifier: GPL-2.0-only
//! What became of the known issues.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A known issue in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnownIssueRecord {
    /// Its name.
    pub id: String,
    /// Who looks after it.
    pub owner: String,
    /// The last day on which it excuses a finding, as year-month-day.
    pub expires: String,
    /// Where it is explained.
    pub explanation: String,
    /// How it stands.
    pub state: KnownState,
    /// Cases in which it was seen.
    pub cases: usize,
}

/// How a known issue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KnownState {
    /// It excuses what it describes.
    Active,
    /// It excuses nothing any more.
    Expired,
}
