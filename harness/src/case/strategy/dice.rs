// SPDX-License-Identifier: GPL-2.0-only
//! Random choices that shrink: a die of 0 is the simplest choice, and a smaller die a simpler one.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

/// So many choices a case may have; further ones are the simplest.
const COUNT: usize = 64;

/// Dice that have been thrown, to be read one after the other.
#[derive(Clone, Debug)]
pub struct Dice {
    values: Vec<u64>,
    next: usize,
}

impl Dice {
    /// Throws the dice.
    pub fn strategy() -> BoxedStrategy<Dice> {
        proptest::collection::vec(any::<u64>(), COUNT)
            .prop_map(|values| Dice { values, next: 0 })
            .boxed()
    }

    /// The next die as it fell.
    pub fn any(&mut self) -> u64 {
        let value = self.values.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        value
    }

    /// A number below `count`, which is not 0. Smaller dice give smaller numbers.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.any()) * u128::from(count)) >> 64) as u64
    }

    /// Whether something happens that does once in `count` times; a die of 0 says no.
    pub fn once_in(&mut self, count: u64) -> bool {
        self.below(count) == count - 1
    }

    /// One of `choices`, the simplest first.
    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_follow_the_dice() {
        let mut dice = Dice { values: vec![0, 1 << 63, u64::MAX, u64::MAX, 0], next: 0 };
        assert_eq!([dice.below(10), dice.below(10), dice.below(10)], [0, 5, 9]);
        assert_eq!([dice.once_in(3), dice.once_in(3), dice.once_in(3)], [true, false, false]);
        assert_eq!(dice.of(&['a', 'b']), 'a');
    }
}
