// SPDX-License-Identifier: GPL-2.0-only
//! Whoever loads an image, and wherever: but for its relocation the kernel has the same bytes. Needs no
//! reference for them, only runs to compare.

use std::hash::Hasher;
use std::{collections::BTreeMap, hash::DefaultHasher};

use super::landing::Landing;
use super::{Finding, Rule, Subject};
use crate::reference::relocate;

/// A digest that is the same in every run of every build.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The digest of a kernel found in memory, with its relocation undone; `None` if the table does not allow it.
pub fn unrelocated(subject: &Subject, landing: Landing, bytes: &[u8]) -> Option<u64> {
    let link = subject.link;
    let opposite = |address: u64| link.physical.wrapping_sub(address.wrapping_sub(link.physical));
    let mut bytes = bytes.to_vec();
    relocate(&mut bytes, &subject.table, link, opposite(landing.output), opposite(landing.virt))
        .ok()?;
    Some(digest(&bytes))
}

/// Compares the kernels of many cases, each with its number.
pub fn judge(kernels: impl Iterator<Item = (usize, u64)>) -> Option<Finding> {
    let mut kinds: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for (number, digest) in kernels {
        let kind = kinds.entry(digest).or_insert((number, 0));
        kind.1 += 1;
    }
    let mut kinds: Vec<(usize, u64)> = kinds.into_values().collect();
    // Most cases are taken to be right; of equally many, those with the first one.
    kinds.sort_by_key(|(number, count)| (std::cmp::Reverse(*count), *number));
    let others: u64 = kinds.iter().skip(1).map(|(_, count)| count).sum();
    let first = kinds.iter().skip(1).map(|(number, _)| number).min()?;
    Some(Finding::new(
        Rule::Loader,
        "kernel",
        "the same bytes in every case, but for their relocation",
        format!("others in {others} cases, first in number {first}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Run;
    use super::*;
    use crate::image::WordSize;

    #[test]
    fn the_odd_ones_are_counted() {
        assert_eq!(judge([(0, 7), (3, 7)].into_iter()), None);
        assert_eq!(judge([].into_iter()), None);
        let found = judge([(0, 9), (1, 7), (2, 7), (5, 8)].into_iter()).unwrap();
        assert_eq!(found.actual, "others in 2 cases, first in number 0");
    }

    #[test]
    fn of_equally_many_those_with_the_first_case_are_right() {
        let found = judge([(0, 9), (1, 7), (2, 7), (5, 9)].into_iter()).unwrap();
        assert_eq!(found.actual, "others in 2 cases, first in number 1");
    }

    #[test]
    fn relocation_is_undone() {
        for word in [WordSize::Bits64, WordSize::Bits32] {
            let run = Run::chosen(word);
            let landing = run.judge().landing.unwrap();
            let bytes = run.outcome.ram.slice(landing.output, run.subject.moved.len()).unwrap();
            assert_ne!(bytes, run.subject.moved);
            assert_eq!(unrelocated(&run.subject, landing, bytes), Some(run.subject.digest));
            assert_eq!(unrelocated(&run.subject, landing, &bytes[..4]), None, "too short");
        }
    }
}
