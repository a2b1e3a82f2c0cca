// SPDX-License-Identifier: GPL-2.0-only
//! One random number of KASLR's, drawn many times: what could come out, and what did.

use super::fit::{Fit, bins, count, observed_bits};
use super::places::Places;

/// A histogram has at most so many columns.
const COLUMNS: u64 = 240;
/// So many places that were never chosen are named.
const NAMED: usize = 8;

/// A draw with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// What there is to choose from.
    pub places: Places,
    /// Samples taken.
    pub samples: u64,
    /// Samples that are none of the places: the stub found nothing that it could use.
    pub elsewhere: u64,
    /// The lowest and the highest place chosen.
    pub chosen: Option<(u64, u64)>,
    /// Places that were never chosen.
    pub never: u64,
    /// How many those would be on average if all are equally likely.
    pub never_expected: f64,
    /// The lowest of them.
    pub never_first: Vec<u64>,
    /// Entropy in bits if all places are equally likely.
    pub bits: f64,
    /// Entropy in bits that the samples tell of.
    pub observed_bits: f64,
    /// The test against an even draw; `None` where there is no choice.
    pub fit: Option<Fit>,
    /// The samples by address; `None` if there is no place.
    pub histogram: Option<Histogram>,
}

/// Samples by address, in columns of equal width from `start` up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Address at which the first column begins.
    pub start: u64,
    /// Width of a column in bytes: a multiple of the places' distance.
    pub width: u64,
    /// The columns.
    pub columns: Vec<Column>,
}

/// A column of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Samples whose place begins here.
    pub count: u64,
    /// Slots that begin here.
    pub slots: u64,
}

impl Draw {
    /// Sums up `addresses`, the samples of a draw from `places`.
    pub fn new(places: Places, addresses: Vec<u64>) -> Draw {
        let all = addresses.len() as u64;
        // In place: there may be ten million.
        let mut positions = addresses;
        positions.retain_mut(|sample| match places.position(*sample) {
            Some(position) => {
                *sample = position;
                true
            }
            None => false,
        });
        positions.sort_unstable();
        let samples = positions.len() as u64;
        let bins = bins(&places, samples);
        let counts = count(&bins, &positions);
        let (never, never_first) = left_out(&places, &positions);
        let address = |position: Option<&u64>| position.and_then(|at| places.address(*at));
        Draw {
            samples: all,
            elsewhere: all - samples,
            chosen: address(positions.first()).zip(address(positions.last())),
            never,
            never_expected: places.left_out(samples),
            never_first,
            bits: places.bits(),
            observed_bits: observed_bits(&bins, &counts),
            fit: Fit::test(&bins, &counts),
            histogram: Histogram::new(&places, &positions),
            places,
        }
    }
}

/// How many positions do not occur in `positions`, which are sorted, and the first of their addresses.
fn left_out(places: &Places, positions: &[u64]) -> (u64, Vec<u64>) {
    let (mut never, mut first, mut next) = (0, Vec::new(), 0);
    for position in positions.iter().copied().chain([places.count()]) {
        if position > next {
            never += position - next;
            let room = (NAMED - first.len()) as u64;
            let named = (next..position.min(next.saturating_add(room)))
                .filter_map(|position| places.address(position));
            first.extend(named);
        }
        next = next.max(position.saturating_add(1));
    }
    (never, first)
}

impl Histogram {
    fn new(places: &Places, positions: &[u64]) -> Option<Histogram> {
        let (start, last) = places.ends()?;
        let steps = (last - start) / places.step;
        let steps_per_column = steps / COLUMNS + 1;
        let mut columns = vec![Column::default(); (steps / steps_per_column + 1) as usize];
        for stretch in &places.stretches {
            let mut from = (stretch.start - start) / places.step;
            let end = from + stretch.count;
            while from < end {
                let column = from / steps_per_column;
                let next = ((column + 1) * steps_per_column).min(end);
                columns[column as usize].slots += (next - from) * stretch.weight;
                from = next;
            }
        }
        for address in positions.iter().filter_map(|position| places.address(*position)) {
            let step = (address - start) / places.step;
            columns[(step / steps_per_column) as usize].count += 1;
        }
        Some(Histogram { start, width: steps_per_column * places.step, columns })
    }

    /// First address behind the columns.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.width.saturating_mul(self.columns.len() as u64))
    }

    /// The same with at most `most` columns.
    pub fn coarser(&self, most: usize) -> Histogram {
        let together = self.columns.len().div_ceil(most.max(1)).max(1);
        let sum = |columns: &[Column]| Column {
            count: columns.iter().map(|column| column.count).sum(),
            slots: columns.iter().map(|column| column.slots).sum(),
        };
        Histogram {
            start: self.start,
            width: self.width.saturating_mul(together as u64),
            columns: self.columns.chunks(together).map(sum).collect(),
        }
    }

    /// Samples and slots of all columns.
    pub fn total(&self) -> Column {
        let [whole] = self.coarser(1).columns[..] else { return Column::default() };
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(areas: &[(u64, u64)], addresses: &[u64]) -> Draw {
        Draw::new(Places::new(areas, 0x100).unwrap(), addresses.to_vec())
    }

    #[test]
    fn samples_are_summed_up() {
        let draw = draw(&[(0x800, 2), (0x100, 3)], &[0x900, 0x200, 0x200, 0x7000]);
        assert_eq!((draw.samples, draw.elsewhere), (4, 1));
        assert_eq!(draw.chosen, Some((0x200, 0x900)));
        assert_eq!((draw.never, draw.never_first), (3, vec![0x100, 0x300, 0x800]));
        assert!((draw.never_expected - 5.0 * 0.8f64.powi(3)).abs() < 1e-12);
    }

    #[test]
    fn of_many_places_left_out_only_the_first_are_named() {
        let draw = draw(&[(0, 1000)], &[0, 0x100, 0x500]);
        let named = [2, 3, 4, 6, 7, 8, 9, 10].map(|number| number * 0x100);
        assert_eq!((draw.never, &draw.never_first[..]), (997, &named[..]));
    }

    #[test]
    fn nothing_to_choose_from_and_no_sample_are_no_trouble() {
        let none = draw(&[], &[0x100, 0x100]);
        assert_eq!((none.elsewhere, none.chosen, none.never), (2, None, 0));
        assert_eq!((none.fit, none.histogram), (None, None));
        let one = draw(&[(0x100, 1)], &[0x100; 9]);
        assert_eq!((one.bits, one.observed_bits, one.fit, one.never), (0.0, 0.0, None, 0));
        let unseen = draw(&[(0x100, 3)], &[]);
        assert_eq!((unseen.never, unseen.observed_bits, unseen.fit), (3, 0.0, None));
    }

    #[test]
    fn columns_are_as_wide_as_whole_steps() {
        let draw = draw(&[(0x1000, 479), (0x80000, 2)], &[0x1000, 0x80100]);
        let histogram = draw.histogram.unwrap();
        let steps = (0x80100 - 0x1000) / 0x100 + 1;
        assert!(
            histogram.columns.len() <= COLUMNS as usize && histogram.width.is_multiple_of(0x100)
        );
        assert_eq!(histogram.columns.len() as u64, u64::div_ceil(steps, histogram.width / 0x100));
        assert_eq!(histogram.total(), Column { count: 2, slots: 481 });
        assert!(histogram.columns.iter().any(|column| column.slots == 0), "the hole shows");
        let coarse = histogram.coarser(80);
        assert!(coarse.columns.len() <= 80 && coarse.end() >= histogram.end());
        assert_eq!(coarse.total(), histogram.total());
    }
}
