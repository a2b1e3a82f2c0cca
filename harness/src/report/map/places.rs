// SPDX-License-Identifier: GPL-2.0-only
//! What lies where in a run: all that the picture names.

use super::MapReport;
use crate::case::{MemoryEntry, objects};
use crate::explain::phases::Phase;
use crate::machine::PAGE;
use crate::oracle::{Loaded, Subject};
use crate::range::Range;
use crate::reference::{self, Passed};
use crate::report::picture::{PHYSICAL_BITS, worth_showing};
use crate::report::size::size;

/// More of each are only counted.
const MOST_OBJECTS: usize = 14;
const MOST_MARKS: usize = 8;
/// A phase is drawn in so many pieces at most.
const MOST_STRETCHES: usize = 8;

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the picture calls it.
    pub name: &'static str,
    /// Where it lies.
    pub range: Range,
    /// Whether the stub may write there.
    pub permitted: bool,
}

impl Place {
    /// Name, address, length.
    pub fn text(&self) -> String {
        format!("{} {:#x} + {}", self.name, self.range.start, size(self.range.len()))
    }
}

/// A wrong address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub address: u64,
    /// The rule that is broken there.
    pub rule: &'static str,
    /// The whole finding.
    pub finding: String,
}

impl Mark {
    /// Rule and address.
    pub fn text(&self) -> String {
        format!("✗ {} {:#x}", self.rule, self.address)
    }
}

/// Pages that a phase changed, near enough to each other to be drawn as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// From the first of them to the last.
    pub range: Range,
    /// Bytes in those that changed.
    pub changed: u64,
    /// The phase that changed them.
    pub phase: Phase,
}

/// The physical address space of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// The regions of the memory map, by address.
    pub memory: Vec<MemoryEntry>,
    /// What lies in it.
    pub places: Vec<Place>,
    /// What is wrong.
    pub marks: Vec<Mark>,
    /// What each phase changed.
    pub stretches: Vec<Stretch>,
    /// How much of what kind is not shown.
    pub left_out: Vec<(usize, &'static str)>,
}

impl Space {
    /// The address space of the run in `report`.
    pub fn of(report: &MapReport) -> Space {
        let mut left_out = Vec::new();
        let mut places = own(report);
        let mut theirs = loaders(report);
        places.extend(theirs.drain(..theirs.len().min(MOST_OBJECTS)));
        let (mut marks, beyond) = marks(report);
        let more = marks.len().saturating_sub(MOST_MARKS);
        marks.truncate(MOST_MARKS);
        let records = report.phases.records.iter();
        let stretches: Vec<Stretch> =
            records.flat_map(|record| stretches(record.phase, &record.changed)).collect();
        let holds = |range: Range| {
            places.iter().any(|place| place.range.overlaps(range))
                || stretches.iter().any(|stretch| stretch.range.overlaps(range))
        };
        let memory = worth_showing(&report.case.memory, holds);
        for (count, what) in [
            (theirs.len(), "objects of the loader"),
            (report.case.memory.len() - memory.len(), "regions of the memory map"),
            (more, "wrong addresses"),
            (beyond, "wrong addresses where no memory can be"),
        ] {
            left_out.extend((count > 0).then_some((count, what)));
        }
        Space { memory, places, marks, stretches, left_out }
    }
}

/// The stub's own: the image as loaded, its copy, the window, the kernel, and what else it may write.
fn own(report: &MapReport) -> Vec<Place> {
    let MapReport { subject, setup, .. } = report;
    let mut places = Vec::new();
    let mut add = |name, range: Range, permitted| {
        places.extend((!range.is_empty()).then_some(Place { name, range, permitted }));
    };
    let window = window(subject, report);
    let file = setup.stub.range();
    let stub = subject.image.stub_size().unwrap_or(file.len()).max(file.len());
    add("image as loaded", Range::sized(file.start, stub), true);
    if let Some((_, range)) = report.phases.copy {
        add("copy of the stub", range, false);
    }
    if let Some(expected) = report.expected {
        let output = expected.landing.output;
        add("kernel", Range::sized(output, subject.moved.len() as u64), true);
    }
    if let Some(window) = window {
        add("init_size window", window, true);
    }
    if report.case.screen {
        add("text screen", report.case.devices.screen_memory(), true);
    }
    places
}

/// The room that the header asks for, where the stub works before KASLR has a say.
fn window(subject: &Subject, report: &MapReport) -> Option<Range> {
    let passed = Passed::read(&Loaded(report.setup), report.setup.boot_params)?;
    let load = report.setup.stub.address;
    Some(reference::place(&subject.image, subject.link, load, passed).window)
}

/// What the loader left beside the image.
fn loaders(report: &MapReport) -> Vec<Place> {
    let objects = objects(report.case).into_iter().map(|object| Place {
        name: object.what,
        range: match object.what {
            "boot_params" => Range::sized(object.range.start, PAGE),
            _ => object.range,
        },
        permitted: object.what == "boot_params",
    });
    let tables = report.setup.placed.iter().filter(|placed| placed.what.contains("page tables"));
    let tables =
        tables.map(|placed| Place { name: "page tables", range: placed.range(), permitted: false });
    objects.chain(tables).filter(|place| !place.range.is_empty()).collect()
}

/// The findings at an address that physical memory can have, by rule and address, and how many others have one.
fn marks(report: &MapReport) -> (Vec<Mark>, usize) {
    let mut marks: Vec<Mark> = Vec::new();
    let mut beyond = 0;
    for finding in &report.judgement.findings {
        match finding.address {
            Some(address) if address < 1 << PHYSICAL_BITS => {
                let rule = finding.rule.name();
                if !marks.iter().any(|mark| mark.address == address && mark.rule == rule) {
                    marks.push(Mark { address, rule, finding: finding.to_string() });
                }
            }
            Some(_) => beyond += 1,
            None => {}
        }
    }
    (marks, beyond)
}

/// Changed pages in few stretches: gaps between them are passed over, the smallest first.
fn stretches(phase: Phase, changed: &[Range]) -> Vec<Stretch> {
    let mut gaps: Vec<u64> =
        changed.windows(2).map(|pair| pair[1].start.saturating_sub(pair[0].end)).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    let passed_over = gaps.get(MOST_STRETCHES - 1).copied().unwrap_or(0);
    let mut stretches: Vec<Stretch> = Vec::new();
    for range in changed {
        match stretches.last_mut() {
            Some(last) if range.start.saturating_sub(last.range.end) <= passed_over => {
                last.range.end = range.end;
                last.changed += range.len();
            }
            _ => stretches.push(Stretch { range: *range, changed: range.len(), phase }),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_gaps_are_passed_over() {
        let page = |start: u64| Range::sized(start, PAGE);
        let few = [page(0x1000), page(0x9000)];
        let all = |stretches: &[Stretch]| stretches.iter().map(|s| s.range).collect::<Vec<_>>();
        assert_eq!(all(&stretches(Phase::Moved, &few)), few);
        // Each gap is a page longer than the one before.
        let mut start = 0;
        let many: Vec<Range> = (0..20)
            .map(|number| {
                start += PAGE * (number + 2);
                page(start)
            })
            .collect();
        let stretches = stretches(Phase::Moved, &many);
        assert_eq!(stretches.len(), MOST_STRETCHES);
        assert_eq!(stretches[0].range, Range::new(many[0].start, many[12].end));
        assert_eq!(stretches[0].changed, 13 * PAGE);
        assert_eq!(stretches[1].range, many[13]);
    }
}
