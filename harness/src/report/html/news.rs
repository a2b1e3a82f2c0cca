// SPDX-License-Identifier: GPL-2.0-only
//! What a reader has to act on: new findings, regression cases that are not as expected, known issues, and what cannot be
//! judged.

use maud::{Markup, html};

use super::text::shown;
use crate::history::Past;
use crate::oracle::{Finding, Rule};
use crate::record::{
    CaseRecord, Expected, Found, ImageRecord, KnownState, RegressionRecord, Report, Standing, State,
};
use crate::report::again;
use crate::report::plain::count;

/// More new findings are only counted; each image's own section has them.
const MOST_NEWS: usize = 150;

/// One rule that an image breaks in a way that is not known.
struct News<'a> {
    /// The image's place in the report.
    index: usize,
    image: &'a ImageRecord,
    rule: Rule,
    finding: &'a Finding,
    /// The first case that shows it; none: only the image as a whole does.
    case: Option<&'a CaseRecord>,
    cases: usize,
}

/// All of it, empty parts left out.
pub fn news(report: &Report, past: &Past) -> Markup {
    let news = collect(report);
    let off: Vec<&RegressionRecord> =
        report.regressions.iter().filter(|one| one.standing != Standing::AsExpected).collect();
    html! {
        section #news {
            h2 { "New" }
            @if news.is_empty() { p { "No new findings." } }
            @for one in news.iter().take(MOST_NEWS) { (shown_news(report.seed, one, past)) }
            @if let Some(more) = news.len().checked_sub(MOST_NEWS).filter(|more| *more > 0) {
                p { "And " (count(more, "more finding")) ", see the matrix." }
            }
        }
        @if !report.regressions.is_empty() { (regressions(report, &off)) }
        @if !report.known_issues.is_empty() { (known(report)) }
        (doubts(report))
    }
}

fn collect(report: &Report) -> Vec<News<'_>> {
    let images = report.images.iter().enumerate();
    images
        .flat_map(|(index, image)| {
            Rule::ALL.into_iter().filter_map(move |rule| of(index, image, rule))
        })
        .collect()
}

fn of(index: usize, image: &ImageRecord, rule: Rule) -> Option<News<'_>> {
    let is_news = |found: &&Found| found.known.is_none() && found.finding.rule == rule;
    let in_case = |case: &&CaseRecord| case.judgement.findings.iter().any(|found| is_news(&found));
    let case = image.cases.iter().find(in_case);
    let own = image.facts.iter().flat_map(|facts| &facts.image_findings);
    let shown = case.into_iter().flat_map(|case| &case.judgement.findings);
    let finding = &shown.chain(own).find(is_news)?.finding;
    let cases = image.cases.iter().filter(in_case).count();
    Some(News { index, image, rule, finding, case, cases })
}

fn shown_news(seed: u64, news: &News, past: &Past) -> Markup {
    let News { index, image, rule, finding, case, cases } = news;
    let title = image.title();
    let since = past.failing.iter().find(|one| one.image == title && one.rule == *rule);
    html! {
        article.news data-image=(index) data-rule=(rule) data-cases=(cases) {
            h3 {
                span.sign { "✗ " }
                a href=(format!("#image-{index}")) { (shown(&title)) }
                ": " (rule)
            }
            (finding_list(finding))
            p.meta {
                @match case {
                    None => "in the image as a whole",
                    Some(case) => {
                        "in " (cases) " of " (count(image.cases.len(), "case")) ", first in case " (case.number)
                    }
                }
                @match since.map(|failing| &failing.since) {
                    None => {},
                    // Of the first night there is nothing to say.
                    Some(_) if past.runs.len() == 1 => {}
                    Some(since) if since.runs == 1 => { "; not in the run before" }
                    Some(since) => {
                        "; since " (shown(&since.date)) ", for " (count(since.runs, "run"))
                    }
                }
            }
            pre { code { (again::rule(seed, image, *rule, *case)) } }
        }
    }
}

