// SPDX-License-Identifier: GPL-2.0-only
//! A call tree as text.

use std::fmt::Write;

use super::{label, share};
use crate::explain::trace::{CallTree, How, Node, Profile};
use crate::report::plain::count;

/// Functions with a smaller part of all instructions, in parts of it, are summed up in one line for each caller.
const SMALLEST: u64 = 10_000;
/// The list of functions by their own instructions ends here.
const MOST_FUNCTIONS: usize = 20;
/// Calls nested deeper are drawn no further to the right.
const DEEPEST: usize = 40;

/// The tree, and the functions in which most instructions ran.
pub fn call_tree_text(profile: &Profile) -> String {
    let tree = &profile.tree;
    let (blocks, instructions) = (tree.blocks(), tree.instructions());
    let mut text = format!(
        "{instructions} instructions in {blocks} blocks, {}\n\n{:>12} {:>7} {:>12} {:>11} {:>9}  function\n",
        count(profile.page_faults as usize, "page fault"),
        "instructions",
        "%",
        "own",
        "blocks",
        "entries",
    );
    // Deep trees must not use up the stack of this program.
    let mut open: Vec<(Row, usize)> = Vec::new();
    push(tree, None, 0, &mut open);
    while let Some((row, depth)) = open.pop() {
        let indent = "  ".repeat(depth.min(DEEPEST));
        match row {
            Row::Node(number) => {
                let node = &tree.nodes[number];
                row_text(&mut text, node, instructions, &format!("{indent}{}", label(tree, node)));
                push(tree, Some(number), depth + 1, &mut open);
            }
            Row::Others(sum, others) => {
                let name = format!("{indent}({})", count(others, "smaller function"));
                row_text(&mut text, &sum, instructions, &name);
            }
        }
    }
    if tree.cut {
        text += "Too many chains of callers: the last ones are counted in their callers.\n";
    }
    text += "\nmost instructions of their own:\n";
    for (name, own) in by_function(tree).into_iter().take(MOST_FUNCTIONS) {
        let _ = writeln!(text, "{own:>12} {:>7}  {name}", share(own, instructions));
    }
    text
}

enum Row {
    Node(usize),
    Others(Node, usize),
}

/// Puts what `parent` called on the list of what is still to be written, the first on top.
fn push(tree: &CallTree, parent: Option<usize>, depth: usize, open: &mut Vec<(Row, usize)>) {
    let whole = tree.instructions();
    // Handlers of page faults are short, and worth to be seen.
    let shown = |node: &Node| node.parent.is_none() || node.how == How::Fault;
    let small = |node: &Node| node.instructions < whole / SMALLEST && !shown(node);
    let mut sum: Option<(Node, usize)> = None;
    let mut rows = Vec::new();
    for (number, node) in tree.children(parent) {
        if !small(node) {
            rows.push((Row::Node(number), depth));
            continue;
        }
        match &mut sum {
            Some((sum, others)) => {
                sum.instructions += node.instructions;
                sum.own_instructions += node.instructions;
                sum.blocks += node.blocks;
                sum.entries += node.entries;
                *others += 1;
            }
            // What they called is not shown, and so is their own.
            None => {
                let own_instructions = node.instructions;
                sum = Some((Node { own_instructions, ..node.clone() }, 1));
            }
        }
    }
    rows.extend(sum.map(|(sum, others)| (Row::Others(sum, others), depth)));
    open.extend(rows.into_iter().rev());
}

fn row_text(text: &mut String, node: &Node, whole: u64, name: &str) {
    let _ = writeln!(
        text,
        "{:>12} {:>7} {:>12} {:>11} {:>9}  {name}",
        node.instructions,
        share(node.instructions, whole),
        node.own_instructions,
        node.blocks,
        node.entries,
    );
}

/// Functions by their own instructions, most first.
fn by_function(tree: &CallTree) -> Vec<(&str, u64)> {
    let mut own: Vec<(&str, u64)> =
        tree.functions.iter().map(|function| (&*function.name, 0)).collect();
    for node in &tree.nodes {
        if let Some((_, sum)) = own.get_mut(node.function) {
            *sum += node.own_instructions;
        }
    }
    own.retain(|(_, sum)| *sum > 0);
    own.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    own
}
