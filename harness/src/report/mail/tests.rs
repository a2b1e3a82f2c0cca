// SPDX-License-Identifier: GPL-2.0-only

use proptest::prelude::*;
use textwrap::core::display_width;

use super::*;
use crate::record::samples;

#[test]
fn the_news_come_first_and_with_the_command_that_shows_them() {
    let mail = mail(&samples::everything());
    let (subject, body) = mail.split_once("\n\n").unwrap();
    assert_eq!(subject, "[relocheck] everything: 2 new divergences, 1 of 5 images conform");
    let headings: Vec<&str> = body.lines().filter(|line| line.ends_with(':')).collect();
    assert_eq!(headings, ["New divergences:", "Known issues:", "Cannot judge:", "All images:"]);
    for line in [
        "everything: 2 new divergences, 1 of 5 images conform, 2 parts of 4 only, 2 not",
        "  debian-cloud: the mistake of corpus/cases/case-1.toml is back",
        "    relocheck replay corpus/cases/case-1.toml --image \"$(relocheck corpus path\\",
        " debian-cloud)\"",
        "  debian-cloud (64-bit, kdump): 6.1.0-50-cloud-amd64, 64-bit, lz4",
        "      relocheck replay reports/cases/3d616aa853fe-fault.toml",
        "  stale (someone@example.org, EXPIRED on 2027-01-31, corpus/cases/README.md)",
        "    in 3 cases, on debian-cloud (64-bit, kdump), debian-amd64",
        "    not seen",
        "  gone: No such file or directory",
        "  debian-cloud (64-bit, kdump): in 1 case: the stub stopped without a console",
    ] {
        assert!(body.lines().any(|found| found == line), "{line:?} is not in\n{body}");
    }
}

#[test]
fn a_report_without_news_has_no_empty_parts() {
    let mail = mail(&samples::plain());
    assert!(
        mail.starts_with("[relocheck] no new divergence, 1 of 1 image conforms\n\nAll images:\n")
    );
    assert!(!mail.contains("Known") && !mail.contains("Cannot"), "{mail}");
}

proptest! {
    #[test]
    fn no_line_is_longer_than_eighty_columns(
        name in "(\\PC|[\u{0}-\u{1f}]){0,200}",
        long in "[a-z/]{70,120}",
    ) {
        let mut report = samples::everything();
        report.campaign.as_mut().unwrap().name = name.clone();
        report.known_issues[0].explanation = long.clone();
        report.images[0].path = long.clone() + " " + &name;
        report.images[0].facts.as_mut().unwrap().release = Some(long.clone());
        report.images[0].cases[1].judgement.findings[0].finding.place = name.clone();
        report.images[3].error = Some(long.clone());
        report.images[0].shrunk = None;
        report.images[0].cases[1].file = Some(format!("{long}{name}"));
        report.regressions[1].case = long;
        report.images[1].name = name;
        for line in mail(&report).lines() {
            prop_assert!(display_width(line) <= WIDTH, "{line:?}");
            prop_assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
