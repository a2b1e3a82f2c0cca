// SPDX-License-Identifier: GPL-2.0-only
//! What is kept of one image and its cases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CaseRecord, Found};
use crate::case::{Case, Loader, Protocol, Protocols};
use crate::exit::Exit;
use crate::hex;
use crate::oracle::Verdict;

/// One image, or one of the ways in which a campaign runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageRecord {
    /// Its place in the campaign, from 0.
    pub number: usize,
    /// What it is called.
    pub name: String,
    /// The file.
    pub path: String,
    /// Which of all cases were drawn.
    #[serde(default, skip_serializing_if = "Selection::is_all")]
    pub selection: Selection,
    /// The worst verdict, known issues included.
    pub verdict: Verdict,
    /// The exit code for this image alone, where known issues do not count.
    #[schemars(extend("enum" = [0, 1, 2, 70, 125]))]
    pub exit_code: u8,
    /// Why it cannot be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it is; absent if it cannot be checked.
    #[serde(flatten)]
    pub facts: Option<Facts>,
    /// Its cases in numbers.
    pub summary: Summary,
    /// Cases that were not run, because the time for this image was used up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_run: usize,
    /// The first failing case, made simple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
    /// All cases in the order of their numbers.
    pub cases: Vec<CaseRecord>,
}

/// Which cases of an image a campaign draws.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The entry protocol, if only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The loaders whose habits the cases have; none: whatever the boot protocol allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaders: Vec<Loader>,
}

/// What an image is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// SHA-256 of the file.
    pub sha256: String,
    /// The kernel's release.
    pub release: Option<String>,
    /// Word size of the kernel: 32 or 64.
    pub word_bits: u32,
    /// The compressor.
    pub compression: String,
    /// Entry protocols that cases are drawn from.
    pub protocols: Vec<Protocol>,
    /// Entries of the relocation table.
    pub table_entries: usize,
    /// Bytes of the image that the loader puts into memory.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub loaded_size: u64,
    /// `init_size`: bytes that the stub needs from where it works on.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub init_size: u64,
    /// Bytes from the output on that the kernel and the decompressor use.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub kernel_size: u64,
    /// What is wrong with the image itself, whatever a run of it shows, and what only all runs together show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_findings: Vec<Found>,
    /// Why KASLR's choice cannot be predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kaslr_not_predicted: Option<String>,
    /// Entries of the relocation table that the one derived from the kernel's `vmlinux` has, too; absent where they
    /// were not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries_equal_to_vmlinux: Option<usize>,
    /// Why the table was not compared with the `vmlinux` at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_compared_with_vmlinux: Option<String>,
}

/// A failing case that was made simple.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shrunk {
    /// The case.
    pub case: Case,
    /// What it shows.
    pub findings: Vec<Found>,
    /// The case file, beside the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What the cases of an image were, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// That diverge, known issues included.
    pub diverging: usize,
    /// That diverge in nothing but known ways.
    pub known: usize,
    /// That could not be judged.
    pub not_judged: usize,
}

impl Selection {
    /// The entry protocols to draw from.
    pub fn protocols(&self) -> Protocols {
        self.protocol.map_or(Protocols::All, Protocols::Only)
    }

    /// Whether it leaves nothing out.
    pub fn is_all(&self) -> bool {
        *self == Selection::default()
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = self.protocol.map(|protocol| format!("{protocol}-bit"));
        let loaders = self.loaders.iter().map(|loader| loader.name().to_owned());
        f.pad(&protocol.into_iter().chain(loaders).collect::<Vec<_>>().join(", "))
    }
}

impl Summary {
    /// Counts cases.
    pub fn of(cases: &[CaseRecord]) -> Summary {
        let count =
            |test: &dyn Fn(&CaseRecord) -> bool| cases.iter().filter(|case| test(case)).count();
        let verdict = |wanted| move |case: &CaseRecord| case.judgement.verdict == wanted;
        Summary {
            cases: cases.len(),
            protocol_32: count(&|case| case.protocol == Protocol::Bits32),
            protocol_64: count(&|case| case.protocol == Protocol::Bits64),
            kaslr: count(&|case| case.kaslr),
            kaslr_predicted: count(&|case| case.kaslr && case.judgement.not_predicted.is_none()),
            by_loader: count(&|case| case.loader != Loader::Any),
            above_4g: count(&|case| case.load >= 1 << 32),
            relocated: count(&|case| case.judgement.fields_relocated > 0),
            fields: cases.iter().map(|case| case.judgement.fields_relocated).sum(),
            refused: count(&|case| case.judgement.refused),
            conforming: count(&verdict(Verdict::Conforms)),
            diverging: count(&verdict(Verdict::Diverges)),
            known: count(&|case| case.judgement.is_known()),
            not_judged: count(&verdict(Verdict::CannotJudge)),
        }
    }
}

impl ImageRecord {
    /// The record of an image of which nothing is known yet.
    pub fn new(number: usize, name: String, path: String) -> ImageRecord {
        ImageRecord {
            number,
            name,
            path,
            selection: Selection::default(),
            verdict: Verdict::CannotJudge,
            exit_code: Exit::CannotJudge as u8,
            error: None,
            facts: None,
            summary: Summary::default(),
            not_run: 0,
            shrunk: None,
            cases: Vec::new(),
        }
    }

    /// The record of an image that cannot be checked.
    pub fn unusable(
        number: usize,
        name: String,
        path: String,
        error: String,
        exit: Exit,
    ) -> ImageRecord {
        ImageRecord {
            error: Some(error),
            exit_code: exit as u8,
            ..ImageRecord::new(number, name, path)
        }
    }

    /// Counts the cases and derives verdict and exit code from them. An image that cannot be checked keeps both.
    pub fn conclude(&mut self) {
        self.summary = Summary::of(&self.cases);
        let Some(facts) = &self.facts else { return };
        let news = facts.image_findings.iter().any(|found| found.known.is_none());
        let Summary { diverging, known, not_judged, .. } = self.summary;
        let doubtful = not_judged > 0 || self.not_run > 0 || self.cases.is_empty();
        let (verdict, exit) = match doubtful {
            true => (Verdict::CannotJudge, Exit::CannotJudge),
            false => (Verdict::Conforms, Exit::Conforms),
        };
        let diverges = diverging > 0 || !facts.image_findings.is_empty();
        self.verdict = if diverges { Verdict::Diverges } else { verdict };
        let exit = if news || diverging > known { Exit::Diverges } else { exit };
        self.exit_code = exit as u8;
    }

    /// Findings of the image itself and of its cases, each with the number of the case.
    pub fn findings(&self) -> impl Iterator<Item = (Option<usize>, &Found)> {
        let own = self.facts.iter().flat_map(|facts| &facts.image_findings);
        let own = own.map(|found| (None, found));
        own.chain(self.cases.iter().flat_map(|case| {
            case.judgement.findings.iter().map(|found| (Some(case.number), found))
        }))
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}
