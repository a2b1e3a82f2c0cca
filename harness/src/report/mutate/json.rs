// SPDX-License-Identifier: GPL-2.0-only
//! The fates of mutants as JSON: the same to the byte for the same image and arguments.

use serde::Serialize;

use super::MutationReport;
use super::count::Count;
use super::text::reason;
use crate::mutate::{Class, Fate};
use crate::oracle::Finding;

/// Version of the format.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    name: &'a str,
    sha256: &'a str,
    release: Option<String>,
    word_bits: u32,
    seed: u64,
    cases: Vec<usize>,
    instructions: usize,
    instructions_reached: usize,
    classes: Vec<ClassReport>,
    mutants: Vec<MutantReport<'a>>,
}

#[derive(Serialize)]
struct ClassReport {
    class: &'static str,
    #[serde(flatten)]
    count: Count,
    kinds: Vec<KindReport>,
}

#[derive(Serialize)]
struct KindReport {
    kind: &'static str,
    #[serde(flatten)]
    count: Count,
}

#[derive(Serialize)]
struct MutantReport<'a> {
    class: &'static str,
    kind: &'static str,
    place: &'a str,
    before: &'a str,
    after: &'a str,
    fate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<&'a Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The whole report.
pub fn render(report: &MutationReport) -> serde_json::Result<String> {
    let subject = report.bench.twin.subject();
    let (instructions_reached, instructions) = report.bench.code.reached();
    let classes = Class::ALL.into_iter().map(|class| ClassReport {
        class: class.name(),
        count: Count::of(report.results, class, None),
        kinds: class
            .kinds()
            .iter()
            .map(|kind| KindReport { kind, count: Count::of(report.results, class, Some(kind)) })
            .collect(),
    });
    let document = Document {
        version: VERSION,
        name: report.name,
        sha256: report.sha256,
        release: subject.image.release().map(|release| release.to_string()),
        word_bits: subject.word.bits(),
        seed: report.seed,
        cases: report.bench.cases.iter().map(|case| case.number).collect(),
        instructions,
        instructions_reached,
        classes: classes.filter(|class| class.count.mutants > 0).collect(),
        mutants: report
            .results
            .iter()
            .map(|(mutant, fate)| {
                let (finding, case) = match fate {
                    Fate::Killed { finding, case } => (Some(finding), *case),
                    _ => (None, None),
                };
                MutantReport {
                    class: mutant.class.name(),
                    kind: mutant.kind,
                    place: &mutant.place,
                    before: &mutant.before,
                    after: &mutant.after,
                    fate: name(fate),
                    case,
                    finding,
                    reason: reason(fate),
                }
            })
            .collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn name(fate: &Fate) -> &'static str {
    match fate {
        Fate::Killed { .. } => "killed",
        Fate::Refused(_) => "refused",
        Fate::NotLoadable(_) => "not-loadable",
        Fate::Equivalent(_) => "equivalent",
        Fate::NotReached => "not-reached",
        Fate::Same => "survived-same",
        Fate::Idle(_) => "survived-idle",
        Fate::Believed => "survived-believed",
        Fate::Differs(_) => "survived-differs",
        Fate::NotJudged(_) => "not-judged",
        Fate::NotBuilt(_) => "not-built",
    }
}
