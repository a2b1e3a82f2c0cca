// SPDX-License-Identifier: GPL-2.0-only
//! The memory of one case as a picture: SVG inside the page, addresses growing downwards, narrow enough for a phone.
//!
//! From left to right: addresses, the memory map, what lies in it, and what that is called.

mod thing;

use maud::{Markup, html};

use self::thing::{Kind, Mark, Space, Thing};
use crate::case::Case;
use crate::range::Range;
use crate::record::{CaseRecord, Facts};
use crate::report::picture::{Axis, memory_class, memory_words, spread, tenths, thinned};
use crate::report::size::size;

const WIDTH: f64 = 420.0;
/// Right edge of the addresses.
const TICKS: f64 = 104.0;
/// The memory map.
const MAP: (f64, f64) = (110.0, 36.0);
/// What lies in memory, in lanes where things overlap.
const LANES: f64 = 152.0;
const LANE: f64 = 18.0;
const MOST_LANES: usize = 3;
/// Where lines turn off to their labels, and where those begin.
const TURN: f64 = LANES + MOST_LANES as f64 * LANE + 2.0;
const LABELS: f64 = 226.0;
/// Height of a label of two lines, and the distance of addresses on the left.
const LABEL: f64 = 28.0;
const TICK: f64 = 12.0;
const MARGIN: f64 = 16.0;
/// Something small is drawn this high, or it could not be seen.
const LEAST: f64 = 3.0;

/// The picture of `case`, which ended as `record` says. `id` is unique on the page, `title` says what is shown.
pub fn picture(id: &str, title: &str, facts: &Facts, record: &CaseRecord, case: &Case) -> Markup {
    let space = Space::of(facts, record, case);
    let axis = axis(&space);
    let labels = labelled(&space, &axis);
    let places = places(&labels, &axis);
    let lowest = places.iter().fold(axis.height(), |low, place| low.max(place + LABEL / 2.0));
    let height = lowest + 2.0 * MARGIN;
    let title_id = format!("{id}-title");
    let text_id = format!("{id}-text");
    html! {
        svg.space viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img"
            aria-labelledby=(format!("{title_id} {text_id}")) {
            title id=(title_id) { (title) }
            desc id=(text_id) { (description(&space)) }
            g transform=(format!("translate(0 {MARGIN})")) {
                (map(&space, &axis))
                (ticks(&space, &axis))
                @for (thing, lane) in space.things.iter().zip(lanes(&space.things)) {
                    (block(&axis, thing, lane))
                }
                @for mark in &space.marks { (line(&axis, mark)) }
                @for (label, place) in labels.iter().zip(places) { (label.draw(place)) }
            }
        }
        @if !space.left_out.is_empty() { p.meta { "Not drawn: " (left_out(&space)) } }
    }
}

/// An axis through the ends of all that is shown; what is wrong inside of that has no say.
fn axis(space: &Space) -> Axis {
    let things: Vec<Range> = space.things.iter().map(|thing| thing.range).collect();
    let memory = space.memory.iter().map(|entry| entry.range());
    let shown = things.iter().copied().chain(memory);
    let known =
        shown.reduce(|all, range| Range::new(all.start.min(range.start), all.end.max(range.end)));
    let outside = |at: &u64| known.is_none_or(|known| !known.contains(*at));
    let marks = space.marks.iter().map(|mark| mark.address).filter(outside);
    let marks: Vec<u64> = marks.collect();
    Axis::through(&things, &space.memory, &marks)
}

/// The strip of the memory map, with a word in each region that is high enough.
fn map(space: &Space, axis: &Axis) -> Markup {
    let (x, width) = MAP;
    let words = space.memory.iter().map(|entry| {
        let (top, bottom) = (axis.y(entry.start), axis.y(entry.end));
        (entry, top, (bottom - top).max(LEAST))
    });
    html! {
        @for (entry, top, height) in words {
            @let (word, meaning) = memory_words(entry.kind);
            rect class=(memory_class(entry.kind)) x=(x) y=(tenths(top)) width=(width) height=(tenths(height)) {
                title { (meaning) " " (entry.range()) }
            }
            @if height >= 10.0 {
                text.word x=(x + width / 2.0) y=(tenths(top + height / 2.0 + 3.5)) { (word) }
            }
        }
        @for y in axis.breaks() {
            path.break d=(format!("M{} {:.1}l6 -5l8 10l8 -10l8 10l6 -5", x, y)) {}
        }
    }
}

/// Addresses at the ends of regions, as far as there is room; where regions begin comes first.
fn ticks(space: &Space, axis: &Axis) -> Markup {
    let starts = space.memory.iter().map(|entry| entry.start);
    let ends = space.memory.iter().map(|entry| entry.end);
    let addresses: Vec<u64> = starts.chain(ends).collect();
    let places: Vec<f64> = addresses.iter().map(|address| axis.y(*address)).collect();
    let kept = thinned(&places, TICK);
    html! {
        @for ((address, y), _) in addresses.iter().zip(&places).zip(kept).filter(|(_, kept)| *kept) {
            text.tick x=(TICKS) y=(tenths(y + 4.0)) { (format!("{address:#x}")) }
        }
    }
}

