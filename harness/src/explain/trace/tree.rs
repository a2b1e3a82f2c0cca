// SPDX-License-Identifier: GPL-2.0-only
//! The call tree of a run: functions by who called them, with what ran in each.

use std::collections::HashMap;

use super::names::{Function, FunctionId};
use super::walk::{Entered, How, Step};

/// A tree has at most so many nodes; what would be a further one is counted in its caller.
const MOST_NODES: usize = 1 << 16;

/// One function, called by one chain of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Number of the function among [`CallTree::functions`].
    pub function: usize,
    /// How it was entered.
    pub how: How,
    /// Number of the caller; none for what the loader entered and what took its place.
    pub parent: Option<usize>,
    /// How often it was entered.
    pub entries: u64,
    /// Translated blocks that began in it, without those of what it called.
    pub own_blocks: u64,
    /// Instructions that ran in it, without those of what it called.
    pub own_instructions: u64,
    /// Translated blocks with all that it called.
    pub blocks: u64,
    /// Instructions with all that it called.
    pub instructions: u64,
}

/// A finished tree. Callers stand before what they call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTree {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The functions that they name.
    pub functions: Vec<Function>,
    /// Whether some nodes are missing, because there are too many.
    pub cut: bool,
    /// The numbers of what has no caller, then of what each node called.
    children: Vec<Vec<usize>>,
}

impl CallTree {
    /// The name of a node's function.
    pub fn name(&self, node: &Node) -> &str {
        self.functions.get(node.function).map_or("", |function| &function.name)
    }

    /// Translated blocks of the whole run.
    pub fn blocks(&self) -> u64 {
        self.roots().map(|(_, node)| node.blocks).sum()
    }

    /// Instructions of the whole run.
    pub fn instructions(&self) -> u64 {
        self.roots().map(|(_, node)| node.instructions).sum()
    }

    /// What has no caller, in the order of the run.
    pub fn roots(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.children(None)
    }

    /// What `parent` called, in the order in which it did so first.
    pub fn children(&self, parent: Option<usize>) -> impl Iterator<Item = (usize, &Node)> {
        let numbers = self.children.get(parent.map_or(0, |parent| parent + 1));
        numbers.into_iter().flatten().map(|number| (*number, &self.nodes[*number]))
    }
}

/// A tree that grows.
#[derive(Default)]
pub struct Growing {
    nodes: Vec<Node>,
    numbers: HashMap<(Option<usize>, Entered), usize>,
    /// The running functions; several may be counted in one node when the tree is full.
    path: Vec<usize>,
    cut: bool,
}

impl Growing {
    /// A block of a run begins.
    pub fn step(&mut self, step: &Step) {
        self.path.truncate(self.path.len().saturating_sub(step.left));
        if let Some(entered) = step.entered {
            let parent = self.path.last().copied();
            let node = self.node(parent, entered);
            self.nodes[node].entries += 1;
            self.path.push(node);
        }
        if let Some(node) = self.running() {
            node.own_blocks += 1;
            node.own_instructions += u64::from(step.instructions);
        }
    }

    /// So many instructions of the last block did not run.
    pub fn take_back(&mut self, instructions: u32) {
        if let Some(node) = self.running() {
            node.own_instructions = node.own_instructions.saturating_sub(instructions.into());
        }
    }

    /// The tree, with its sums.
    pub fn finish(self, functions: Vec<Function>) -> CallTree {
        let mut nodes = self.nodes;
        for number in (0..nodes.len()).rev() {
            let node = &mut nodes[number];
            node.blocks += node.own_blocks;
            node.instructions += node.own_instructions;
            let (parent, blocks, instructions) = (node.parent, node.blocks, node.instructions);
            if let Some(parent) = parent {
                nodes[parent].blocks += blocks;
                nodes[parent].instructions += instructions;
            }
        }
        let mut children = vec![Vec::new(); nodes.len() + 1];
        for (number, node) in nodes.iter().enumerate() {
            children[node.parent.map_or(0, |parent| parent + 1)].push(number);
        }
        CallTree { nodes, functions, cut: self.cut, children }
    }

    fn running(&mut self) -> Option<&mut Node> {
        self.path.last().map(|node| &mut self.nodes[*node])
    }

    fn node(&mut self, parent: Option<usize>, entered: Entered) -> usize {
        if let Some(number) = self.numbers.get(&(parent, entered)) {
            return *number;
        }
        if let (true, Some(parent)) = (self.nodes.len() >= MOST_NODES, parent.or(Some(0))) {
            self.cut = true;
            return parent;
        }
        let Entered { function: FunctionId(function), how } = entered;
        self.nodes.push(Node {
            function: function as usize,
            how,
            parent,
            entries: 0,
            own_blocks: 0,
            own_instructions: 0,
            blocks: 0,
            instructions: 0,
        });
        self.numbers.insert((parent, entered), self.nodes.len() - 1);
        self.nodes.len() - 1
    }
}
