// SPDX-License-Identifier: GPL-2.0-only

use super::super::{ImageRecord, samples};
use super::*;
use crate::exit::Exit;

fn changed(change: impl Fn(&mut Report)) -> Diff {
    let a = samples::everything();
    let mut b = a.clone();
    change(&mut b);
    b.images.iter_mut().for_each(ImageRecord::conclude);
    Diff::new(&a, &b)
}

fn rules(entries: &[Entry]) -> Vec<Rule> {
    entries.iter().map(|entry| entry.key.rule).collect()
}

#[test]
fn a_report_does_not_differ_from_itself_or_in_durations_and_addresses() {
    assert!(changed(|_| ()).is_empty());
    let diff = changed(|report| {
        for case in report.images.iter_mut().flat_map(|image| &mut image.cases) {
            case.duration_ms += 5;
            for found in &mut case.judgement.findings {
                found.finding.place = found.finding.place.replace("0x7bd197", "0x7bd2aa");
                found.finding.address = Some(1);
                found.finding.actual = "page fault at 0x77 that nobody handles".into();
            }
        }
    });
    assert!(diff.is_empty(), "{diff:#?}");
}

#[test]
fn a_finding_in_another_place_is_new() {
    let diff = changed(|report| {
        let extra = samples::found(Rule::Memory, "segment 0 (r-x) 0x1", None);
        report.images[2].cases[0] = samples::case(0, vec![extra], vec![]);
    });
    assert_eq!((rules(&diff.new), diff.news()), (vec![Rule::Memory], 1));
    assert_eq!(diff.new[0].key.place, "segment 0 (r-x) *");
    let image = &diff.images[0];
    assert_eq!(
        (&image.name.image[..], image.was, image.is),
        ("debian-cloud-newest", "conforms", "new")
    );
    assert!(diff.fixed.is_empty() && diff.changed.is_empty());
}

#[test]
fn what_belongs_to_a_known_issue_is_new_and_no_news() {
    let diff = changed(|report| {
        let extra = samples::found(Rule::Memory, "kernel", Some("old"));
        report.images[2].cases[0] = samples::case(0, vec![extra], vec![]);
    });
    assert_eq!((diff.new.len(), diff.news()), (1, 0));
}

#[test]
fn fixed_is_only_what_would_have_been_seen() {
    let cure = |report: &mut Report| report.images[1].cases[0] = samples::conforming(0);
    let diff = changed(cure);
    assert_eq!((rules(&diff.fixed), diff.unseen.len(), diff.news()), (vec![Rule::Ports], 0, 0));

    let unsure: [fn(&mut Report); 3] = [
        |report| report.seed = 8,
        |report| report.images[1].cases.clear(),
        |report| report.images[1].not_run = 1,
    ];
    for doubt in unsure {
        let diff = changed(|report| {
            cure(report);
            doubt(report);
        });
        assert_eq!((diff.fixed.len(), rules(&diff.unseen)), (0, vec![Rule::Ports]));
    }
    let diff = changed(|report| {
        let (name, path) = ("debian-amd64".into(), "x".into());
        report.images[1] = ImageRecord::unusable(1, name, path, "gone".into(), Exit::Usage);
    });
    assert_eq!((diff.fixed.len(), rules(&diff.unseen)), (0, vec![Rule::Ports]));
    assert_eq!((diff.images[0].was, diff.images[0].is), ("known", "cannot-judge"));
}

#[test]
fn an_issue_that_no_longer_excuses_a_finding_is_news() {
    let expire = |report: &mut Report, issue: Option<&str>| {
        report.images[1].cases[0].judgement.findings[0].known = issue.map(str::to_owned);
    };
    let diff = changed(|report| expire(report, None));
    assert_eq!((diff.changed.len(), diff.news()), (1, 1));
    let diff = changed(|report| expire(report, Some("other")));
    assert_eq!((diff.changed.len(), diff.news()), (1, 0));
}

#[test]
fn how_often_a_finding_shows_counts_when_the_same_cases_ran() {
    let cure = |report: &mut Report| report.images[0].cases[2] = samples::conforming(2);
    let diff = changed(cure);
    let change = &diff.changed[0];
    assert_eq!((change.key.rule, change.was.cases, change.is.cases), (Rule::Fault, 2, 1));
    let diff = changed(|report| {
        cure(report);
        report.seed = 8;
    });
    assert!(diff.changed.is_empty());
}

#[test]
fn images_come_and_go_with_their_findings() {
    let diff = changed(|report| report.images[1].name = "renamed".into());
    assert_eq!(diff.new_images[0].image, "renamed");
    assert_eq!(diff.gone_images[0].image, "debian-amd64");
    assert_eq!((rules(&diff.new), diff.fixed.len(), diff.unseen.len()), (vec![Rule::Ports], 0, 0));
    let diff = changed(|report| report.images[0].selection = Selection::default());
    assert_eq!(diff.gone_images[0].selection, "64-bit, kdump");
}

#[test]
fn a_regression_that_is_back_is_news() {
    let back = |report: &mut Report| {
        let found = vec![samples::found(Rule::Kaslr, "output", None)];
        report.regressions[3] = samples::regression(3, Expected::Conforms, found);
    };
    let diff = changed(back);
    assert_eq!((rules(&diff.new), diff.news()), (vec![Rule::Kaslr], 1));
    assert_eq!(diff.new[0].key.regression.as_deref(), Some("corpus/cases/case-3.toml"));

    let mut a = samples::everything();
    back(&mut a);
    let diff = Diff::new(&a, &samples::everything());
    // In B that case could not be run.
    assert_eq!((diff.fixed.len(), rules(&diff.unseen)), (0, vec![Rule::Kaslr]));
}

#[test]
fn a_regression_case_is_listed_when_its_standing_changes() {
    let diff = changed(|report| {
        let expected = report.regressions[0].expected;
        report.regressions[0] = samples::regression(0, expected, vec![]);
        report.regressions[1].duration_ms += 1;
        // Another expectation makes it another case.
        report.regressions[2].expected = Expected::Conforms;
        report.regressions.remove(3);
    });
    let json = serde_json::to_value(&diff).unwrap();
    assert_eq!(
        json["regressions"],
        serde_json::json!([{
            "case": "corpus/cases/case-0.toml",
            "image": "debian-cloud",
            "expected": { "shows": "fault" },
            "was": "as-expected",
            "is": "not-shown",
        }])
    );
    assert_eq!((diff.news(), diff.is_empty()), (0, false));
}
