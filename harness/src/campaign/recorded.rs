// SPDX-License-Identifier: GPL-2.0-only
//! What is kept of results.

use super::{CaseResult, ImageFacts, ImageResult, Plan};
use crate::case::{Case, Protocols};
use crate::oracle::{Finding, Judgement, Verdict};
use crate::record::{
    CaseRecord, Facts, Found, ImageRecord, JudgementRecord, Report, Selection, Shrunk,
};

/// The report on a check by `plan`.
pub fn report(plan: &Plan, results: &[ImageResult]) -> Report {
    let images = results.iter().enumerate();
    let images = images.map(|(number, result)| image_record(number, plan, result)).collect();
    Report::new(None, plan.seed, Vec::new(), images, Vec::new())
}

/// What is kept of an image that was checked by `plan` as its image `number`.
pub fn image_record(number: usize, plan: &Plan, result: &ImageResult) -> ImageRecord {
    let name = result.input.name.clone();
    let path = result.input.path.display().to_string();
    let facts = match &result.image {
        Err(failure) => {
            let message = failure.message.clone();
            return ImageRecord::unusable(number, name, path, message, failure.exit);
        }
        Ok(facts) => facts,
    };
    let cases = result.cases.iter().enumerate();
    let mut record = ImageRecord {
        selection: selection(plan),
        facts: Some(facts_record(facts)),
        shrunk: result.shrunk.as_ref().map(|(case, judgement)| shrunk_record(case, judgement)),
        cases: cases.map(|(number, result)| case_record(number, result)).collect(),
        ..ImageRecord::new(number, name, path)
    };
    record.conclude();
    record
}

/// What is kept of case `number`.
pub fn case_record(number: usize, result: &CaseResult) -> CaseRecord {
    let CaseResult { case, judgement, duration } = result;
    CaseRecord {
        number,
        protocol: case.protocol,
        load: case.load,
        kaslr: case.asks_for_kaslr(),
        loader: case.loader,
        judgement: JudgementRecord::new(judgement),
        case: (judgement.verdict() != Verdict::Conforms).then(|| case.clone()),
        file: None,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    }
}

/// What is kept of a case that was made simple.
pub fn shrunk_record(case: &Case, judgement: &Judgement) -> Shrunk {
    Shrunk { case: case.clone(), findings: found(&judgement.findings), file: None }
}

/// What is kept of what an image is.
pub fn facts_record(facts: &ImageFacts) -> Facts {
    Facts {
        sha256: facts.sha256.clone(),
        release: facts.release.clone(),
        word_bits: facts.word.bits(),
        compression: facts.compression.to_string(),
        protocols: facts.protocols.clone(),
        table_entries: facts.table_entries,
        loaded_size: facts.loaded_size,
        init_size: facts.init_size,
        kernel_size: facts.kernel_size,
        image_findings: found(&facts.findings),
        kaslr_not_predicted: facts.unpredicted.clone(),
        entries_equal_to_vmlinux: facts.compared.as_ref().and_then(|compared| {
            let equal = compared.as_ref().ok()?.equal;
            Some(equal)
        }),
        not_compared_with_vmlinux: facts.compared.clone().and_then(Result::err),
    }
}

fn found(findings: &[Finding]) -> Vec<Found> {
    findings.iter().map(|finding| Found { finding: finding.clone(), known: None }).collect()
}

fn selection(plan: &Plan) -> Selection {
    Selection {
        protocol: match plan.protocols {
            Protocols::Only(protocol) => Some(protocol),
            Protocols::All => None,
        },
        loaders: plan.loaders.clone(),
    }
}
