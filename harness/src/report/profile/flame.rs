// SPDX-License-Identifier: GPL-2.0-only
//! A profile as a flame graph: an SVG file that needs nothing else, and follows the reader's light or dark colours. Callers stand
//! above what they called; the width is the number of instructions.

use maud::{Markup, PreEscaped, html};

use super::{label, share};
use crate::explain::trace::{CallTree, How, Node, Profile};
use crate::report::picture::tenths;

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 16.0;
const HEAD: f64 = 62.0;
const ROW: f64 = 19.0;
/// What is narrower is not drawn.
const NARROWEST: f64 = 0.4;
/// Width of a letter, and of what is left free beside a name.
const LETTER: f64 = 6.7;
const PADDING: f64 = 4.0;
/// Colours that neighbours take in turn.
const COLOURS: usize = 6;

const STYLE: &str = "\
text{font:11px monospace;fill:#24292f;pointer-events:none}
.title{font:bold 17px sans-serif}.dim{font:12px sans-serif;fill:#57606a}
.page{fill:#ffffff}rect{stroke:#ffffff;stroke-width:.5}
.c0{fill:#f4b183}.c1{fill:#f7c59f}.c2{fill:#f2a65a}.c3{fill:#f9d29d}.c4{fill:#f0b67f}.c5{fill:#f6bd60}.fault{fill:#9ec5f4}
rect:hover{stroke:#24292f;stroke-width:1.5}
@media (prefers-color-scheme: dark){
text{fill:#e6edf3}.dim{fill:#9aa4af}.page{fill:#0d1117}rect{stroke:#0d1117}rect:hover{stroke:#e6edf3}
.c0{fill:#8a4b16}.c1{fill:#75431b}.c2{fill:#9a5517}.c3{fill:#6b3f1d}.c4{fill:#804a1c}.c5{fill:#905a12}.fault{fill:#1f4f86}}
";

/// A node and where it is drawn.
struct Bar<'a> {
    node: &'a Node,
    depth: usize,
    x: f64,
    width: f64,
}

/// The graph of a profile. `title` says of what run.
pub fn flame_graph(profile: &Profile, title: &str) -> String {
    let tree = &profile.tree;
    let whole = tree.instructions();
    let (bars, narrow) = bars(tree);
    let rows = bars.iter().map(|bar| bar.depth + 1).max().unwrap_or(0);
    let height = HEAD + rows as f64 * ROW + 2.0 * MARGIN;
    let about = format!(
        "{whole} instructions in {} blocks, from left to right in the order of first calls; callers above what they called",
        tree.blocks()
    );
    let missing = match narrow {
        0 => String::new(),
        narrow => format!("; {narrow} too narrow to be drawn"),
    };
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(tenths(height))
            viewBox=(format!("0 0 {WIDTH} {height:.1}")) role="img" {
            title { (title) }
            style { (PreEscaped(STYLE)) }
            rect.page width=(WIDTH) height=(tenths(height)) {}
            text.title x=(MARGIN) y="28" { (title) }
            text.dim x=(MARGIN) y="48" { (about) (missing) }
            @for bar in &bars { (draw(tree, bar, whole)) }
        }
    };
    svg.into_string() + "\n"
}

fn draw(tree: &CallTree, bar: &Bar, whole: u64) -> Markup {
    let name = label(tree, bar.node);
    let y = HEAD + bar.depth as f64 * ROW;
    let class = match bar.node.how {
        How::Fault => "fault".to_owned(),
        _ => format!("c{}", (bar.node.function + bar.depth) % COLOURS),
    };
    let Node { instructions, own_instructions, entries, .. } = bar.node;
    let letters = ((bar.width - 2.0 * PADDING) / LETTER).max(0.0) as usize;
    html! {
        g {
            title {
                (name) ": " (instructions) " instructions (" (share(*instructions, whole)) " %), "
                (own_instructions) " of its own, entered " (entries) " times"
            }
            rect class=(class) x=(tenths(bar.x)) y=(tenths(y)) width=(tenths(bar.width))
                height=(tenths(ROW - 1.0)) rx="2" {}
            @if letters >= 3 {
                text x=(tenths(bar.x + PADDING)) y=(tenths(y + 13.0)) { (cut(&name, letters)) }
            }
        }
    }
}

/// What is wide enough to be drawn, callers first, and how many nodes are not.
fn bars(tree: &CallTree) -> (Vec<Bar<'_>>, usize) {
    let scale = (WIDTH - 2.0 * MARGIN) / tree.instructions().max(1) as f64;
    // For each node how deep it is, and where the next thing that it called begins.
    let mut places: Vec<Option<(usize, f64)>> = Vec::with_capacity(tree.nodes.len());
    let mut next_root = MARGIN;
    let mut bars = Vec::new();
    let mut narrow = 0;
    for node in &tree.nodes {
        let width = node.instructions as f64 * scale;
        let place = match node.parent {
            None => {
                next_root += width;
                Some((0, next_root - width))
            }
            Some(parent) => places.get_mut(parent).and_then(Option::as_mut).map(|(depth, next)| {
                *next += width;
                (*depth + 1, *next - width)
            }),
        };
        let place = place.filter(|_| width >= NARROWEST);
        match place {
            Some((depth, x)) => bars.push(Bar { node, depth, x, width }),
            None => narrow += 1,
        }
        places.push(place);
    }
    (bars, narrow)
}

/// The first letters of a name.
fn cut(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_owned();
    }
    name.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}
