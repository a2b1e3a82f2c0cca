// SPDX-License-Identifier: GPL-2.0-only
//! What is kept of a check: plain data, written as JSON, read again, merged and compared. It knows neither how results
//! come about nor how they are shown.
//!
//! For the same images, seed and number of cases it is the same to the byte, but for the fields named `duration_ms`.

mod blame;
mod case;
pub mod diff;
mod identity;
mod image;
mod known;
mod merge;
mod read;
mod regression;
mod replay;
#[cfg(test)]
pub mod samples;
mod schema;
mod state;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use blame::{Blame, Entry, KernelPlace, Missing, Origin, Site, Store, StoreKind};
pub use case::{CaseRecord, Found, JudgementRecord};
pub use identity::Group;
pub use image::{Facts, ImageRecord, Selection, Shrunk, Summary};
pub use known::{KnownIssueRecord, KnownState};
pub use merge::merge;
pub use read::ReportError;
pub use regression::{Expected, RegressionRecord, Standing};
pub use replay::{Origins, Replay};
pub use schema::{Printed, schema};
pub use state::{State, Totals};

use crate::exit::Exit;
use crate::oracle::Verdict;

/// Version of the format.
pub const VERSION: u32 = 2;

/// A whole check, or a night's campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "relocheck report")]
pub struct Report {
    /// Version of the format: 2.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// Which campaign it is; absent for a plain check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Campaign>,
    /// Seed of everything that was drawn.
    pub seed: u64,
    /// The worst verdict of all, known issues included.
    pub verdict: Verdict,
    /// The exit code: that of the worst image, where known issues do not count.
    #[schemars(extend("enum" = [0, 1, 2, 70, 125]))]
    pub exit_code: u8,
    /// Cases that showed a mistake once, run again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regressions: Vec<RegressionRecord>,
    /// The images.
    pub images: Vec<ImageRecord>,
    /// Known issues, and whether they were seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_issues: Vec<KnownIssueRecord>,
}

/// Which campaign a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// The plan's name.
    pub name: String,
    /// Digest of the plan and of all images that it names: equal for the parts of one campaign.
    pub plan: String,
    /// The day by which known issues expire, as year-month-day.
    pub date: String,
    /// The part that this report covers; absent if it covers all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
}

/// Some of the equal parts that a campaign was cut into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The numbers of the parts that are covered, from 1.
    pub parts: Vec<u32>,
    /// How many there are.
    pub of: u32,
}

impl Report {
    /// A report on these images; verdict and exit code follow from them.
    pub fn new(
        campaign: Option<Campaign>,
        seed: u64,
        regressions: Vec<RegressionRecord>,
        images: Vec<ImageRecord>,
        known_issues: Vec<KnownIssueRecord>,
    ) -> Report {
        let verdicts = images.iter().map(|image| image.verdict);
        let verdicts = verdicts.chain(regressions.iter().map(RegressionRecord::verdict));
        let exits = images.iter().map(|image| image.exit_code);
        let exits = exits.chain(regressions.iter().map(|one| one.exit() as u8));
        Report {
            version: VERSION,
            campaign,
            seed,
            verdict: verdicts.max().unwrap_or(Verdict::CannotJudge),
            exit_code: exits.max_by_key(|code| severity(*code)).unwrap_or(Exit::CannotJudge as u8),
            regressions,
            images,
            known_issues,
        }
    }

    /// The case files that it names.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.images.iter_mut().flat_map(|image| {
            let cases = image.cases.iter_mut().filter_map(|case| case.file.as_mut());
            cases.chain(image.shrunk.as_mut().and_then(|shrunk| shrunk.file.as_mut()))
        })
    }

    /// The exit code of the command that made it.
    pub fn exit(&self) -> Exit {
        Exit::of(self.exit_code)
    }

    /// Pretty-printed JSON with a newline at the end.
    ///
    /// # Errors
    /// None that a report could cause.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// A divergence is the news; an unusable file comes before a doubt.
fn severity(code: u8) -> u8 {
    match code {
        0 => 0,
        125 => 1,
        2 => 2,
        1 => 3,
        _ => 4,
    }
}
