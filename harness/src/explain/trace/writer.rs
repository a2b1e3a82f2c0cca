// SPDX-License-Identifier: GPL-2.0-only
//! Writes what happens in a run to a file, while it happens: memory stays bounded, the file may grow large.

use std::io::{self, Write};

use super::line::{Line, LineFormat};
use super::names::FunctionNames;
use super::walk::{Step, Walk};
use crate::explain::TICK;
use crate::machine::{End, Event, Interest, Observer, Outcome, Setup, View};
use crate::range::Range;

/// What is traced. Copies that the stub makes of itself, and the end of the run, always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Translated blocks.
    Blocks,
    /// Calls and returns, and other ways from function to function.
    Calls,
    /// Stores.
    Writes,
    /// Page faults.
    Faults,
    /// Accesses to ports.
    Ports,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Blocks, Kind::Calls, Kind::Writes, Kind::Faults, Kind::Ports];
}

/// What is written of a run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// What is traced.
    pub kinds: Vec<Kind>,
    /// Only what happens here; everything if there is none. Stores are told by the address that they write, page faults by the
    /// missing page or the instruction, all else by the instruction.
    pub ranges: Vec<Range>,
    /// How lines are written.
    pub format: LineFormat,
    /// After so many lines nothing more is written, but a line that says so.
    pub limit: u64,
}

