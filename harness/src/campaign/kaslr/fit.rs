// SPDX-License-Identifier: GPL-2.0-only
//! Whether a sample looks like an even draw: Pearson's chi-square test.

use super::chi_square::upper_tail;
use super::places::Places;

/// A bin has to expect so many samples, or the statistic does not follow the chi-square distribution (the common rule).
const LEAST_EXPECTED: u64 = 5;

/// Neighbouring places that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bin {
    /// First position behind.
    pub end: u64,
    /// Slots: its places with their weights.
    pub slots: u64,
}

/// A chi-square test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The sum of (observed - expected)^2 / expected.
    pub statistic: f64,
    /// Degrees of freedom: one less than there are bins.
    pub degrees: u64,
    /// How often an even draw gives at least this statistic.
    pub p: f64,
}

/// Groups neighbours until each bin expects at least five of `samples`. The last bin takes what remains.
pub fn bins(places: &Places, samples: u64) -> Vec<Bin> {
    let wanted = places.slots.saturating_mul(LEAST_EXPECTED).div_ceil(samples.max(1));
    let mut bins: Vec<Bin> = Vec::new();
    let mut open = Bin { end: 0, slots: 0 };
    for stretch in &places.stretches {
        let mut left = stretch.count;
        while left > 0 {
            let taken = wanted.saturating_sub(open.slots).div_ceil(stretch.weight).clamp(1, left);
            open = Bin { end: open.end + taken, slots: open.slots + taken * stretch.weight };
            left -= taken;
            if open.slots >= wanted {
                bins.push(open);
                open.slots = 0;
            }
        }
    }
    match bins.last_mut() {
        Some(last) => *last = Bin { end: open.end, slots: last.slots + open.slots },
        None if open.slots > 0 => bins.push(open),
        None => {}
    }
    bins
}

/// How many of `positions`, which are sorted, lie in each bin.
pub fn count(bins: &[Bin], positions: &[u64]) -> Vec<u64> {
    let mut rest = positions;
    let count = |bin: &Bin| {
        let inside = rest.partition_point(|position| *position < bin.end);
        rest = &rest[inside..];
        inside as u64
    };
    bins.iter().map(count).collect()
}

impl Fit {
    /// Whether the draw may be even: one that is looks uneven once in a million times.
    pub fn is_even(&self) -> bool {
        self.p >= 1e-6
    }

    /// Tests `counts` against bins that are as likely as they have slots. `None` where there is nothing to test: fewer
    /// than two bins, or no sample.
    pub fn test(bins: &[Bin], counts: &[u64]) -> Option<Fit> {
        let slots: f64 = bins.iter().map(|bin| bin.slots as f64).sum();
        let samples: f64 = counts.iter().map(|count| *count as f64).sum();
        if bins.len() < 2 || samples == 0.0 {
            return None;
        }
        let term = |(bin, count): (&Bin, &u64)| {
            let expected = samples * bin.slots as f64 / slots;
            (*count as f64 - expected).powi(2) / expected
        };
        let statistic: f64 = bins.iter().zip(counts).map(term).sum();
        let degrees = bins.len() as u64 - 1;
        Some(Fit { statistic, degrees, p: upper_tail(statistic, degrees) })
    }
}

