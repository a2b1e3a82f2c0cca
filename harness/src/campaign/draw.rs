// SPDX-License-Identifier: GPL-2.0-only
//! Draws the case with a given number: the same one for the same seed, whatever else is drawn.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::case::{Case, Space, cases};

/// A case, and the simpler ones that it can be shrunk to.
pub type CaseTree = Box<dyn ValueTree<Value = Case>>;

/// Draws case `number` of `space`.
pub fn draw(space: &Space, seed: u64, number: usize) -> CaseTree {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    Box::new(cases(space, number).new_tree(&mut runner).expect("no strategy here rejects a value"))
}
