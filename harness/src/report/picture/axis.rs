// SPDX-License-Identifier: GPL-2.0-only
//! An axis of addresses that shows a page and a terabyte on the same picture: each stretch between two points of interest
//! is drawn as high as the logarithm of its length, and where nothing is, the axis is broken.

use crate::case::MemoryEntry;
use crate::range::Range;

/// Height of a stretch in which nothing is, with the sign that the axis is broken there.
const BREAK: f64 = 18.0;
/// Heights of a stretch in which something lies, by what it is.
const THING: (f64, f64) = (7.0, 34.0);
const MEMORY: (f64, f64) = (12.0, 20.0);

/// What a stretch of addresses holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Something that the picture shows.
    Thing,
    /// Memory, but nothing in it.
    Memory,
    /// Neither.
    Nothing,
}

/// Where addresses are on the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Addresses and where they are drawn, both growing.
    knots: Vec<(u64, f64)>,
    /// The middles of stretches in which nothing is.
    breaks: Vec<f64>,
}

impl Axis {
    /// An axis through the ends of all `things` and of all `memory`, and through `marks`.
    pub fn through(things: &[Range], memory: &[MemoryEntry], marks: &[u64]) -> Axis {
        let memory: Vec<Range> = memory.iter().map(MemoryEntry::range).collect();
        let ends = things.iter().chain(&memory).flat_map(|range| [range.start, range.end]);
        Axis::new(ends.chain(marks.iter().copied()).collect(), |stretch| {
            if things.iter().any(|range| range.overlaps(stretch)) {
                Content::Thing
            } else if memory.iter().any(|range| range.overlaps(stretch)) {
                Content::Memory
            } else {
                Content::Nothing
            }
        })
    }

    /// An axis through `points`, in any order; `content` says what is between two of them.
    fn new(mut points: Vec<u64>, content: impl Fn(Range) -> Content) -> Axis {
        points.sort_unstable();
        points.dedup();
        let mut y = 0.0;
        let mut knots: Vec<(u64, f64)> =
            points.first().map(|first| (*first, y)).into_iter().collect();
        let mut breaks = Vec::new();
        for pair in points.windows(2) {
            let stretch = Range::new(pair[0], pair[1]);
            let content = content(stretch);
            let height = match content {
                Content::Thing => scaled(stretch, THING),
                Content::Memory => scaled(stretch, MEMORY),
                Content::Nothing => BREAK,
            };
            breaks.extend((content == Content::Nothing).then_some(y + height / 2.0));
            y += height;
            knots.push((stretch.end, y));
        }
        Axis { knots, breaks }
    }

    /// Where `address` is drawn; what lies outside is drawn at the ends.
    pub fn y(&self, address: u64) -> f64 {
        let next = self.knots.partition_point(|(knot, _)| *knot <= address);
        let Some((from, top)) = next.checked_sub(1).and_then(|last| self.knots.get(last)) else {
            return 0.0;
        };
        let Some((to, bottom)) = self.knots.get(next) else { return *top };
        top + (bottom - top) * ((address - from) as f64 / (to - from) as f64)
    }

    /// Where the last point is drawn.
    pub fn height(&self) -> f64 {
        self.knots.last().map_or(0.0, |(_, y)| *y)
    }

    /// Where the axis is broken.
    pub fn breaks(&self) -> &[f64] {
        &self.breaks
    }
}

/// A height between `least` and `most`, that grows by the same for twice the length.
fn scaled(stretch: Range, (least, most): (f64, f64)) -> f64 {
    let pages = stretch.len() as f64 / 4096.0;
    (least + 1.25 * (1.0 + pages).log2()).min(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(seed: u64) -> impl Fn(Range) -> Content {
        move |range| match (range.start ^ seed) % 3 {
            0 => Content::Thing,
            1 => Content::Memory,
            _ => Content::Nothing,
        }
    }

    proptest! {
        #[test]
        fn higher_addresses_are_never_drawn_above_lower_ones(
            points in proptest::collection::vec(any::<u64>(), 0..40),
            mut asked in proptest::collection::vec(any::<u64>(), 2..40),
            seed in any::<u64>(),
        ) {
            let axis = Axis::new(points.clone(), content(seed));
            asked.extend(points);
            asked.sort_unstable();
            for pair in asked.windows(2) {
                let (above, below) = (axis.y(pair[0]), axis.y(pair[1]));
                prop_assert!(above <= below, "{pair:?} at {above}, {below}");
                prop_assert!((0.0..=axis.height()).contains(&below));
            }
        }
    }

    #[test]
    fn points_of_interest_are_told_apart_at_any_distance() {
        let points = [0, 1, 0x1000, 0x1001, 1 << 30, 1 << 52, u64::MAX - 1, u64::MAX];
        let axis = Axis::new(points.to_vec(), |_| Content::Thing);
        for pair in points.windows(2) {
            assert!(axis.y(pair[1]) - axis.y(pair[0]) >= THING.0, "{pair:x?}");
        }
        assert!(axis.height() < 8.0 * THING.1);
    }

    #[test]
    fn where_nothing_is_the_axis_is_broken_whatever_the_distance() {
        let empty = |range: Range| match range.start {
            0x2000 => Content::Nothing,
            _ => Content::Thing,
        };
        let axis = Axis::new(vec![0x1000, 0x2000, 1 << 52, (1 << 52) + 1], empty);
        let [only] = axis.breaks() else { panic!("{:?}", axis.breaks()) };
        assert!(axis.y(0x2000) < *only && *only < axis.y(1 << 52));
        assert_eq!(axis.y(1 << 52) - axis.y(0x2000), BREAK);
    }

    #[test]
    fn an_axis_of_nothing_is_flat() {
        let axis = Axis::new(Vec::new(), |_| Content::Thing);
        assert_eq!((axis.y(7), axis.height()), (0.0, 0.0));
        let axis = Axis::new(vec![5, 5], |_| Content::Thing);
        assert_eq!((axis.y(0), axis.y(5), axis.y(u64::MAX)), (0.0, 0.0, 0.0));
    }
}