/// The entropy in bits that `counts` tell of, if the places of one bin are equally likely: the estimate of Miller and
/// Madow, which adds (bins - 1) / 2N nats to what the observed frequencies give, as those are always too uneven.
pub fn observed_bits(bins: &[Bin], counts: &[u64]) -> f64 {
    let samples = counts.iter().sum::<u64>() as f64;
    let (mut bits, mut seen, mut start) = (0.0, 0.0, 0);
    for (bin, count) in bins.iter().zip(counts) {
        let places = (bin.end - start) as f64;
        start = bin.end;
        if *count > 0 {
            let part = *count as f64 / samples;
            bits += part * (places / part).log2();
            seen += 1.0;
        }
    }
    if seen == 0.0 { 0.0 } else { bits + (seen - 1.0) / (2.0 * samples * 2f64.ln()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        let error = (found - expected).abs() / expected.abs();
        assert!(error < 1e-9, "found {found}, expected {expected}");
    }

    fn even(bins: usize) -> Vec<Bin> {
        (1..=bins as u64).map(|end| Bin { end, slots: 1 }).collect()
    }

    #[test]
    fn the_statistic_is_that_of_the_textbook() {
        // A die thrown 60 times: (25 + 4 + 1 + 4 + 1 + 25) / 10 = 6.
        let fit = Fit::test(&even(6), &[5, 8, 9, 12, 11, 15]).unwrap();
        close(fit.statistic, 6.0);
        assert_eq!(fit.degrees, 5);
        close(fit.p, 0.306_218_918_413);
        // Bins of one and two slots: 20 expected and 40.
        let bins = [Bin { end: 1, slots: 1 }, Bin { end: 3, slots: 2 }];
        close(Fit::test(&bins, &[30, 30]).unwrap().statistic, 100.0 / 20.0 + 100.0 / 40.0);
    }

    #[test]
    fn neighbours_are_grouped_until_each_bin_expects_five() {
        let places = Places::new(&[(0, 10), (0x10000, 3)], 0x100).unwrap();
        // 13 slots, 26 samples: two for each slot, so three slots make a bin; one slot remains.
        let found = bins(&places, 26);
        let expected = [(3, 3), (6, 3), (9, 3), (13, 4)];
        assert_eq!(found, expected.map(|(end, slots)| Bin { end, slots }));
        assert_eq!(count(&found, &[0, 2, 2, 3, 9, 10, 12]), [3, 1, 0, 3]);
        assert_eq!(bins(&places, 65).len(), 13, "exactly five for each slot");
        assert_eq!(bins(&places, 64).len(), 6, "one less");
        assert_eq!(bins(&places, 1), [Bin { end: 13, slots: 13 }]);
        assert_eq!(bins(&Places::new(&[], 1).unwrap(), 5), []);
    }

    #[test]
    fn grouping_counts_what_weighs_twice_twice() {
        let places = Places::new(&[(0, 4), (0x200, 4)], 0x100).unwrap();
        // Weights 1 1 2 2 1 1 of 8 slots; 20 samples: two slots make a bin.
        let expected = [(2, 2), (3, 2), (4, 2), (6, 2)];
        assert_eq!(bins(&places, 20), expected.map(|(end, slots)| Bin { end, slots }));
    }

    #[test]
    fn huge_draws_have_few_bins() {
        let places = Places::new(&[(0, 1 << 52), (1 << 60, 1 << 51)], 0x100).unwrap();
        let found = bins(&places, 100);
        assert!((19..=20).contains(&found.len()));
        assert_eq!(found.last().unwrap().end, places.count());
    }

    #[test]
    fn a_biased_sample_is_rejected_and_an_even_one_is_not() {
        let bins = even(100);
        let counts = |favoured: u64| -> Vec<u64> {
            (0..100)
                .map(|bin| 1000 + (bin * 37) % 61 + if bin == 7 { favoured } else { 0 })
                .collect()
        };
        assert!(Fit::test(&bins, &counts(0)).unwrap().p > 0.5);
        assert!(Fit::test(&bins, &counts(500)).unwrap().p < 1e-9);
        // One slot that is never chosen, as when a loop ends too early.
        let mut counts = vec![1000; 100];
        counts[99] = 0;
        assert!(Fit::test(&bins, &counts).unwrap().p < 1e-30);
        assert!(observed_bits(&bins, &counts) < 100f64.log2() - 0.01);
    }

    #[test]
    fn entropy_is_that_of_the_slots_when_all_is_even() {
        let bins: Vec<Bin> = (1..=8).map(|bin| Bin { end: bin * 4, slots: 4 }).collect();
        let correction = 7.0 / (2.0 * 80_000.0 * 2f64.ln());
        close(observed_bits(&bins, &[10_000; 8]), 5.0 + correction);
        close(observed_bits(&bins, &[10_000, 0, 0, 0, 0, 0, 0, 0]), 2.0);
        assert_eq!(observed_bits(&bins, &[0; 8]), 0.0);
    }

    #[test]
    fn nothing_is_said_of_one_bin() {
        assert_eq!(Fit::test(&even(1), &[9]), None);
        assert_eq!(Fit::test(&even(3), &[0, 0, 0]), None);
    }
}
