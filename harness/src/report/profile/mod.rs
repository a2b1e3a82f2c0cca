// SPDX-License-Identifier: GPL-2.0-only
//! A profile of a run: as text, as folded stacks, as a flame graph, as a time line for Chrome and Perfetto.

mod chrome;
mod flame;
mod folded;
mod text;

pub use chrome::chrome_trace;
pub use flame::flame_graph;
pub use folded::folded_stacks;
pub use text::call_tree_text;

use crate::explain::trace::{CallTree, Node};

/// The name of a node's function, and how it was entered if not by a call.
fn label(tree: &CallTree, node: &Node) -> String {
    match node.how.word() {
        None => tree.name(node).to_owned(),
        Some(how) => format!("{} ({how})", tree.name(node)),
    }
}

/// So many hundredths of a percent.
fn share(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
