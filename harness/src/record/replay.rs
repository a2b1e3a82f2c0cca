// SPDX-License-Identifier: GPL-2.0-only
//! All that is to be said of one case that was run again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blame::Blame;
use super::case::JudgementRecord;

/// One case, run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "relocheck replay")]
pub struct Replay {
    /// What the oracles say.
    #[serde(flatten)]
    pub judgement: JudgementRecord,
    /// Why each finding is there, in the order of the findings; empty if that was not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blame: Vec<Blame>,
    /// What is missing to explain more, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_explained: Vec<String>,
    /// What was run.
    pub run: Origins,
}

/// Which kernel it was, where it comes from, and how to run the case again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origins {
    /// The kernel's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What compiled it, as its banner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<String>,
    /// Its configuration file, if that lies beside the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Options in it that matter here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The image.
    pub image: String,
    /// SHA-256 of the image, in hex.
    pub sha256: String,
    /// The case in one line.
    pub case: String,
    /// The command that runs it again.
    pub command: String,
}