impl TraceOptions {
    /// What has to be observed.
    pub fn interest(&self) -> Interest {
        let everywhere = [Range::new(0, u64::MAX)];
        let ranges = if self.ranges.is_empty() { &everywhere[..] } else { &self.ranges };
        let writes = if self.has(Kind::Writes) { apart(ranges) } else { Vec::new() };
        Interest { blocks: true, writes, ..Interest::default() }
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    fn covers(&self, address: u64) -> bool {
        self.ranges.is_empty() || self.ranges.iter().any(|range| range.contains(address))
    }
}

/// The same addresses in ranges that do not overlap: a store is told once for each range that it is in.
fn apart(ranges: &[Range]) -> Vec<Range> {
    let mut sorted: Vec<Range> = ranges.iter().copied().filter(|range| !range.is_empty()).collect();
    sorted.sort_unstable();
    let mut apart: Vec<Range> = Vec::new();
    for range in sorted {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// How much was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Lines, without the one that says that there are no more.
    pub lines: u64,
    /// Lines that were left out, because there are too many.
    pub left_out: u64,
}

/// Writes a trace.
pub struct Tracer<W: Write> {
    options: TraceOptions,
    walk: Walk,
    out: W,
    blocks: u64,
    written: Written,
    error: Option<io::Error>,
    tick: Box<dyn FnMut(u64)>,
}

impl<W: Write> Tracer<W> {
    /// For a run of `setup`; `tick` is told now and then how many blocks have run.
    pub fn new(
        options: TraceOptions,
        setup: &Setup,
        names: Box<dyn FunctionNames>,
        out: W,
        tick: impl FnMut(u64) + 'static,
    ) -> Tracer<W> {
        Tracer {
            options,
            walk: Walk::new(setup, names),
            out,
            blocks: 0,
            written: Written { lines: 0, left_out: 0 },
            error: None,
            tick: Box::new(tick),
        }
    }

    /// Writes how the run ended.
    ///
    /// # Errors
    /// The first one that the writer gave.
    pub fn finish(mut self, outcome: &Outcome) -> io::Result<Written> {
        if self.written.left_out > 0 && self.error.is_none() {
            let end = format!(
                "after {} lines; {} more are left out",
                self.written.lines, self.written.left_out
            );
            let cut = Line { block: self.blocks, event: "cut", end: Some(end), ..Line::default() };
            self.put(&cut);
        }
        let rip = outcome.registers.rip;
        let place = match outcome.end {
            End::HandOff => String::new(),
            _ => self.walk.place(rip),
        };
        let end = Line {
            block: self.blocks,
            event: "end",
            at: Some(rip),
            place,
            end: Some(told(&outcome.end)),
            ..Line::default()
        };
        self.put(&end);
        match self.error {
            Some(error) => Err(error),
            None => self.out.flush().map(|()| self.written),
        }
    }

    fn block(&mut self, address: u64, size: u32, view: &View) {
        let depth = self.walk.depth();
        let step = self.walk.block(address, size, view);
        self.blocks += 1;
        if self.blocks.is_multiple_of(TICK) {
            (self.tick)(self.blocks);
        }
        if self.options.has(Kind::Calls) {
            self.calls(&step, address, depth);
        }
        if self.options.has(Kind::Blocks) && self.options.covers(address) {
            let line = Line {
                block: self.blocks,
                event: "block",
                size: Some(size.into()),
                instructions: Some(step.instructions),
                ..Line::default()
            };
            self.line(address, line);
        }
    }

    /// What led to a block, as the last thing that the block before did.
    fn calls(&mut self, step: &Step, address: u64, depth: usize) {
        let at = step.from.unwrap_or(address);
        if step.left == 0 && step.entered.is_none() || !self.options.covers(at) {
            return;
        }
        let line = match step.entered {
            Some(entered) => Line {
                event: if step.left > 0 { "move" } else { "call" },
                function: Some(self.walk.name(entered.function).to_owned()),
                by: entered.how.word(),
                ..Line::default()
            },
            None => Line { event: "return", ..Line::default() },
        };
        let block = self.blocks - 1;
        self.line(at, Line { block, to: Some(address), depth: Some(depth), ..line });
    }

    /// Writes a line about the instruction at `at`.
    fn line(&mut self, at: u64, line: Line) {
        if self.written.lines >= self.options.limit {
            self.written.left_out += 1;
            return;
        }
        self.written.lines += 1;
        let place = self.walk.place(at);
        self.put(&Line { at: Some(at), place, ..line });
    }

    fn put(&mut self, line: &Line) {
        if self.error.is_none() {
            self.error = line.write(self.options.format, &mut self.out).err();
        }
    }
}

impl<W: Write> Observer for Tracer<W> {
    fn event(&mut self, event: &Event, view: &View) {
        if let Event::Block { address, size } = *event {
            return self.block(address, size, view);
        }
        self.walk.event(event, view);
        if let Some((at, line)) = self.told(event, view) {
            self.line(at, Line { block: self.blocks, ..line });
        }
    }
}

impl<W: Write> Tracer<W> {
    /// What a line says of an event that is no block, and the instruction that it is about; none if it is not wanted.
    fn told(&self, event: &Event, view: &View) -> Option<(u64, Line)> {
        let options = &self.options;
        let (wanted, at, line) = match *event {
            // Only those that are wanted are observed.
            Event::Write { address, size, value } => {
                let line = Line { event: "write", address: Some(address), ..sized(size, value) };
                (true, view.instruction_pointer(), line)
            }
            Event::PageFault { address, instruction, error_code, delivered } => {
                let near = options.covers(address) || options.covers(instruction);
                let line = Line {
                    event: "fault",
                    address: Some(address),
                    error: Some(error_code),
                    handled: Some(delivered),
                    ..Line::default()
                };
                (options.has(Kind::Faults) && near, instruction, line)
            }
            Event::Port { port, size, value, written } => {
                let at = view.instruction_pointer();
                let event = if written { "out" } else { "in" };
                let line = Line { event, port: Some(port.into()), ..sized(size, value.into()) };
                (options.has(Kind::Ports) && options.covers(at), at, line)
            }
            Event::NewCopy { base, range } => {
                let size = Some(range.len());
                let line =
                    Line { event: "copy", address: Some(range.start), size, ..Line::default() };
                let line = Line { value: Some(range.start.wrapping_sub(base)), ..line };
                (true, view.instruction_pointer(), line)
            }
            Event::Block { .. } | Event::Instruction { .. } => return None,
        };
        wanted.then_some((at, line))
    }
}

fn sized(size: usize, value: u64) -> Line {
    Line { size: Some(size as u64), value: Some(value), ..Line::default() }
}

/// How a run ended, in words.
pub fn told(end: &End) -> String {
    match end {
        End::HandOff => "hand-off".into(),
        End::Halted => "halted".into(),
        End::Fault { vector, address: Some(address) } => {
            format!("exception {vector} at {address:#x} that nobody handles")
        }
        End::Fault { vector, address: None } => format!("exception {vector} that nobody handles"),
        End::OutsideRam { address, access } => format!("{access} at {address:#x}, where no RAM is"),
        End::Budget { blocks } => format!("budget of {blocks} blocks used up"),
        End::Unsupported(what) => format!("cannot be emulated: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let range = Range::new;
        let ranges = [range(8, 9), range(3, 5), range(0, 4), range(5, 6), range(7, 7)];
        assert_eq!(apart(&ranges), [range(0, 6), range(8, 9)]);
    }
}
