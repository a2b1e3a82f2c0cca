// SPDX-License-Identifier: GPL-2.0-only
//! The physical address space over the phases of a run, as a picture: an SVG file that needs nothing else, and follows the
//! reader's light or dark colours.
//!
//! Addresses grow downwards, time goes to the right. From left to right: addresses, the memory map, where the stub may write,
//! a column for each phase, and what lies where.

mod column;
mod layout;
mod places;
mod style;
mod words;

use maud::{Markup, PreEscaped, html};

use self::layout::Layout;
use self::places::{Mark, Place, Space};
use crate::case::Case;
use crate::explain::phases::{Expected, Phases};
use crate::machine::{End, Setup};
use crate::oracle::{Judgement, Subject};
use crate::report::picture::{memory_class, memory_words, spread, tenths, thinned};

/// All that a picture is made of.
pub struct MapReport<'a> {
    /// What the image is called.
    pub name: &'a str,
    /// The image.
    pub subject: &'a Subject,
    /// The case that was run.
    pub case: &'a Case,
    /// What the machine was told.
    pub setup: &'a Setup,
    /// What the oracles say.
    pub judgement: &'a Judgement,
    /// How the run ended.
    pub end: &'a End,
    /// Where the kernel goes, if that is known.
    pub expected: Option<Expected>,
    /// The phases.
    pub phases: &'a Phases,
}

const WIDTH: f64 = 1240.0;
const MARGIN: f64 = 16.0;
/// Right edge of the addresses.
const TICKS: f64 = 128.0;
const TICK: f64 = 12.0;
/// The memory map, and where the stub may write: left edge and width.
const MEMORY: (f64, f64) = (134.0, 36.0);
const PERMITTED: (f64, f64) = (176.0, 14.0);
/// The first column, the width of one, and the distance from one to the next.
const COLUMNS: f64 = 204.0;
const COLUMN: f64 = 112.0;
const STEP: f64 = 118.0;
/// Where the last column ends, and where the names begin.
const END: f64 = COLUMNS + 5.0 * STEP + COLUMN;
const LABELS: f64 = END + 34.0;
const LABEL: f64 = 15.0;
/// Something small is drawn this high, or it could not be seen.
const LEAST: f64 = 2.5;
/// Height of a line of text below the picture, and how many letters fit into one.
const LINE: f64 = 17.0;
const LETTERS: usize = 178;

/// The picture.
pub fn map(report: &MapReport) -> String {
    let space = Space::of(report);
    let layout = Layout::of(&space);
    let labels = labels(&space, &layout);
    let head = 96.0;
    let lowest = labels.iter().fold(layout.axis.height(), |low, label| low.max(label.y));
    let below = head + lowest + 34.0;
    let lines = words::below(report, &space);
    let height = below + 34.0 + lines.len() as f64 * LINE + MARGIN;
    let title = words::title(report);
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(tenths(height))
            viewBox=(format!("0 0 {WIDTH} {height:.1}")) role="img" {
            title { (title) }
            style { (PreEscaped(style::STYLE)) }
            defs {
                pattern id="never" width="8" height="8" patternUnits="userSpaceOnUse" {
                    path.hatch d="M0 8L8 0" {}
                }
            }
            rect.page width=(WIDTH) height=(tenths(height)) {}
            text.title x=(MARGIN) y="28" { (title) }
            text.dim x=(MARGIN) y="48" { (words::subtitle(report)) }
            (headings(report))
            g transform=(format!("translate(0 {head})")) {
                (strips(&space, &layout))
                (column::columns(&space, &layout, report.phases, |phase| words::why_not(report, phase)))
                @for mark in &space.marks { (line(&layout, mark)) }
                @for label in &labels { (label.draw()) }
            }
            (key(below, !space.marks.is_empty()))
            @for (number, text) in lines.iter().enumerate() {
                text.below x=(MARGIN) y=(tenths(below + 34.0 + number as f64 * LINE)) { (text) }
            }
        }
    };
    svg.into_string() + "\n"
}

/// What each column is, and how long the phase took.
fn headings(report: &MapReport) -> Markup {
    html! {
        text.head.right x=(TICKS) y="74" { "address" }
        text.head.middle x=(MEMORY.0 + MEMORY.1 / 2.0) y="74" { "map" }
        @for (number, record) in report.phases.records.iter().enumerate() {
            @let x = COLUMNS + number as f64 * STEP;
            text.head x=(x) y="74" { (words::heading(record.phase, report.end)) }
            text.tick x=(x) y="88" { (words::duration(report, record.phase)) }
        }
    }
}

