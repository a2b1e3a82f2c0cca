// SPDX-License-Identifier: GPL-2.0-only
//! When each function ran, from its first instruction to its last, for a time line.
//!
//! A run may have many millions of calls. The shortest ones are left out as far as that is needed to keep the rest in bounded
//! memory.

use super::names::FunctionId;
use super::walk::{How, Step};

/// So many spans are kept at most.
pub const MOST_SPANS: usize = 1 << 17;

/// One time that a function ran. Times are instructions since the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Number of the function among those of the call tree.
    pub function: usize,
    /// How it was entered.
    pub how: How,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// How many functions were running then.
    pub depth: usize,
}

impl Span {
    fn len(&self) -> u64 {
        self.end - self.start
    }
}

/// Spans of a run that goes on.
pub struct Growing {
    open: Vec<Span>,
    done: Vec<Span>,
    shortest: u64,
    most: usize,
}

impl Growing {
    /// None yet; at most `most` will be kept.
    pub fn new(most: usize) -> Growing {
        Growing { open: Vec::new(), done: Vec::new(), shortest: 0, most }
    }

    /// A block of a run begins, after `now` instructions.
    pub fn step(&mut self, step: &Step, now: u64) {
        for _ in 0..step.left {
            self.close(now);
        }
        if let Some(entered) = step.entered {
            let FunctionId(function) = entered.function;
            self.open.push(Span {
                function: function as usize,
                how: entered.how,
                start: now,
                end: now,
                depth: self.open.len(),
            });
        }
    }

    /// The spans by their start, outer ones first, and the length below which they were left out.
    pub fn finish(mut self, now: u64) -> (Vec<Span>, u64) {
        while !self.open.is_empty() {
            self.close(now);
        }
        self.done.sort_by_key(|span| (span.start, span.depth));
        (self.done, self.shortest)
    }

    fn close(&mut self, now: u64) {
        let Some(span) = self.open.pop() else { return };
        let span = Span { end: now.max(span.start), ..span };
        if span.len() < self.shortest {
            return;
        }
        self.done.push(span);
        while self.done.len() > self.most {
            let mut lengths: Vec<u64> = self.done.iter().map(Span::len).collect();
            let middle = lengths.len() / 2;
            let (_, median, _) = lengths.select_nth_unstable(middle);
            let shortest = (*median).max(self.shortest + 1);
            self.done.retain(|span| span.len() >= shortest);
            self.shortest = shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::Entered;
    use super::*;

    fn call(left: usize) -> Step {
        let entered = Entered { function: FunctionId(1), how: How::Call };
        Step { left, entered: Some(entered), ..Step::default() }
    }

    fn back() -> Step {
        Step { left: 1, ..Step::default() }
    }

    #[test]
    fn the_longest_spans_are_kept_in_order() {
        let mut growing = Growing::new(8);
        growing.step(&call(0), 0);
        let mut now = 10;
        for length in 0..100 {
            growing.step(&call(0), now);
            now += length;
            growing.step(&back(), now);
        }
        let (spans, shortest) = growing.finish(now);
        assert!(spans.len() <= 8 && spans.len() >= 3, "{spans:?}");
        assert_eq!((spans[0].start, spans[0].end, spans[0].depth), (0, now, 0));
        assert!(spans.iter().all(|span| span.len() >= shortest));
        assert!(spans.windows(2).all(|pair| pair[0].start <= pair[1].start));
    }
}
