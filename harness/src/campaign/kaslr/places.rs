// SPDX-License-Identifier: GPL-2.0-only
//! The places that KASLR draws from, in the order of their addresses.
//!
//! A memory map may name the same memory twice. The stub then counts its places twice, and chooses them twice as often.

use std::collections::BTreeMap;

/// Places at equal distances, all equally likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Address of the first.
    pub start: u64,
    /// How many there are.
    pub count: u64,
    /// How often the stub counts each of them.
    pub weight: u64,
    /// How many places lie below.
    pub below: u64,
}

/// All places of one draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Distance of two neighbours in bytes.
    pub step: u64,
    /// In ascending order; none overlaps another.
    pub stretches: Vec<Stretch>,
    /// What the stub's random number is reduced by: the places with their weights.
    pub slots: u64,
}

impl Places {
    /// The places of `areas`, each a first address and a count.
    ///
    /// # Errors
    ///
    /// They overflow the address space, or do not stand at multiples of `step` from each other: no real memory map gives
    /// that.
    pub fn new(areas: &[(u64, u64)], step: u64) -> Result<Places, String> {
        let overflow = || "KASLR's places do not fit into the address space".to_owned();
        let phase = areas.first().map_or(0, |(start, _)| start % step);
        let mut changes: BTreeMap<u64, i64> = BTreeMap::new();
        for &(start, count) in areas.iter().filter(|(_, count)| *count > 0) {
            if start % step != phase {
                return Err(format!(
                    "KASLR's area at {start:#x} is not aligned like the first one"
                ));
            }
            let first = start / step;
            let end = first.checked_add(count).ok_or_else(overflow)?;
            end.checked_mul(step).ok_or_else(overflow)?;
            *changes.entry(first).or_default() += 1;
            *changes.entry(end).or_default() -= 1;
        }
        let mut places = Places { step, stretches: Vec::new(), slots: 0 };
        let (mut weight, mut from, mut below) = (0, 0, 0);
        for (at, change) in changes.into_iter().filter(|(_, change)| *change != 0) {
            if weight > 0 {
                let stretch =
                    Stretch { start: from * step + phase, count: at - from, weight, below };
                below += stretch.count;
                let slots = stretch.count.checked_mul(weight).ok_or_else(overflow)?;
                places.slots = places.slots.checked_add(slots).ok_or_else(overflow)?;
                places.stretches.push(stretch);
            }
            from = at;
            weight = weight.checked_add_signed(change).ok_or_else(overflow)?;
        }
        Ok(places)
    }

    /// How many addresses there are.
    pub fn count(&self) -> u64 {
        self.stretches.last().map_or(0, |last| last.below + last.count)
    }

    /// The lowest and the highest place.
    pub fn ends(&self) -> Option<(u64, u64)> {
        let (first, last) = (self.stretches.first()?, self.stretches.last()?);
        Some((first.start, last.start + (last.count - 1) * self.step))
    }

    /// The number of places below the one at `address`, if there is one.
    pub fn position(&self, address: u64) -> Option<u64> {
        let behind = self.stretches.partition_point(|stretch| stretch.start <= address);
        let stretch = self.stretches[..behind].last()?;
        let offset = address - stretch.start;
        let fits = offset.is_multiple_of(self.step) && offset / self.step < stretch.count;
        fits.then(|| stretch.below + offset / self.step)
    }

    /// The place with `position` places below.
    pub fn address(&self, position: u64) -> Option<u64> {
        let behind = self.stretches.partition_point(|stretch| stretch.below <= position);
        let stretch = self.stretches[..behind].last()?;
        let number = position - stretch.below;
        (number < stretch.count).then(|| stretch.start + number * self.step)
    }

    /// The entropy of an ideal draw in bits.
    pub fn bits(&self) -> f64 {
        let slots = self.slots as f64;
        let part = |stretch: &Stretch| {
            let weight = stretch.weight as f64;
            stretch.count as f64 * weight / slots * (slots / weight).log2()
        };
        // The sum of nothing is -0.
        self.stretches.iter().map(part).sum::<f64>() + 0.0
    }

    /// How many places an ideal draw leaves out, on average, when it is repeated `samples` times.
    pub fn left_out(&self, samples: u64) -> f64 {
        let part = |stretch: &Stretch| {
            let missed = (-(stretch.weight as f64 / self.slots as f64)).ln_1p() * samples as f64;
            stretch.count as f64 * missed.exp()
        };
        self.stretches.iter().map(part).sum::<f64>() + 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_by_address_whatever_the_order_of_areas() {
        let places = Places::new(&[(0x800, 2), (0x100, 3)], 0x100).unwrap();
        assert_eq!((places.slots, places.count(), places.ends()), (5, 5, Some((0x100, 0x900))));
        let addresses = [0x100, 0x200, 0x300, 0x800, 0x900];
        for (position, address) in (0..).zip(addresses) {
            assert_eq!(places.position(address), Some(position));
            assert_eq!(places.address(position), Some(address));
        }
        for address in [0, 0x400, 0x700, 0x810, 0xa00, u64::MAX] {
            assert_eq!(places.position(address), None, "{address:#x}");
        }
        assert_eq!(places.address(5), None);
        assert!((places.bits() - 5f64.log2()).abs() < 1e-12);
    }

    #[test]
    fn what_is_counted_twice_weighs_twice() {
        let places = Places::new(&[(0x100, 4), (0x300, 4)], 0x100).unwrap();
        let weights: Vec<_> =
            places.stretches.iter().map(|s| (s.start, s.count, s.weight)).collect();
        assert_eq!(weights, [(0x100, 2, 1), (0x300, 2, 2), (0x500, 2, 1)]);
        assert_eq!((places.slots, places.count()), (8, 6));
        // Four times one eighth, twice one quarter.
        assert!((places.bits() - (4.0 * 3.0 / 8.0 + 2.0 * 2.0 / 4.0)).abs() < 1e-12);
        let left_out = 4.0 * (7f64 / 8.0).powi(3) + 2.0 * (3f64 / 4.0).powi(3);
        assert!((places.left_out(3) - left_out).abs() < 1e-12);
    }

    #[test]
    fn areas_that_touch_are_one_stretch() {
        let places = Places::new(&[(0x100, 2), (0x300, 1)], 0x100).unwrap();
        assert_eq!(places.stretches.len(), 1);
        let one = Places::new(&[(0x100, 1)], 0x100).unwrap();
        assert_eq!((one.bits(), one.left_out(7)), (0.0, 0.0));
    }

    #[test]
    fn there_may_be_none() {
        let places = Places::new(&[], 0x100).unwrap();
        assert_eq!((places.slots, places.ends(), places.position(0)), (0, None, None));
        assert_eq!((places.address(0), places.bits(), places.left_out(9)), (None, 0.0, 0.0));
    }

    #[test]
    fn places_that_no_machine_has_are_refused() {
        for areas in [&[(0x100, 2), (0x280, 1)][..], &[(0x100, u64::MAX)], &[(u64::MAX - 5, 9)]] {
            assert!(Places::new(areas, 0x100).is_err(), "{areas:x?}");
        }
        assert!(Places::new(&[(0, u64::MAX >> 8)], 0x100).is_ok());
    }
}
