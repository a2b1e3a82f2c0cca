// SPDX-License-Identifier: GPL-2.0-only
//! What must be said of a damaged kernel.

use relocheck::oracle::{Judgement, Rule};

/// One line per finding.
pub fn said(judgement: &Judgement) -> String {
    let findings = judgement.findings.iter().map(|finding| format!("\n  {finding}"));
    let doubts = judgement.not_judged.iter().map(|why| format!("\n  not judged: {why}"));
    findings.chain(doubts).collect()
}

/// What a finding must say: its rule, and what place, expected and actual contain.
pub type Says<'a> = (Rule, &'a str, &'a str, &'a str);

/// Exactly these findings are there, in this order, and nothing was left unjudged.
pub fn assert_says(judgement: &Judgement, wanted: &[Says]) {
    let fits = judgement.findings.len() == wanted.len()
        && judgement.not_judged.is_empty()
        && judgement.findings.iter().zip(wanted).all(
            |(finding, (rule, place, expected, actual))| {
                finding.rule == *rule
                    && finding.place.contains(place)
                    && finding.expected.contains(expected)
                    && finding.actual.contains(actual)
            },
        );
    assert!(fits, "wanted {wanted:#?}, but it was said:{}", said(judgement));
}

/// Only `rule` is broken, first of all at a place that contains `place`.
pub fn assert_only(judgement: &Judgement, rule: Rule, place: &str) {
    let fits = judgement.findings.first().is_some_and(|finding| finding.place.contains(place))
        && judgement.findings.iter().all(|finding| finding.rule == rule)
        && judgement.not_judged.is_empty();
    assert!(fits, "wanted {rule} at {place} alone, but it was said:{}", said(judgement));
}

/// An address as findings show it.
pub fn hex(address: u64) -> String {
    format!("{address:#x}")
}
