// SPDX-License-Identifier: GPL-2.0-only
//! The bytes whose stores tell the phases of a run apart: the first and the last ones that each phase writes.

use crate::case::Case;
use crate::image::WordSize;
use crate::machine::Setup;
use crate::oracle::{Landing, Loaded, Subject, inputs};
use crate::range::Range;
use crate::reference::{self, Passed, fields, unrandomized_virt};

/// Where the kernel goes in a run, and what has to be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Where it was found, or must be.
    pub landing: Landing,
    /// Whether it is relocated for another place than it was linked for.
    pub relocated: bool,
    /// Whether a segment has to move after decompression.
    pub moved: bool,
}

impl Expected {
    /// For a run of `case`: where the kernel was found if it was, else where the reference says; `None` if nobody knows.
    pub fn new(
        subject: &Subject,
        case: &Case,
        setup: &Setup,
        found: Option<Landing>,
    ) -> Option<Expected> {
        let landing = found.or_else(|| predicted(subject, case, setup))?;
        let runs_at = match subject.word {
            WordSize::Bits32 => landing.output,
            WordSize::Bits64 => landing.virt,
        };
        let fields = fields(&subject.table, subject.link).next().is_some();
        let relocated = fields && runs_at != subject.link.physical;
        Some(Expected { landing, relocated, moved: moving(subject).next().is_some() })
    }
}

/// What the reference says without having seen the run.
fn predicted(subject: &Subject, case: &Case, setup: &Setup) -> Option<Landing> {
    let memory = Loaded(setup);
    let passed = Passed::read(&memory, setup.boot_params)?;
    let placement = reference::place(&subject.image, subject.link, setup.stub.address, passed);
    let output = placement.output;
    let unmoved = Landing { output, virt: unrandomized_virt(&subject.image, subject.link, output) };
    match &subject.model {
        Ok(model) if subject.image.stub().kaslr => {
            let prediction = model.predict(&placement, &inputs(setup, &memory)).ok()?;
            Some(Landing { output: prediction.output, virt: prediction.virt })
        }
        Err(_) if subject.image.stub().kaslr && case.asks_for_kaslr() => None,
        _ => Some(unmoved),
    }
}

/// Where segments go that have to move, as offsets in the output.
fn moving(subject: &Subject) -> impl Iterator<Item = Range> + '_ {
    subject.segments.iter().filter(|segment| segment.filesz > 0).filter_map(|segment| {
        let to = segment.paddr.wrapping_sub(subject.link.physical);
        (to != segment.offset).then(|| Range::sized(to, segment.filesz))
    })
}

/// The bytes to be watched, as physical addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// The last byte that is decompressed.
    pub decompressed: Option<Range>,
    /// The first byte that is moved, and the last.
    pub moved: Option<(Range, Range)>,
    /// Fields of the relocation table: the first and the last of each group.
    pub fields: Vec<Range>,
}

impl Cells {
    /// For a kernel that goes where `expected` says.
    pub fn new(subject: &Subject, expected: &Expected) -> Cells {
        let at = |offset: u64, len: u64| {
            Range::sized(expected.landing.output.saturating_add(offset), len)
        };
        let decompressed = (subject.moved.len() as u64).checked_sub(1).map(|last| at(last, 1));
        let moved = moving(subject).next().zip(moving(subject).last());
        let moved =
            moved.map(|(first, last)| (at(first.start, 1), at(last.end.saturating_sub(1), 1)));
        let mut ends: Vec<(_, Range)> = Vec::new();
        for (kind, offset, _) in fields(&subject.table, subject.link) {
            let field = at(offset, kind.width() as u64);
            match ends.iter().filter(|(other, _)| *other == kind).count() {
                0 | 1 => ends.push((kind, field)),
                _ => {
                    if let Some(last) = ends.iter_mut().rfind(|(other, _)| *other == kind) {
                        last.1 = field;
                    }
                }
            }
        }
        Cells { decompressed, moved, fields: ends.into_iter().map(|(_, field)| field).collect() }
    }

    /// All of them.
    pub fn ranges(&self) -> Vec<Range> {
        let moved = self.moved.into_iter().flat_map(|(first, last)| [first, last]);
        let all = self.decompressed.into_iter().chain(moved).chain(self.fields.iter().copied());
        let mut all: Vec<Range> = all.collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
