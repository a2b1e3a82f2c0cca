// SPDX-License-Identifier: GPL-2.0-only
//! Folded stacks: a line for each chain of callers, with the instructions that ran at its end. Tools that draw flame graphs
//! read them.

use std::fmt::Write;

use super::label;
use crate::explain::trace::Profile;

/// The instructions of each chain, as `caller;function number`.
pub fn folded_stacks(profile: &Profile) -> String {
    let tree = &profile.tree;
    let mut chains: Vec<String> = Vec::with_capacity(tree.nodes.len());
    let mut text = String::new();
    for node in &tree.nodes {
        let name = label(tree, node).replace(';', ":");
        let chain = match node.parent.and_then(|parent| chains.get(parent)) {
            Some(callers) => format!("{callers};{name}"),
            None => name,
        };
        if node.own_instructions > 0 {
            let _ = writeln!(text, "{chain} {}", node.own_instructions);
        }
        chains.push(chain);
    }
    text
}
