// SPDX-License-Identifier: GPL-2.0-only
//! What is kept of a case file that was run again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JudgementRecord;
use crate::exit::Exit;
use crate::oracle::{Rule, Verdict};

/// A case that showed a mistake once, run on an image that has it or on one that has the fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegressionRecord {
    /// Its place in the campaign, from 0.
    pub number: usize,
    /// The case file.
    pub case: String,
    /// The image's name.
    pub image: String,
    /// What should come of it.
    pub expected: Expected,
    /// How it stands.
    pub standing: Standing,
    /// What the oracles say; absent if it could not be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<JudgementRecord>,
    /// Why it could not be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// What should come of a regression case.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// The image has the mistake: this rule is broken.
    Shows(Rule),
    /// The image has the fix.
    Conforms,
}

/// How a regression case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As expected.
    AsExpected,
    /// The image should have the fix, and diverges.
    Regressed,
    /// The image should have the mistake, and does not show it: a newer kernel may have the fix.
    NotShown,
    /// It could not be run or judged.
    CannotJudge,
}

impl Standing {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Standing::AsExpected => "as-expected",
            Standing::Regressed => "regressed",
            Standing::NotShown => "not-shown",
            Standing::CannotJudge => "cannot-judge",
        }
    }
}

impl RegressionRecord {
    /// How `judgement` compares with what was expected.
    pub fn standing(expected: Expected, judgement: &JudgementRecord) -> Standing {
        let shows = |rule| judgement.findings.iter().any(|found| found.finding.rule == rule);
        match (expected, judgement.verdict) {
            (Expected::Conforms, Verdict::Conforms) => Standing::AsExpected,
            (Expected::Conforms, Verdict::Diverges) => Standing::Regressed,
            (Expected::Shows(rule), _) if shows(rule) => Standing::AsExpected,
            (_, Verdict::CannotJudge) => Standing::CannotJudge,
            (Expected::Shows(_), _) => Standing::NotShown,
        }
    }

    /// The verdict that it adds to the report: a mistake that is there as expected is no news.
    pub fn verdict(&self) -> Verdict {
        match self.standing {
            Standing::AsExpected => Verdict::Conforms,
            Standing::Regressed => Verdict::Diverges,
            Standing::NotShown | Standing::CannotJudge => Verdict::CannotJudge,
        }
    }

    /// The exit code for this case alone. A mistake that is no longer shown asks for a look: either the kernel has the fix
    /// and the list is old, or it is no longer seen.
    pub fn exit(&self) -> Exit {
        match self.standing {
            Standing::AsExpected => Exit::Conforms,
            Standing::Regressed => Exit::Diverges,
            Standing::NotShown | Standing::CannotJudge => Exit::CannotJudge,
        }
    }
}
