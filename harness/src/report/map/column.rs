// SPDX-License-Identifier: GPL-2.0-only
//! The columns: memory as each phase left it. What a phase changed is strong, what earlier ones did is pale.

use maud::{Markup, html};

use super::layout::Layout;
use super::places::{Space, Stretch};
use super::{COLUMN, COLUMNS, STEP};
use crate::explain::phases::{Phase, Phases};
use crate::report::picture::tenths;
use crate::report::size::size;

/// All columns; `never` says in a word or two why a phase is not there.
pub fn columns(
    space: &Space,
    layout: &Layout,
    phases: &Phases,
    never: impl Fn(Phase) -> &'static str,
) -> Markup {
    let height = tenths(layout.axis.height());
    html! {
        @for (number, record) in phases.records.iter().enumerate() {
            @let x = COLUMNS + number as f64 * STEP;
            rect.frame x=(tenths(x)) y="0" width=(COLUMN) height=(height) {}
            @if record.blocks.is_some() {
                @for stretch in space.stretches.iter().filter(|stretch| stretch.phase <= record.phase) {
                    (block(layout, stretch, x, stretch.phase < record.phase))
                }
            } @else {
                rect x=(tenths(x)) y="0" width=(COLUMN) height=(height) fill="url(#never)" {}
                text.never x=(tenths(x + COLUMN / 2.0)) y="16" { (never(record.phase)) }
            }
        }
    }
}

fn block(layout: &Layout, stretch: &Stretch, x: f64, earlier: bool) -> Markup {
    let (top, height) = layout.span(stretch.range);
    let (x, y, height) = (tenths(x), tenths(top), tenths(height));
    let class = class(stretch.phase);
    html! {
        @if earlier {
            // Nothing of what lay here before shines through.
            rect.frame x=(x) y=(y) width=(COLUMN) height=(height) {}
        }
        rect class={ (class) @if earlier { " old" } } x=(x) y=(y) width=(COLUMN) height=(height) {
            title {
                (verb(stretch.phase)) " " (stretch.range) ", " (size(stretch.changed)) " in pages that changed"
            }
        }
    }
}

fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Loaded => "p0",
        Phase::Copied => "p1",
        Phase::Decompressed => "p2",
        Phase::Moved => "p3",
        Phase::Relocated => "p4",
        Phase::Ended => "p5",
    }
}

fn verb(phase: Phase) -> &'static str {
    match phase {
        Phase::Loaded => "put by the loader:",
        Phase::Copied => "written until the stub ran from its copy:",
        Phase::Decompressed => "written during decompression:",
        Phase::Moved => "written while segments moved:",
        Phase::Relocated => "written while fields were relocated:",
        Phase::Ended => "written later:",
    }
}
