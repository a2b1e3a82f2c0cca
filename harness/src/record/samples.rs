// SPDX-License-Identifier: GPL-2.0-only
//! Reports for tests, made by hand.

use super::*;
use crate::case::{Case, Loader, MemoryEntry, Protocol, SetupData, SetupDataKind, Span};
use crate::oracle::{Finding, Rule};

/// A finding with an address and bytes.
fn finding(rule: Rule, place: &str) -> Finding {
    let actual = "page fault at 0x5f950d1d00020000 that nobody handles";
    Finding {
        address: Some(0x5f95_0d1d_0002_0000),
        ranges: 2,
        bytes: 16,
        ..Finding::new(rule, place, "the jump into the kernel", actual)
    }
}

/// A finding, and the known issue it belongs to.
pub fn found(rule: Rule, place: &str, known: Option<&str>) -> Found {
    Found { finding: finding(rule, place), known: known.map(str::to_owned) }
}

/// A finding that is not known, somewhere.
pub fn new(rule: Rule) -> Found {
    found(rule, "segment 0 (r-x)", None)
}

/// The same, as a known issue.
pub fn known(rule: Rule) -> Found {
    found(rule, "segment 0 (r-x)", Some("old-mistake"))
}

/// An initrd and setup_data on a PC of 8 GiB.
pub fn machine() -> Case {
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

/// A case with these findings.
pub fn case(number: usize, findings: Vec<Found>, not_judged: Vec<String>) -> CaseRecord {
    let verdict = match (findings.is_empty(), not_judged.is_empty()) {
        (false, _) => Verdict::Diverges,
        (true, false) => Verdict::CannotJudge,
        (true, true) => Verdict::Conforms,
    };
    let conforms = verdict == Verdict::Conforms;
    let even = number.is_multiple_of(2);
    CaseRecord {
        number,
        protocol: if even { Protocol::Bits32 } else { Protocol::Bits64 },
        load: 0x100_0000 + ((number as u64) << 21),
        kaslr: even,
        loader: if number == 3 { Loader::Kdump } else { Loader::Any },
        judgement: JudgementRecord {
            verdict,
            output: conforms.then_some(0x200_0000),
            virt: conforms.then_some(0x100_0000),
            fields_relocated: if conforms { 1234 } else { 0 },
            refused: false,
            findings,
            not_judged,
            not_predicted: (number == 0).then(|| "no RDRAND".into()),
        },
        case: (!conforms).then(Case::default),
        file: (!conforms).then(|| format!("reports/cases/{number:012}-case.toml")),
        duration_ms: 1000 + number as u64,
    }
}

/// Case `number`, which conforms.
pub fn conforming(number: usize) -> CaseRecord {
    case(number, Vec::new(), Vec::new())
}

/// Case `number` with these findings, on a [`machine`] with everything, and without a case file.
pub fn diverging(number: usize, findings: Vec<Found>) -> CaseRecord {
    CaseRecord { case: Some(machine()), file: None, ..case(number, findings, Vec::new()) }
}

/// What a kernel is.
pub fn facts(image_findings: Vec<Found>) -> Facts {
    Facts {
        sha256: "3d616aa853fe11b1c0ea99a1cdb4fb6ddc9010ba7c4562de700ad94264989654".into(),
        release: Some("6.1.0-50-cloud-amd64".into()),
        word_bits: 64,
        compression: "lz4".into(),
        protocols: vec![Protocol::Bits32, Protocol::Bits64],
        table_entries: 202_532,
        loaded_size: 0x80_0000,
        init_size: 0x340_0000,
        kernel_size: 0x300_0000,
        image_findings,
        kaslr_not_predicted: None,
        entries_equal_to_vmlinux: None,
        not_compared_with_vmlinux: None,
    }
}

/// An image with these cases.
pub fn image(
    number: usize,
    name: &str,
    image_findings: Vec<Found>,
    cases: Vec<CaseRecord>,
) -> ImageRecord {
    let path = format!("kernels/{name}");
    let facts = Some(facts(image_findings));
    let mut image = ImageRecord { facts, cases, ..ImageRecord::new(number, name.to_owned(), path) };
    image.conclude();
    image
}

/// An image with these cases, in which nothing else is wrong.
pub fn image_of(name: &str, cases: Vec<CaseRecord>) -> ImageRecord {
    image(0, name, Vec::new(), cases)
}

/// An image of which all of so many cases conform.
pub fn conforming_image(name: &str, cases: usize) -> ImageRecord {
    image_of(name, (0..cases).map(conforming).collect())
}

/// A case file that was run again.
pub fn regression(number: usize, expected: Expected, findings: Vec<Found>) -> RegressionRecord {
    let judgement = case(number, findings, Vec::new()).judgement;
    RegressionRecord {
        number,
        case: format!("corpus/cases/case-{number}.toml"),
        image: "debian-cloud".into(),
        expected,
        standing: RegressionRecord::standing(expected, &judgement),
        judgement: Some(judgement),
        error: None,
        duration_ms: 900,
    }
}

/// A known issue.
pub fn issue(id: &str, state: KnownState, cases: usize) -> KnownIssueRecord {
    KnownIssueRecord {
        id: id.into(),
        owner: "someone@example.org".into(),
        expires: "2027-01-31".into(),
        explanation: "corpus/cases/README.md".into(),
        state,
        cases,
    }
}

/// A campaign's report on these images.
pub fn report(images: Vec<ImageRecord>) -> Report {
    let campaign = Campaign {
        name: "nightly".into(),
        plan: "00ff".repeat(16),
        date: "2026-11-23".into(),
        partition: None,
    };
    let issue = issue("old-mistake", KnownState::Active, 1);
    Report::new(Some(campaign), 7, Vec::new(), images, vec![issue])
}

/// A campaign's report with everything that can be in one.
pub fn everything() -> Report {
    let fault = || found(Rule::Fault, "stub+0x7bd197", None);
    let chatty = || found(Rule::Ports, "port 0x3f8", Some("chatty"));
    let mut worst = image(
        0,
        "debian-cloud",
        vec![found(Rule::Table, "32-bit group, entry 0x81001d88", Some("old-table"))],
        vec![
            conforming(0),
            case(1, vec![fault(), chatty()], vec![]),
            case(2, vec![fault()], vec![]),
            case(3, vec![chatty()], vec![]),
            case(4, vec![], vec!["the stub stopped without a console".into()]),
        ],
    );
    worst.selection = Selection { protocol: Some(Protocol::Bits64), loaders: vec![Loader::Kdump] };
    worst.not_run = 3;
    worst.shrunk = Some(Shrunk {
        case: Case::default(),
        findings: vec![fault()],
        file: Some("reports/cases/3d616aa853fe-fault.toml".into()),
    });
    worst.conclude();
    let known = image(1, "debian-amd64", vec![], vec![case(0, vec![chatty()], vec![])]);
    let good = image(2, "debian-cloud-newest", vec![], vec![conforming(0)]);
    let (name, path) = ("gone".to_owned(), "kernels/gone".to_owned());
    let gone =
        ImageRecord::unusable(3, name, path, "No such file or directory".into(), Exit::Usage);
    let (name, path) = ("i386-old".to_owned(), "kernels/i386-old".to_owned());
    let why = "relocatable_kernel is 0: expected 1".into();
    let old = ImageRecord::unusable(4, name, path, why, Exit::CannotJudge);
    let unrun = RegressionRecord {
        standing: Standing::CannotJudge,
        judgement: None,
        error: Some("the image is not cached".into()),
        ..regression(3, Expected::Conforms, vec![])
    };
    let campaign = Campaign {
        name: "everything".into(),
        plan: "ab".repeat(32),
        date: "2026-11-23".into(),
        partition: Some(Partition { parts: vec![1, 3], of: 4 }),
    };
    Report::new(
        Some(campaign),
        7,
        vec![
            regression(0, Expected::Shows(Rule::Fault), vec![fault()]),
            regression(1, Expected::Conforms, vec![fault()]),
            regression(2, Expected::Shows(Rule::Memory), vec![]),
            unrun,
        ],
        vec![worst, known, good, gone, old],
        vec![issue("chatty", KnownState::Active, 3), issue("stale", KnownState::Expired, 0)],
    )
}

/// A plain check of one image that conforms.
pub fn plain() -> Report {
    Report::new(None, 1, Vec::new(), vec![conforming_image("bzImage", 2)], Vec::new())
}
