// SPDX-License-Identifier: GPL-2.0-only

use proptest::prelude::*;

use super::schema::{Element, is_xml, validate};
use super::*;
use crate::record::samples;

fn counted(suite: &Element, kind: &str) -> String {
    suite.all("testcase").filter(|case| case.all(kind).next().is_some()).count().to_string()
}

#[test]
fn everything_is_as_jenkins_wants_it() {
    let root = validate(&junit(&samples::everything())).unwrap();
    assert_eq!((root.get("name"), root.get("tests")), ("everything", "17"));
    assert_eq!((root.get("failures"), root.get("errors")), ("3", "1"));
    for suite in root.all("testsuite") {
        assert_eq!(suite.get("tests"), suite.all("testcase").count().to_string());
        for (attribute, kind) in
            [("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
        {
            assert_eq!(suite.get(attribute), counted(suite, kind), "{}", suite.get("name"));
        }
    }
    let suite = root.all("testsuite").nth(1).unwrap();
    assert_eq!((suite.get("name"), suite.get("time")), ("debian-cloud (64-bit, kdump)", "5.010"));
    let case = suite.all("testcase").nth(2).unwrap();
    let (class, name) = (case.get("classname"), case.get("name"));
    assert_eq!((class, name, case.get("time")), (suite.get("name"), "case 1", "1.001"));
    let failure = case.all("failure").next().unwrap();
    assert_eq!(failure.get("type"), "diverges");
    assert!(failure.get("message").starts_with("fault: stub+0x7bd197 at 0x5f95"));
    assert!(failure.text.ends_with("relocheck replay reports/cases/000000000001-case.toml"));
}

#[test]
fn known_issues_and_doubts_are_skipped_and_say_why() {
    let root = validate(&junit(&samples::everything())).unwrap();
    let skipped: Vec<(&str, &str)> = root
        .all("testsuite")
        .flat_map(|suite| suite.all("testcase"))
        .flat_map(|case| case.all("skipped"))
        .map(|skipped| (skipped.get("type"), skipped.get("message")))
        .collect();
    let kinds: Vec<&str> = skipped.iter().map(|(kind, _)| *kind).collect();
    let (doubt, known) = ("cannot-judge", "known-issue");
    assert_eq!(kinds, [doubt, doubt, known, known, doubt, doubt, known, doubt]);
    assert!(skipped[2].1.starts_with("known issue old-table: table: 32-bit group"));
    assert_eq!(skipped[4].1, "the stub stopped without a console");
    assert_eq!(skipped[5].1, "3 cases: the time for this image was used up");
    assert!(skipped.iter().all(|(_, message)| !message.is_empty()));
}

#[test]
fn only_durations_differ_between_two_runs() {
    let mut other = samples::everything();
    for case in other.images.iter_mut().flat_map(|image| &mut image.cases) {
        case.duration_ms += 77;
    }
    let timeless = |report: &Report| {
        let lines = junit(report);
        let cut = |line: &str| line.split(" time=").next().map(str::to_owned);
        lines.lines().filter_map(cut).collect::<Vec<_>>()
    };
    assert_ne!(junit(&other), junit(&samples::everything()));
    assert_eq!(timeless(&other), timeless(&samples::everything()));
}

#[test]
fn the_rules_refuse_what_the_schema_refuses() {
    let good = junit(&samples::everything());
    for (from, to) in [
        ("<testsuites name", "<testsuites skipped=\"1\" name"),
        ("<testcase name=\"image\"", "<testcase label=\"image\""),
        ("tests=\"17\"", "tests=\"many\""),
        ("time=\"1.001\"", "time=\"1 s\""),
        ("<properties>", "<property name=\"a\" value=\"b\"/><properties>"),
        ("<failure ", "<failure count=\"1\" "),
        ("</testsuites>", "</testsuites><testsuites/>"),
        ("</testsuites>", "text</testsuites>"),
        ("case 1\"", "case \u{1}\""),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(validate(&good.replacen(from, to, 1)).is_err(), "{to}");
    }
}

proptest! {
    #[test]
    fn whatever_the_names_are(
        name in any::<String>(),
        place in "(\\PC|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{fffe}\u{ffff}<>&\"'])*",
    ) {
        let mut report = samples::everything();
        report.campaign.as_mut().unwrap().name = name.clone();
        report.images[0].name = name + " skipped=\"5\" >";
        report.images[0].cases[1].judgement.findings[0].finding.place = place.clone();
        let root = validate(&junit(&report)).unwrap();
        let case = root.all("testsuite").nth(1).unwrap().all("testcase").nth(2).unwrap();
        let shown: String = case.all("failure").next().unwrap().get("message").into();
        let kept: String = place.chars().filter(|c| is_xml(*c) && !c.is_control()).collect();
        let visible = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert!(visible(&shown).contains(&visible(&kept)), "{shown:?} {kept:?}");
    }
}
