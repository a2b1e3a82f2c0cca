// SPDX-License-Identifier: GPL-2.0-only
//! How high each address is on the picture.

use super::LEAST;
use super::places::Space;
use crate::range::Range;
use crate::report::picture::Axis;

/// The axis of addresses.
pub struct Layout {
    /// The axis.
    pub axis: Axis,
}

impl Layout {
    /// An axis through the ends of all that is shown.
    pub fn of(space: &Space) -> Layout {
        let places = space.places.iter().map(|place| place.range);
        let things: Vec<Range> =
            places.chain(space.stretches.iter().map(|stretch| stretch.range)).collect();
        let marks: Vec<u64> = space.marks.iter().map(|mark| mark.address).collect();
        Layout { axis: Axis::through(&things, &space.memory, &marks) }
    }

    /// Upper edge and height of a range.
    pub fn span(&self, range: Range) -> (f64, f64) {
        let (top, bottom) = (self.axis.y(range.start), self.axis.y(range.end));
        (top, (bottom - top).max(LEAST))
    }

    /// Addresses worth writing beside the picture, the most important first: where things begin, where regions begin, and
    /// where all of that ends.
    pub fn ticks(&self, space: &Space) -> Vec<u64> {
        let places = space.places.iter().map(|place| place.range);
        let memory = space.memory.iter().map(|entry| entry.range());
        let ranges: Vec<Range> = places.chain(memory).collect();
        let starts = ranges.iter().map(|range| range.start);
        starts.chain(ranges.iter().map(|range| range.end)).collect()
    }
}
