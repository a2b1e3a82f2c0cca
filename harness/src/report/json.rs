// SPDX-License-Identifier: GPL-2.0-only
//! The report as JSON. For the same images, seed and number of cases it is the same to the byte, but for
//! the fields named `duration_ms`.

use serde::Serialize;

use crate::campaign::{ImageResult, Plan};
use crate::case::{Case, Loader, Protocol};
use crate::oracle::{Finding, Judgement, Verdict};

/// Version of the format.
const VERSION: u32 = 1;

/// A whole check.
#[derive(Serialize)]
pub struct Report {
    version: u32,
    seed: u64,
    verdict: Verdict,
    images: Vec<ImageReport>,
}

#[derive(Serialize)]
struct ImageReport {
    name: String,
    path: String,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    facts: Option<Facts>,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    shrunk: Option<Shrunk>,
    cases: Vec<CaseReport>,
}

#[derive(Serialize)]
struct Facts {
    sha256: String,
    release: Option<String>,
    word_bits: u32,
    compression: String,
    table_entries: usize,
    /// What is wrong with the image itself, whatever a run of it shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kaslr_not_predicted: Option<String>,
}

/// What the cases of an image were, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Cases run.
    pub cases: usize,
    /// Of them, entered at 32 bits.
    pub protocol_32: usize,
    /// Entered at 64 bits.
    pub protocol_64: usize,
    /// With KASLR asked for.
    pub kaslr: usize,
    /// In which KASLR ran, and its choice was predicted.
    pub kaslr_predicted: usize,
    /// As a particular loader would do it.
    pub by_loader: usize,
    /// Loaded at 4 GiB or above.
    pub above_4g: usize,
    /// In which relocations were applied and verified.
    pub relocated: usize,
    /// Relocated fields verified, over all cases.
    pub fields: usize,
    /// In which the stub had to refuse, and did.
    pub refused: usize,
    /// That conform.
    pub conforming: usize,
    /// That diverge.
    pub diverging: usize,
    /// That could not be judged.
    pub not_judged: usize,
}

#[derive(Serialize)]
struct Shrunk {
    case: Case,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct CaseReport {
    number: usize,
    protocol: String,
    load: String,
    kaslr: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    loader: Option<Loader>,
    #[serde(flatten)]
    judgement: JudgementReport,
    /// All of the case, unless it conforms.
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<Case>,
    duration_ms: u128,
}

/// What the oracles say of one case.
#[derive(Serialize)]
pub struct JudgementReport {
    verdict: Verdict,
    output: Option<String>,
    virt: Option<String>,
    fields_relocated: usize,
    refused: bool,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_judged: Vec<String>,
    /// What was not predicted, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_predicted: Option<String>,
}

impl Summary {
    /// Counts the cases of `result`.
    pub fn of(result: &ImageResult) -> Summary {
        let count = |test: &dyn Fn(&crate::campaign::CaseResult) -> bool| {
            result.cases.iter().filter(|case| test(case)).count()
        };
        let verdict =
            |wanted| move |c: &crate::campaign::CaseResult| c.judgement.verdict() == wanted;
        Summary {
            cases: result.cases.len(),
            protocol_32: count(&|c| c.case.protocol == Protocol::Bits32),
            protocol_64: count(&|c| c.case.protocol == Protocol::Bits64),
            kaslr: count(&|c| c.case.asks_for_kaslr()),
            kaslr_predicted: count(&|c| {
                c.case.asks_for_kaslr() && c.judgement.unpredicted.is_none()
            }),
            by_loader: count(&|c| c.case.loader != Loader::Any),
            above_4g: count(&|c| c.case.load >= 1 << 32),
            relocated: count(&|c| c.judgement.applied.total() > 0),
            fields: result.cases.iter().map(|case| case.judgement.applied.total()).sum(),
            refused: count(&|c| c.judgement.refused),
            conforming: count(&verdict(Verdict::Conforms)),
            diverging: count(&verdict(Verdict::Diverges)),
            not_judged: count(&verdict(Verdict::CannotJudge)),
        }
    }
}

impl Report {
    /// The report on a check by `plan`.
    pub fn new(plan: &Plan, results: &[ImageResult]) -> Report {
        Report {
            version: VERSION,
            seed: plan.seed,
            verdict: results.iter().map(ImageResult::verdict).max().unwrap_or(Verdict::CannotJudge),
            images: results.iter().map(image).collect(),
        }
    }

    /// Pretty-printed, with a newline at the end.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The report on one judgement.
pub fn judgement_report(judgement: &Judgement) -> JudgementReport {
    let hex = |value: u64| format!("{value:#x}");
    JudgementReport {
        verdict: judgement.verdict(),
        output: judgement.landing.map(|landing| hex(landing.output)),
        virt: judgement.landing.map(|landing| hex(landing.virt)),
        fields_relocated: judgement.applied.total(),
        refused: judgement.refused,
        findings: judgement.findings.clone(),
        not_judged: judgement.not_judged.clone(),
        not_predicted: judgement.unpredicted.clone(),
    }
}

fn image(result: &ImageResult) -> ImageReport {
    let facts = result.image.as_ref().ok();
    let cases = result.cases.iter().enumerate();
    ImageReport {
        name: result.input.name.clone(),
        path: result.input.path.display().to_string(),
        verdict: result.verdict(),
        error: result.image.as_ref().err().map(|failure| failure.message.clone()),
        facts: facts.map(|facts| Facts {
            sha256: facts.sha256.clone(),
            release: facts.release.clone(),
            word_bits: facts.word.bits(),
            compression: facts.compression.to_string(),
            table_entries: facts.table_entries,
            image_findings: facts.findings.clone(),
            kaslr_not_predicted: facts.unpredicted.clone(),
        }),
        summary: Summary::of(result),
        shrunk: result.shrunk.as_ref().map(|(case, judgement)| Shrunk {
            case: case.clone(),
            findings: judgement.findings.clone(),
        }),
        cases: cases
            .map(|(number, result)| CaseReport {
                number,
                protocol: result.case.protocol.to_string(),
                load: format!("{:#x}", result.case.load),
                kaslr: result.case.asks_for_kaslr(),
                loader: Some(result.case.loader).filter(|loader| *loader != Loader::Any),
                judgement: judgement_report(&result.judgement),
                case: (result.judgement.verdict() != Verdict::Conforms)
                    .then(|| result.case.clone()),
                duration_ms: result.duration.as_millis(),
            })
            .collect(),
    }
}
