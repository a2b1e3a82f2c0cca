// SPDX-License-Identifier: GPL-2.0-only
//! Made-up reports for tests.

use super::{
    Campaign, CaseRecord, Facts, Found, ImageRecord, JudgementRecord, KnownIssueRecord, KnownState,
    Report,
};
use crate::case::{Case, Loader, MemoryEntry, Protocol, SetupData, SetupDataKind, Span};
use crate::oracle::{Finding, Rule, Verdict};

/// Something that is wrong at 16 MiB and one page.
pub fn finding(rule: Rule) -> Found {
    let finding = Finding::new(rule, "segment 0 (r-x)", "e1 5a", "21 a3");
    Found { finding: Finding { address: Some(0x100_1000), ..finding }, known: None }
}

/// The same, as a known issue.
pub fn known(rule: Rule) -> Found {
    Found { known: Some("old-mistake".into()), ..finding(rule) }
}

/// A case with an initrd and setup_data on a PC of 8 GiB.
pub fn case() -> Case {
    let node = |address| SetupData {
        address,
        kind: SetupDataKind::RngSeed,
        len: 32,
        points_to: Vec::new(),
    };
    let mut case = Case {
        initrd: Some(Span { start: 0x3000_0000, end: 0x3400_0000 }),
        setup_data: vec![node(0x9_0000), node(0x9_1000)],
        ..Case::default()
    };
    case.memory.push(MemoryEntry::usable(1 << 32, 7 << 30));
    case
}

/// Case `number`, which conforms.
pub fn conforming(number: usize) -> CaseRecord {
    CaseRecord {
        number,
        protocol: Protocol::Bits32,
        load: 0x100_0000,
        kaslr: number % 2 == 1,
        loader: Loader::Any,
        judgement: JudgementRecord {
            verdict: Verdict::Conforms,
            output: Some(0x100_0000),
            virt: Some(0x100_0000),
            fields_relocated: 202_532,
            refused: false,
            findings: Vec::new(),
            not_judged: Vec::new(),
            not_predicted: None,
        },
        case: None,
        file: None,
        duration_ms: 1234,
    }
}

/// Case `number`, in which these findings were made.
pub fn diverging(number: usize, findings: Vec<Found>) -> CaseRecord {
    let mut record = CaseRecord { case: Some(case()), ..conforming(number) };
    record.judgement.verdict = Verdict::Diverges;
    record.judgement.findings = findings;
    record
}

/// An image of which all of so many cases conform.
pub fn image(name: &str, cases: usize) -> ImageRecord {
    let facts = Facts {
        sha256: "3d616aa853fe11b1c0ea99a1cdb4fb6ddc9010ba7c4562de700ad94264989654".into(),
        release: Some("6.1.0-50-amd64".into()),
        word_bits: 64,
        compression: "xz".into(),
        protocols: vec![Protocol::Bits32, Protocol::Bits64],
        table_entries: 202_532,
        loaded_size: 0x80_0000,
        init_size: 0x340_0000,
        kernel_size: 0x300_0000,
        image_findings: Vec::new(),
        kaslr_not_predicted: None,
    };
    let path = format!("images/{name}");
    let mut image = ImageRecord {
        facts: Some(facts),
        cases: (0..cases).map(conforming).collect(),
        ..ImageRecord::new(0, name.to_owned(), path)
    };
    image.conclude();
    image
}

/// An image with these cases.
pub fn image_of(name: &str, cases: Vec<CaseRecord>) -> ImageRecord {
    let mut image = ImageRecord { cases, ..image(name, 0) };
    image.conclude();
    image
}

/// The report of a campaign on a day of its own.
pub fn report(images: Vec<ImageRecord>) -> Report {
    let campaign = Campaign {
        name: "nightly".into(),
        plan: "00ff".repeat(16),
        date: "2026-11-23".into(),
        partition: None,
    };
    let issue = KnownIssueRecord {
        id: "old-mistake".into(),
        owner: "a maintainer".into(),
        expires: "2027-01-01".into(),
        explanation: "corpus/cases/README.md".into(),
        state: KnownState::Active,
        cases: 1,
    };
    Report::new(Some(campaign), 7, Vec::new(), images, vec![issue])
}