/// Addresses, the memory map, and where the stub may write.
fn strips(space: &Space, layout: &Layout) -> Markup {
    let axis = &layout.axis;
    let ticks: Vec<u64> = layout.ticks(space);
    let places: Vec<f64> = ticks.iter().map(|address| axis.y(*address)).collect();
    let kept = thinned(&places, TICK);
    let (x, width) = MEMORY;
    html! {
        @for ((address, y), _) in ticks.iter().zip(&places).zip(kept).filter(|(_, kept)| *kept) {
            text.tick.right x=(TICKS) y=(tenths(y + 4.0)) { (format!("{address:#x}")) }
            path.grid d=(format!("M{} {y:.1}H{END}", MEMORY.0)) {}
        }
        @for entry in &space.memory {
            @let (top, height) = layout.span(entry.range());
            @let (word, meaning) = memory_words(entry.kind);
            rect class=(memory_class(entry.kind)) x=(x) y=(tenths(top)) width=(width) height=(tenths(height)) {
                title { (meaning) " " (entry.range()) }
            }
            @if height >= 10.0 {
                text.word x=(x + width / 2.0) y=(tenths(top + height / 2.0 + 3.5)) { (word) }
            }
        }
        @for place in space.places.iter().filter(|place| place.permitted) {
            @let (top, height) = layout.span(place.range);
            rect.may x=(PERMITTED.0) y=(tenths(top)) width=(PERMITTED.1) height=(tenths(height)) {
                title { "the stub may write here: " (place.name) " " (place.range) }
            }
        }
        @for y in axis.breaks() {
            path.break d=(format!("M{} {:.1}l6 -4l8 8l8 -8l8 8l6 -4", x, y)) {}
        }
    }
}

/// A line across everything where something is wrong.
fn line(layout: &Layout, mark: &Mark) -> Markup {
    let y = layout.axis.y(mark.address);
    html! {
        path.wrong d=(format!("M{} {y:.1}H{}", MEMORY.0 - 4.0, END + 4.0)) {
            title { (mark.finding) }
        }
        path.wrong.tip d=(format!("M{} {y:.1}l-7 -4v8z", MEMORY.0 - 1.0)) {}
    }
}

/// A name beside the picture.
struct Label {
    class: &'static str,
    text: String,
    from: f64,
    y: f64,
}

impl Label {
    fn draw(&self) -> Markup {
        let Label { class, text, from, y } = self;
        html! {
            path.lead d=(format!("M{} {from:.1}h4L{:.1} {y:.1}h4", END + 2.0, LABELS - 6.0)) {}
            text class=(class) x=(LABELS + 2.0) y=(tenths(y + 4.0)) { (text) }
        }
    }
}

fn labels(space: &Space, layout: &Layout) -> Vec<Label> {
    let label = |class, text, from| Label { class, text, from, y: 0.0 };
    let of_place = |place: &Place| {
        let (top, height) = layout.span(place.range);
        // Large places begin with their name.
        label("name", place.text(), top + (height / 2.0).min(8.0))
    };
    let of_mark = |mark: &Mark| label("name bad", mark.text(), layout.axis.y(mark.address));
    let mut labels: Vec<Label> =
        space.places.iter().map(of_place).chain(space.marks.iter().map(of_mark)).collect();
    let wanted: Vec<f64> = labels.iter().map(|label| label.from).collect();
    for (label, y) in labels.iter_mut().zip(spread(&wanted, LABEL, 0.0)) {
        label.y = y;
    }
    labels
}

/// What the colours mean.
fn key(y: f64, wrong: bool) -> Markup {
    let entries = [
        ("p0", "put there by the loader"),
        ("p1", "copied"),
        ("p2", "decompressed"),
        ("p3", "moved"),
        ("p4", "relocated"),
        ("p5", "written later"),
        ("p1 old", "pale: by an earlier phase"),
        ("may", "the stub may write"),
    ];
    let mut x = MARGIN;
    let mut placed = Vec::new();
    for (class, text) in entries {
        placed.push((x, class, text));
        x += 44.0 + 6.2 * text.len() as f64;
    }
    html! {
        @for (x, class, text) in placed {
            rect class=(class) x=(tenths(x)) y=(tenths(y - 9.0)) width="14" height="10" {}
            text.tick x=(tenths(x + 20.0)) y=(tenths(y)) { (text) }
        }
        @if wrong {
            path.wrong d=(format!("M{x:.1} {:.1}h14", y - 4.0)) {}
            text.tick x=(tenths(x + 20.0)) y=(tenths(y)) { "wrong" }
        }
    }
}