/// Place, expected and actual, one below the other.
fn finding_list(finding: &Finding) -> Markup {
    html! {
        dl.finding {
            dt { "place" }
            dd {
                (shown(&finding.place))
                @if let Some(address) = finding.address { " at " code { (format!("{address:#x}")) } }
                @if finding.ranges > 1 || finding.bytes > 0 {
                    " (" (finding.ranges) " ranges, " (finding.bytes) " bytes)"
                }
            }
            dt { "expected" }
            dd { (shown(&finding.expected)) }
            dt { "found" }
            dd { (shown(&finding.actual)) }
        }
    }
}

fn regressions(report: &Report, off: &[&RegressionRecord]) -> Markup {
    let all = report.regressions.len();
    html! {
        section #regressions {
            h2 { "Regression cases" }
            p data-regressions=(all) data-unexpected=(off.len()) {
                (all - off.len()) " of " (count(all, "case")) " as expected."
            }
            @for one in off {
                article.news {
                    h3 { span.sign { "✗ " } (shown(&one.case)) " on " (shown(&one.image)) }
                    p { (expectation(one)) }
                    @if let Some(error) = &one.error { p { (shown(error)) } }
                    @for found in one.judgement.iter().flat_map(|judged| &judged.findings).take(2) {
                        (finding_list(&found.finding))
                    }
                    @for why in one.judgement.iter().flat_map(|judged| &judged.not_judged).take(2) {
                        p { (shown(why)) }
                    }
                    pre { code { (again::regression(one)) } }
                }
            }
        }
    }
}

fn expectation(one: &RegressionRecord) -> String {
    let expected = match one.expected {
        Expected::Shows(rule) => format!("should show its mistake (rule {rule})"),
        Expected::Conforms => "should conform, because the image has the fix".to_owned(),
    };
    let standing = match one.standing {
        Standing::AsExpected => "does so",
        Standing::Regressed => "diverges",
        Standing::NotShown => "does not show it",
        Standing::CannotJudge => "cannot be judged",
    };
    format!("{expected}; {standing}")
}

fn known(report: &Report) -> Markup {
    html! {
        section #known {
            h2 { "Known issues" }
            div.scroll tabindex="0" role="region" aria-label="Known issues" {
                table.plain {
                    thead { tr {
                        th { "issue" } th { "state" } th { "cases" } th { "owner" } th { "expires" }
                        th { "explained in" }
                    } }
                    tbody {
                        @for issue in &report.known_issues {
                            tr data-known-cases=(issue.cases) {
                                td { "◆ " (shown(&issue.id)) }
                                @match issue.state {
                                    KnownState::Active => td { "active" },
                                    KnownState::Expired => td.s-new { "✗ expired" },
                                }
                                td.number { (issue.cases) }
                                td { (shown(&issue.owner)) }
                                td { (shown(&issue.expires)) }
                                td { (shown(&issue.explanation)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Images of which nothing, or not everything, can be said.
fn doubts(report: &Report) -> Markup {
    let images = report.images.iter().enumerate();
    let doubtful: Vec<(usize, &ImageRecord)> =
        images.filter(|(_, image)| image.state() == State::CannotJudge).collect();
    html! {
        @if !doubtful.is_empty() {
            section #doubts {
                h2 { "Cannot be judged" }
                ul {
                    @for (index, image) in doubtful {
                        li { a href=(format!("#image-{index}")) { (shown(&image.title())) } ": " (reason(image)) }
                    }
                }
            }
        }
    }
}

/// Why not everything can be said of `image`.
pub fn reason(image: &ImageRecord) -> String {
    let mut parts: Vec<String> = image.error.iter().map(|error| shown(error)).collect();
    let reasons = image.cases.iter().flat_map(|case| &case.judgement.not_judged);
    if let Some(first) = reasons.into_iter().next() {
        let cases = count(image.summary.not_judged, "case");
        parts.push(format!("{cases} not judged: {}", shown(first)));
    }
    if image.not_run > 0 {
        parts.push(format!("{} not run, time was used up", count(image.not_run, "case")));
    }
    if parts.is_empty() {
        parts.push("no case was run".to_owned());
    }
    parts.join("; ")
}
