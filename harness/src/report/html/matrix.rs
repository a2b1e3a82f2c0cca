// SPDX-License-Identifier: GPL-2.0-only
//! All images and all rules at one glance, grouped by kernel series.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use maud::{Markup, html};

use super::text::shown;
use crate::oracle::Rule;
use crate::record::{Found, ImageRecord, Report, State};
use crate::report::plain::count;

/// How an image stands by one rule; numbers are those of the cases that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// No case breaks the rule.
    Ok,
    /// Cases break it, some of them in a way that is not known.
    New { new: usize, known: usize },
    /// Cases break it in known ways.
    Known(usize),
    /// No case breaks it, but so many could not be judged; none: the image could not be.
    NotJudged(usize),
}

/// The matrix in a box of its own, which scrolls where it is wider than the screen.
pub fn matrix(report: &Report) -> Markup {
    html! {
        section #matrix {
            h2 { "Images and rules" }
            p.legend {
                span.c-ok { "✓" } " no case breaks the rule · "
                span.c-new { "✗ n" } ": n cases do, in a way that is not known · "
                span.c-known { "◆ n" } ": only in known ways · "
                span.c-doubt { "? n" } ": n cases, or the image, could not be judged"
            }
            div.scroll.tall tabindex="0" role="region" aria-label="Images and rules" {
                table.matrix {
                    thead { tr {
                        th.image scope="col" { "image" }
                        @for rule in Rule::ALL { th.rule scope="col" { span { (rule) } } }
                        th scope="col" { "verdict" }
                    } }
                    @for (group, images) in groups(report) {
                        tbody {
                            tr { th.group scope="rowgroup" colspan=(Rule::ALL.len() + 2) { span { (group) } } }
                            @for (index, image) in images { (row(index, image)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(index: usize, image: &ImageRecord) -> Markup {
    html! {
        tr data-image=(index) {
            th.image scope="row" { a href=(format!("#image-{index}")) { (shown(&image.title())) } }
            @for rule in Rule::ALL { (cell(judged(image, rule))) }
            @let state = image.state();
            td class=(state_class(state)) data-state=(state.name()) { (state_sign(state)) " " (state) }
        }
    }
}

fn cell(cell: Cell) -> Markup {
    html! {
        @match cell {
            Cell::Ok => td.c-ok { "✓" },
            Cell::New { new, known: 0 } => td.c-new { "✗ " (new) },
            Cell::New { new, known } => td.c-new title=(format!("and {known} known")) { "✗ " (new) },
            Cell::Known(known) => td.c-known { "◆ " (known) },
            Cell::NotJudged(0) => td.c-doubt { "?" },
            Cell::NotJudged(cases) => td.c-doubt { "? " (cases) },
        }
    }
}

fn judged(image: &ImageRecord, rule: Rule) -> Cell {
    let breaks =
        |found: &Found, known: bool| found.finding.rule == rule && found.known.is_some() == known;
    let count = |known: bool| {
        let cases = image
            .cases
            .iter()
            .filter(|case| case.judgement.findings.iter().any(|found| breaks(found, known)))
            .count();
        let own = image.facts.iter().flat_map(|facts| &facts.image_findings);
        // What only the image as a whole shows is shown once.
        cases.max(usize::from(own.into_iter().any(|found| breaks(found, known))))
    };
    match (count(false), count(true)) {
        (0, 0) if image.facts.is_none() || image.cases.is_empty() => Cell::NotJudged(0),
        (0, 0) => match image.summary.not_judged.saturating_add(image.not_run) {
            0 => Cell::Ok,
            cases => Cell::NotJudged(cases),
        },
        (0, known) => Cell::Known(known),
        (new, known) => Cell::New { new, known },
    }
}

/// The images of one group with their places in the report.
type Group<'a> = Vec<(usize, &'a ImageRecord)>;

/// Images by series, the newest first, and word size; those that are no kernels come last.
fn groups(report: &Report) -> Vec<(String, Group<'_>)> {
    let mut groups: BTreeMap<_, (String, Group)> = BTreeMap::new();
    for (index, image) in report.images.iter().enumerate() {
        let (key, name) = group(image);
        groups.entry(Reverse(key)).or_insert((name, Vec::new())).1.push((index, image));
    }
    groups
        .into_values()
        .map(|(name, images)| (format!("{name} · {}", count(images.len(), "image")), images))
        .collect()
}

/// What orders an image's group, and what it is called.
fn group(image: &ImageRecord) -> (Option<([u32; 2], u32)>, String) {
    let Some(facts) = &image.facts else { return (None, "not readable".to_owned()) };
    let bits = facts.word_bits;
    match facts.release.as_deref().and_then(series) {
        Some([major, minor]) => {
            (Some(([major, minor], bits)), format!("Linux {major}.{minor} · {bits}-bit"))
        }
        None => (Some(([0, 0], bits)), format!("Linux of no known release · {bits}-bit")),
    }
}

/// The first two numbers of a release such as 6.1.0-50-amd64.
fn series(release: &str) -> Option<[u32; 2]> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some([numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?])
}

/// The class of a state in the style sheet.
pub fn state_class(state: State) -> &'static str {
    match state {
        State::New => "s-new",
        State::Known => "s-known",
        State::CannotJudge => "s-doubt",
        State::Conforms => "s-ok",
    }
}

/// A state as one character.
pub fn state_sign(state: State) -> &'static str {
    match state {
        State::New => "✗",
        State::Known => "◆",
        State::CannotJudge => "?",
        State::Conforms => "✓",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples::{conforming_image, known, new, report};

    #[test]
    fn a_cell_counts_the_cases_that_show_a_rule() {
        let mut record = conforming_image("a", 4);
        assert_eq!(judged(&record, Rule::Memory), Cell::Ok);
        record.cases[1].judgement.findings = vec![new(Rule::Memory), new(Rule::Memory)];
        record.cases[2].judgement.findings = vec![known(Rule::Memory), known(Rule::Fault)];
        assert_eq!(judged(&record, Rule::Memory), Cell::New { new: 1, known: 1 });
        assert_eq!(judged(&record, Rule::Fault), Cell::Known(1));
        record.summary.not_judged = 1;
        record.not_run = 2;
        assert_eq!(judged(&record, Rule::Halt), Cell::NotJudged(3));
        record.facts.as_mut().unwrap().image_findings = vec![new(Rule::Loader)];
        assert_eq!(judged(&record, Rule::Loader), Cell::New { new: 1, known: 0 });
        record.cases.clear();
        record.facts = None;
        assert_eq!(judged(&record, Rule::Memory), Cell::NotJudged(0));
    }

    #[test]
    fn the_newest_series_comes_first_and_what_is_no_kernel_last() {
        let releases = [None, Some("6.1.0-50-amd64"), Some("6.12.9"), Some("5.10.1"), Some("odd")];
        let mut images: Vec<ImageRecord> = releases
            .iter()
            .map(|release| {
                let mut record = conforming_image("x", 1);
                record.facts.as_mut().unwrap().release = release.map(str::to_owned);
                record
            })
            .collect();
        images[1].facts.as_mut().unwrap().word_bits = 32;
        images.push(ImageRecord::new(5, "none".into(), "none".into()));
        let report = report(images);
        let names: Vec<String> = groups(&report).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "Linux 6.12 · 64-bit · 1 image",
                "Linux 6.1 · 32-bit · 1 image",
                "Linux 5.10 · 64-bit · 1 image",
                "Linux of no known release · 64-bit · 2 images",
                "not readable · 1 image",
            ]
        );
    }
}
