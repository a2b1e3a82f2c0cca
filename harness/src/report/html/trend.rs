// SPDX-License-Identifier: GPL-2.0-only
//! What earlier runs found: a bar for each run, and for each image that is not as it should be, since when.

use maud::{Markup, html};

use super::matrix::{state_class, state_sign};
use super::text::shown;
use crate::history::{Failing, Past, Run};
use crate::record::State;
use crate::report::plain::count;

/// Height of the bars, and the width of one with the gap to the next.
const HEIGHT: f64 = 90.0;
const BAR: usize = 12;
/// Less would be too few for a narrow picture to be as high as a wide one.
const LEAST_BARS: usize = 30;
/// Room above for the largest number, and below for the days.
const TOP: f64 = 16.0;
const BOTTOM: f64 = 18.0;

/// The bars, the same in numbers, and how single images went.
pub fn trend(past: &Past) -> Markup {
    let [first, .., last] = &past.runs[..] else {
        return html! {
            @if let [only] = &past.runs[..] {
                section #trend { h2 { "Trend" } p { "This is the first run recorded, " (shown(&only.date)) "." } }
            }
        };
    };
    html! {
        section #trend {
            h2 { "Trend" }
            p.legend {
                @for state in State::ALL {
                    span class=(state_class(state)) { (state_sign(state)) } " " (state) " · "
                }
                (count(past.runs.len(), "run")) ", " (shown(&first.date)) " to " (shown(&last.date))
            }
            (bars(past))
            details {
                summary { "In numbers" }
                (numbers(&past.runs))
            }
            (images(past))
        }
    }
}

/// How many images stand how, in the order of the legend.
fn counts(run: &Run) -> [u64; 4] {
    State::ALL.map(|state| match state {
        State::New => run.new,
        State::Known => run.known,
        State::CannotJudge => run.not_judged,
        State::Conforms => run.conforming,
    })
}

/// All images of a run: what somebody else wrote into a history must not overflow.
fn all(run: &Run) -> u64 {
    counts(run).into_iter().fold(0, u64::saturating_add)
}

fn bars(past: &Past) -> Markup {
    let most = past.runs.iter().map(all).max().unwrap_or(0).max(1);
    let width = past.runs.len().max(LEAST_BARS) * BAR;
    let bottom = TOP + HEIGHT;
    html! {
        svg.trend width=(width * 4 / 3) viewBox=(format!("0 0 {width} {}", bottom + BOTTOM)) role="img" aria-label="Images by verdict, run by run" {
            text x="0" y="11" { (count(usize::try_from(most).unwrap_or(usize::MAX), "image")) }
            path.frame d=(format!("M0 {bottom}H{width}")) {}
            @for (index, run) in past.runs.iter().enumerate() {
                g {
                    title { (words(run)) }
                    @for (state, y, height) in stack(run, most) {
                        rect class=(fill(state)) x=(index * BAR + 1) y=(format!("{y:.1}")) width=(BAR - 2) height=(format!("{height:.1}")) {}
                    }
                }
            }
            @if let (Some(first), Some(last)) = (past.runs.first(), past.runs.last()) {
                text x="0" y=(bottom + 13.0) { (shown(&first.date)) }
                text.end x=(past.runs.len().max(13) * BAR) y=(bottom + 13.0) { (shown(&last.date)) }
            }
        }
    }
}

/// The parts of a bar, the worst at the bottom, where they all begin at the same height.
fn stack(run: &Run, most: u64) -> Vec<(State, f64, f64)> {
    let mut y = TOP + HEIGHT;
    let parts = State::ALL.into_iter().zip(counts(run)).filter(|(_, count)| *count > 0);
    parts
        .map(|(state, count)| {
            let height = HEIGHT * count as f64 / most as f64;
            y -= height;
            (state, y, height)
        })
        .collect()
}

fn fill(state: State) -> &'static str {
    match state {
        State::New => "b-new",
        State::Known => "b-known",
        State::CannotJudge => "b-doubt",
        State::Conforms => "b-ok",
    }
}

fn words(run: &Run) -> String {
    let counts = State::ALL.into_iter().zip(counts(run));
    let parts: Vec<String> = counts.map(|(state, count)| format!("{count} {state}")).collect();
    format!("{}: {}", shown(&run.date), parts.join("; "))
}

fn numbers(runs: &[Run]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Runs in numbers" {
            table.cases {
                thead { tr {
                    th scope="col" { "run" }
                    @for state in State::ALL { th scope="col" { (state) } }
                    th scope="col" { "cases" } th scope="col" { "fields" }
                } }
                tbody {
                    @for run in runs {
                        tr {
                            td { (shown(&run.date)) }
                            @for count in counts(run) { td { (count) } }
                            td { (run.cases) } td { (run.fields) }
                        }
                    }
                }
            }
        }
    }
}

/// Images that fail, and those that went from one state to another.
fn images(past: &Past) -> Markup {
    let changed = |states: &[Option<State>]| {
        let mut seen = states.iter().flatten();
        let first = seen.next();
        seen.any(|state| Some(state) != first)
    };
    let shown_images = past
        .images
        .iter()
        .filter(|(_, states)| changed(states) || states.last() != Some(&Some(State::Conforms)));
    let shown_images: Vec<_> = shown_images.collect();
    html! {
        @if !shown_images.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Images that fail or have changed" {
                table.plain.flips {
                    thead { tr { th { "image" } th { "runs, oldest first" } th { "failing since" } } }
                    tbody {
                        @for (title, states) in shown_images {
                            tr {
                                th scope="row" { (shown(title)) }
                                td.strip { @for state in states { (one(*state)) } }
                                td { (since(past, title)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn one(state: Option<State>) -> Markup {
    html! {
        @match state {
            None => span.s-none { "·" },
            Some(state) => span class=(state_class(state)) { (state_sign(state)) },
        }
    }
}

fn since(past: &Past, image: &str) -> String {
    let failing = past.failing.iter().filter(|failing| failing.image == image);
    let parts: Vec<String> = failing.map(in_words).collect();
    if parts.is_empty() { "–".to_owned() } else { parts.join("; ") }
}

/// A rule that is broken, and since when.
fn in_words(failing: &Failing) -> String {
    let runs = count(failing.since.runs, "run");
    format!("{}: {} ({runs})", failing.rule, shown(&failing.since.date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_images_are_many() {
        let parts = stack(&Run::sample("2026-01-01", [1, 0, 2, 5]), 16);
        let heights: Vec<(State, f64)> = parts.iter().map(|(state, _, h)| (*state, *h)).collect();
        let unit = HEIGHT / 16.0;
        assert_eq!(
            heights,
            [(State::New, unit), (State::CannotJudge, 2.0 * unit), (State::Conforms, 5.0 * unit)]
        );
        let mut below = TOP + HEIGHT;
        for (_, y, height) in parts {
            assert!((y + height - below).abs() < 1e-9, "parts stand on each other");
            below = y;
        }
    }

    #[test]
    fn numbers_without_sense_are_drawn_all_the_same() {
        let runs =
            vec![Run::sample("2026-01-01", [u64::MAX; 4]), Run::sample("2026-01-02", [0; 4])];
        let page = trend(&Past { runs, ..Past::default() }).into_string();
        assert!(page.contains("18446744073709551615"));
    }
}
