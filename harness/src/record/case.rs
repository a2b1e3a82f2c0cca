// SPDX-License-Identifier: GPL-2.0-only
//! What is kept of one case.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::{Case, Loader, Protocol};
use crate::hex;
use crate::oracle::{Finding, Judgement, Verdict};

/// One case of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaseRecord {
    /// Its number; seed and number determine it.
    pub number: usize,
    /// How the stub was entered.
    pub protocol: Protocol,
    /// Physical address of the stub's first byte.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub load: u64,
    /// Whether KASLR was asked for.
    pub kaslr: bool,
    /// The loader whose habits the case has, if a particular one.
    #[serde(default, skip_serializing_if = "is_any")]
    pub loader: Loader,
    /// What the oracles say.
    #[serde(flatten)]
    pub judgement: JudgementRecord,
    /// All of the case, unless it conforms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
    /// The case file that runs it again, beside the report; written for the first case of each rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

fn is_any(loader: &Loader) -> bool {
    *loader == Loader::Any
}

/// What the oracles say of one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgementRecord {
    /// The verdict.
    pub verdict: Verdict,
    /// Where the kernel was put; null if it was not started.
    #[serde(default, with = "hex::option")]
    #[schemars(with = "Option<hex::Hex>")]
    pub output: Option<u64>,
    /// The virtual base that it was relocated for.
    #[serde(default, with = "hex::option")]
    #[schemars(with = "Option<hex::Hex>")]
    pub virt: Option<u64>,
    /// Relocated fields that were verified.
    pub fields_relocated: usize,
    /// Whether the stub stopped because it had to.
    pub refused: bool,
    /// Deviations.
    pub findings: Vec<Found>,
    /// Why a rule could not be applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_judged: Vec<String>,
    /// What was not predicted, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_predicted: Option<String>,
}

/// A finding, and the known issue that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The deviation.
    #[serde(flatten)]
    pub finding: Finding,
    /// The known issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
}

impl JudgementRecord {
    /// What is kept of `judgement`.
    pub fn new(judgement: &Judgement) -> JudgementRecord {
        let found = |finding: &Finding| Found { finding: finding.clone(), known: None };
        JudgementRecord {
            verdict: judgement.verdict(),
            output: judgement.landing.map(|landing| landing.output),
            virt: judgement.landing.map(|landing| landing.virt),
            fields_relocated: judgement.applied.total(),
            refused: judgement.refused,
            findings: judgement.findings.iter().map(found).collect(),
            not_judged: judgement.not_judged.clone(),
            not_predicted: judgement.unpredicted.clone(),
        }
    }

    /// The findings that belong to no known issue.
    pub fn news(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|found| found.known.is_none()).map(|found| &found.finding)
    }

    /// Whether it diverges in nothing but known ways.
    pub fn is_known(&self) -> bool {
        self.verdict == Verdict::Diverges && self.news().next().is_none()
    }
}