/// The lane of each thing: the first in which nothing is where it lies.
fn lanes(things: &[Thing]) -> Vec<usize> {
    let mut lanes: Vec<usize> = Vec::new();
    for (index, thing) in things.iter().enumerate() {
        let taken = |lane: &usize| {
            let before = things[..index].iter().zip(&lanes);
            before
                .filter(|(_, other)| *other == lane)
                .any(|(other, _)| other.range.overlaps(thing.range))
        };
        let free = (0..MOST_LANES).find(|lane| !taken(lane));
        lanes.push(free.unwrap_or(MOST_LANES - 1));
    }
    lanes
}

fn block(axis: &Axis, thing: &Thing, lane: usize) -> Markup {
    let (top, bottom) = (axis.y(thing.range.start), axis.y(thing.range.end));
    html! {
        rect class=(thing.kind.class()) x=(LANES + lane as f64 * LANE) y=(tenths(top)) width=(LANE - 2.0)
            height=(tenths((bottom - top).max(LEAST))) {
            title { (thing.name) " " (thing.range) }
        }
    }
}

/// A line across everything where something is wrong, and an arrow that points at it.
fn line(axis: &Axis, mark: &Mark) -> Markup {
    let y = axis.y(mark.address);
    let class = mark.class();
    html! {
        path class=(class) d=(format!("M{} {y:.1}H{TURN}", MAP.0 - 4.0)) {}
        path class={ (class) " tip" } d=(format!("M{} {y:.1}l-6 -4v8z", MAP.0)) {}
    }
}

/// A name beside the picture.
struct Label {
    class: &'static str,
    name: String,
    detail: String,
    /// Where the line to it begins; none: it names nothing on the axis.
    from: Option<(f64, f64)>,
}

impl Label {
    fn draw(&self, y: f64) -> Markup {
        html! {
            @if let Some((x, from)) = self.from {
                path.lead d=(format!("M{x} {from:.1}H{TURN}L{:.1} {y:.1}", LABELS - 4.0)) {}
            }
            rect class=(self.class) x=(LABELS) y=(tenths(y - 9.0)) width="8" height="8" {}
            text.name x=(LABELS + 12.0) y=(tenths(y - 1.5)) { (self.name) }
            text.detail x=(LABELS) y=(tenths(y + 10.5)) { (self.detail) }
        }
    }
}

/// All names: things, wrong places, and wrong addresses that are nowhere on the axis.
fn labelled(space: &Space, axis: &Axis) -> Vec<Label> {
    let things = space.things.iter().zip(lanes(&space.things)).map(|(thing, lane)| {
        let middle = (axis.y(thing.range.start) + axis.y(thing.range.end)) / 2.0;
        Label {
            class: thing.kind.class(),
            name: thing.name.to_owned(),
            detail: format!("{:#x} + {}", thing.range.start, size(thing.range.len())),
            from: Some((LANES + (lane + 1) as f64 * LANE - 2.0, middle)),
        }
    });
    let label = |mark: &Mark, detail, from| Label {
        class: mark.class(),
        name: format!("{} {}", mark.sign(), mark.rule),
        detail,
        from,
    };
    let marks = space.marks.iter().map(|mark| {
        label(mark, format!("{:#x}", mark.address), Some((TURN, axis.y(mark.address))))
    });
    let beyond =
        space.beyond.iter().map(|mark| label(mark, format!("{:#x}, no RAM", mark.address), None));
    things.chain(marks).chain(beyond).collect()
}

/// Where the labels go; those of nothing on the axis below it.
fn places(labels: &[Label], axis: &Axis) -> Vec<f64> {
    let from = |label: &Label| label.from.map_or(axis.height() + LABEL, |(_, y)| y);
    let wanted: Vec<f64> = labels.iter().map(from).collect();
    spread(&wanted, LABEL, 0.0)
}

/// The picture in words.
fn description(space: &Space) -> String {
    let mut parts: Vec<String> =
        space.things.iter().map(|thing| format!("{} {}", thing.name, thing.range)).collect();
    parts.extend(space.memory.iter().map(|e| format!("{} {}", memory_words(e.kind).1, e.range())));
    let marks = space.marks.iter().chain(&space.beyond);
    parts.extend(marks.map(|mark| format!("wrong by rule {} at {:#x}", mark.rule, mark.address)));
    if !space.left_out.is_empty() {
        parts.push(format!("not drawn: {}", left_out(space)));
    }
    parts.join("; ")
}

/// What there was no room for.
fn left_out(space: &Space) -> String {
    let parts = space.left_out.iter().map(|(count, what)| format!("{count} {what}"));
    parts.collect::<Vec<_>>().join(", ")
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Kind::Stub => "k-stub",
            Kind::Window => "k-window",
            Kind::Kernel => "k-kernel",
            Kind::Initrd => "k-initrd",
            Kind::Loader => "k-loader",
        }
    }
}

impl Mark {
    fn class(&self) -> &'static str {
        if self.known { "w-known" } else { "w-new" }
    }

    fn sign(&self) -> &'static str {
        if self.known { "◆" } else { "✗" }
    }
}

#[cfg(test)]
mod tests;
