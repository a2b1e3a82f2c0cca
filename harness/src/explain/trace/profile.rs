// SPDX-License-Identifier: GPL-2.0-only
//! A profile: where the instructions of a run went.

use super::names::FunctionNames;
use super::spans::{self, MOST_SPANS, Span};
use super::tree::{self, CallTree};
use super::walk::Walk;
use crate::explain::TICK;
use crate::machine::{Event, Interest, Observer, Outcome, Setup, View};

/// Where the instructions of a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// By callers.
    pub tree: CallTree,
    /// By time.
    pub spans: Vec<Span>,
    /// Spans of fewer instructions are left out.
    pub shortest_span: u64,
    /// Page faults that the stub's handler took.
    pub page_faults: u64,
}

/// Sums a run up while it goes on.
pub struct Profiler {
    walk: Walk,
    tree: tree::Growing,
    spans: spans::Growing,
    instructions: u64,
    page_faults: u64,
    blocks: u64,
    tick: Box<dyn FnMut(u64)>,
}

impl Profiler {
    /// For a run of `setup`; `tick` is told now and then how many blocks have run.
    pub fn new(
        setup: &Setup,
        names: Box<dyn FunctionNames>,
        tick: impl FnMut(u64) + 'static,
    ) -> Profiler {
        Profiler {
            walk: Walk::new(setup, names),
            tree: tree::Growing::default(),
            spans: spans::Growing::new(MOST_SPANS),
            instructions: 0,
            page_faults: 0,
            blocks: 0,
            tick: Box::new(tick),
        }
    }

    /// What has to be observed.
    pub fn interest() -> Interest {
        Interest { blocks: true, ..Interest::default() }
    }

    /// The profile of the run that ended as `outcome` says.
    pub fn finish(mut self, outcome: &Outcome) -> Profile {
        let not_run = self.walk.end(outcome);
        self.take_back(not_run);
        let (spans, shortest_span) = self.spans.finish(self.instructions);
        Profile {
            tree: self.tree.finish(self.walk.into_functions()),
            spans,
            shortest_span,
            page_faults: self.page_faults,
        }
    }

    fn take_back(&mut self, instructions: u32) {
        self.instructions = self.instructions.saturating_sub(instructions.into());
        self.tree.take_back(instructions);
    }
}

impl Observer for Profiler {
    fn event(&mut self, event: &Event, view: &View) {
        let Event::Block { address, size } = *event else {
            self.page_faults +=
                u64::from(matches!(event, Event::PageFault { delivered: true, .. }));
            let not_run = self.walk.event(event, view);
            return self.take_back(not_run);
        };
        let step = self.walk.block(address, size, view);
        self.tree.step(&step);
        self.spans.step(&step, self.instructions);
        self.instructions += u64::from(step.instructions);
        self.blocks += 1;
        if self.blocks.is_multiple_of(TICK) {
            (self.tick)(self.blocks);
        }
    }
}
