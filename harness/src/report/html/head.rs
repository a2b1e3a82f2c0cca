// SPDX-License-Identifier: GPL-2.0-only
//! The first thing that a reader sees: which campaign, how it went, and on how much that rests.

use maud::{Markup, html};

use super::text::shown;
use crate::oracle::Verdict;
use crate::record::{Report, Totals};
use crate::report::plain::count;

/// Title, verdict and counts.
pub fn head(report: &Report) -> Markup {
    let totals = report.totals();
    let tiles = [
        ("conforming", "images conform", totals.conforming, "s-ok"),
        ("new", "diverge, new", totals.new, "s-new"),
        ("known", "diverge, known", totals.known, "s-known"),
        ("not-judged", "cannot be judged", totals.not_judged, "s-doubt"),
        ("cases", "cases run", totals.cases, ""),
        ("fields", "fields verified", totals.fields, ""),
    ];
    html! {
        header {
            h1 { (title(report)) }
            p.meta { (origin(report)) }
            p class={ "verdict " (tone(report)) } { (verdict(report)) }
            dl.tiles {
                @for (key, name, count, class) in tiles {
                    div class=(class) {
                        dt { (name) }
                        dd data-count=(key) data-value=(count) { (grouped(count)) }
                    }
                }
            }
            @if totals.not_run > 0 {
                p { (count(totals.not_run, "case")) " not run, because the time for an image was used up." }
            }
        }
    }
}

/// What the report is called.
pub fn title(report: &Report) -> String {
    match &report.campaign {
        Some(campaign) => format!("{}, {}", shown(&campaign.name), shown(&campaign.date)),
        None => "relocheck check".to_owned(),
    }
}

fn origin(report: &Report) -> String {
    let mut parts = vec!["relocheck".to_owned(), format!("seed {}", report.seed)];
    if let Some(campaign) = &report.campaign {
        parts.push(format!("plan {}", campaign.plan.chars().take(12).collect::<String>()));
        if let Some(partition) = &campaign.partition {
            let numbers: Vec<String> =
                partition.parts.iter().take(16).map(u32::to_string).collect();
            let more = if partition.parts.len() > 16 { ", …" } else { "" };
            parts.push(format!("part {}{more} of {} only", numbers.join(", "), partition.of));
        }
    }
    parts.push(format!("exit code {}", report.exit_code));
    parts.join(" · ")
}

/// The verdict in a sentence; the news first.
pub fn verdict(report: &Report) -> String {
    let Totals { images, conforming, new, known, not_judged, regressions, unexpected, .. } =
        report.totals();
    let of = |some: usize, one: &str, many: &str| {
        format!("{some} of {} {}", count(images, "image"), if some == 1 { one } else { many })
    };
    let mut parts = Vec::new();
    if new > 0 {
        parts.push(of(
            new,
            "diverges in a way that is not known",
            "diverge in ways that are not known",
        ));
    }
    if known > 0 {
        parts.push(of(known, "diverges in known ways only", "diverge in known ways only"));
    }
    if not_judged > 0 {
        parts.push(of(not_judged, "cannot be judged", "cannot be judged"));
    }
    if images == 0 {
        parts.push("No image was checked".to_owned());
    } else if conforming == images {
        parts.push(match images {
            1 => "The image conforms".to_owned(),
            _ => format!("All {images} images conform"),
        });
    }
    if unexpected > 0 {
        let cases = count(regressions, "regression case");
        let verb = if unexpected == 1 { "is" } else { "are" };
        parts.push(format!("{unexpected} of {cases} {verb} not as expected"));
    }
    parts.join("; ") + "."
}

/// The colour of the verdict.
fn tone(report: &Report) -> &'static str {
    let totals = report.totals();
    match report.verdict {
        Verdict::Conforms => "s-ok",
        Verdict::Diverges if totals.new > 0 || totals.unexpected > 0 => "s-new",
        Verdict::Diverges => "s-known",
        Verdict::CannotJudge => "s-doubt",
    }
}

/// A number with spaces between thousands.
pub fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
