// SPDX-License-Identifier: GPL-2.0-only
//! What of a case lies where: all that a picture of its memory shows.

use crate::case::{Case, MemoryEntry, SETUP_DATA_HEADER};
use crate::machine::PAGE;
use crate::range::Range;
use crate::record::{CaseRecord, Facts, Found};
use crate::report::picture::{PHYSICAL_BITS, worth_showing};

/// More nodes of setup_data are only counted.
const MOST_NODES: usize = 4;
/// More wrong places are only counted.
const MOST_MARKS: usize = 4;

/// What something is, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The image as the loader put it into memory.
    Stub,
    /// The room that the stub asked for.
    Window,
    /// The kernel.
    Kernel,
    /// The initial RAM disk.
    Initrd,
    /// What else the loader left.
    Loader,
}

/// Something that lies in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// What the picture calls it.
    pub name: &'static str,
    /// Where it lies.
    pub range: Range,
}

/// An address at which something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub address: u64,
    /// The rule that is broken there.
    pub rule: &'static str,
    /// Whether that is known.
    pub known: bool,
}

/// The physical address space of one case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// The regions of the memory map, by address.
    pub memory: Vec<MemoryEntry>,
    /// What lies in it.
    pub things: Vec<Thing>,
    /// What is wrong, by address.
    pub marks: Vec<Mark>,
    /// What is wrong at an address that no physical memory can have.
    pub beyond: Vec<Mark>,
    /// How much of what kind is not shown.
    pub left_out: Vec<(usize, &'static str)>,
}

impl Space {
    /// The memory of `case`, which ended as `record` says.
    pub fn of(facts: &Facts, record: &CaseRecord, case: &Case) -> Space {
        let mut left_out = Vec::new();
        let mut count = |all: usize, most: usize, what| {
            left_out.extend((all > most).then(|| (all - most, what)));
        };
        let things = things(facts, record, case);
        let holds = |range: Range| things.iter().any(|thing| thing.range.overlaps(range));
        let memory = worth_showing(&case.memory, holds);
        count(case.setup_data.len(), MOST_NODES, "nodes of setup_data");
        count(case.memory.len(), memory.len(), "regions of the memory map");
        let physical = |mark: &Mark| mark.address < 1 << PHYSICAL_BITS;
        let (mut marks, mut beyond): (Vec<Mark>, Vec<Mark>) =
            marks(&record.judgement.findings).into_iter().partition(physical);
        count(marks.len(), MOST_MARKS, "wrong places");
        count(beyond.len(), MOST_MARKS, "wrong addresses");
        marks.truncate(MOST_MARKS);
        beyond.truncate(MOST_MARKS);
        Space { memory, things, marks, beyond, left_out }
    }
}

fn things(facts: &Facts, record: &CaseRecord, case: &Case) -> Vec<Thing> {
    let mut things = Vec::new();
    let mut add = |kind, name, range: Range| {
        // A report that somebody wrote may have ranges that end before they start.
        let range = Range::new(range.start, range.end.max(range.start));
        things.push(Thing { kind, name, range });
    };
    let output = record.judgement.output;
    add(Kind::Stub, "image as loaded", Range::sized(case.load, facts.loaded_size));
    let needed = case.init_size.unwrap_or(facts.init_size);
    match output {
        // Without KASLR the stub works where the kernel ends up.
        Some(output) if !record.kaslr => {
            add(Kind::Window, "init_size", Range::sized(output, needed));
        }
        _ => add(Kind::Window, "init_size from load", Range::sized(case.load, needed)),
    }
    if let Some(output) = output {
        add(Kind::Kernel, "kernel", Range::sized(output, facts.kernel_size));
    }
    if let Some(initrd) = case.initrd {
        add(Kind::Initrd, "initrd", initrd.range());
    }
    add(Kind::Loader, "boot_params", Range::sized(case.places.boot_params, PAGE));
    if let Some(line) = &case.command_line {
        let bytes = line.len() as u64 + 1;
        add(Kind::Loader, "command line", Range::sized(case.places.command_line, bytes));
    }
    for node in case.setup_data.iter().take(MOST_NODES) {
        let bytes = SETUP_DATA_HEADER + u64::from(node.len);
        add(Kind::Loader, "setup_data", Range::sized(node.address, bytes));
    }
    things
}

/// One mark for each wrong address, the news first.
fn marks(findings: &[Found]) -> Vec<Mark> {
    let mark = |found: &Found| {
        let known = found.known.is_some();
        Some(Mark { address: found.finding.address?, rule: found.finding.rule.name(), known })
    };
    let mut marks: Vec<Mark> = findings.iter().filter_map(mark).collect();
    marks.sort_by_key(|mark| (mark.address, mark.known));
    marks.dedup_by_key(|mark| mark.address);
    marks.sort_by_key(|mark| mark.known);
    marks
}
