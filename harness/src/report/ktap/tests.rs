// SPDX-License-Identifier: GPL-2.0-only

use proptest::prelude::*;

use super::parser::parse;
use super::*;
use crate::record::samples;

#[test]
fn everything_is_as_the_kernel_wants_it() {
    let tests = parse(&ktap(&samples::everything())).unwrap();
    let outcomes = tests.iter().map(|test| {
        let subtests: Vec<&str> = test.subtests.iter().map(|test| test.outcome()).collect();
        (test.outcome(), subtests.join(", "))
    });
    let expected = [
        ("not ok", "ok, not ok, SKIP, SKIP"),
        ("not ok", "XFAIL, ok, not ok, not ok, XFAIL, SKIP, SKIP"),
        ("ok", "ok, XFAIL"),
        ("ok", "ok, ok"),
        ("ERROR", ""),
        ("SKIP", ""),
    ];
    assert_eq!(outcomes.collect::<Vec<_>>(), expected.map(|(test, subs)| (test, subs.to_owned())));
    let image = &tests[1];
    assert_eq!(image.name, "debian-cloud (64-bit, kdump)");
    assert_eq!((&tests[4].name[..], &tests[4].reason[..]), ("gone", "No such file or directory"));
    let case = &image.subtests[2];
    assert_eq!(case.name, "case 1");
    assert!(case.diagnostics[1].starts_with("case 1: fault: stub+0x7bd197"), "{case:?}");
    assert!(case.diagnostics[3].ends_with("relocheck replay reports/cases/000000000001-case.toml"));
    assert!(image.subtests[4].reason.starts_with("known issue chatty: ports: port 0x3f8"));
}

#[test]
fn two_runs_give_the_same_bytes() {
    let mut other = samples::everything();
    other.images[0].cases[0].duration_ms += 77;
    assert_eq!(ktap(&other), ktap(&samples::everything()));
}

#[test]
fn the_parser_refuses_what_is_no_ktap() {
    let good = ktap(&samples::plain());
    for (from, to) in [
        ("KTAP version 1\n1", "1"),
        ("1..1\n", ""),
        ("1..3", "1..4"),
        ("  1..3", "  1..2"),
        ("  ok 2", "  ok 3"),
        ("  ok 2", "    ok 2"),
        ("  ok 2", "  not ok 2"),
        ("  ok 2 case", "  ok 2 # MAYBE case"),
        ("  ok 2 case 0", "  ok 2"),
        ("\nok 1 bzImage", ""),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(parse(&good.replacen(from, to, 1)).is_err(), "{to}");
    }
}

proptest! {
    #[test]
    fn whatever_the_names_are(name in "([-# \n\u{1b}]|\\PC)*", place in any::<String>()) {
        let mut report = samples::everything();
        report.images[0].name = name.clone();
        report.images[3].name = name;
        report.images[3].error = Some(place.clone());
        report.images[0].cases[1].judgement.findings[0].finding.place = place;
        let tests = parse(&ktap(&report)).unwrap();
        prop_assert_eq!(tests.len(), 6);
        prop_assert_eq!(tests[1].subtests.len(), 7);
    }
}
