// SPDX-License-Identifier: GPL-2.0-only
//! Makes images with one mistake each, and asks whether the oracles find it.
//!
//! ```text
//! image -> twin -> bench -> mutants -> fates
//! ```
//! The twin is the image packed as mutants are; the bench has the cases in which they run.

mod bench;
pub mod compress;
mod dice;
mod equivalence;
mod fate;
mod header;
mod mutant;
mod payload;
pub mod rebuild;
mod stub;
mod table;
mod trace;
mod twin;

use std::path::Path;

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

pub use bench::{Bench, Choice, Picked};
pub use fate::Fate;
pub use mutant::{Class, Edit, Mutant, Splice};
pub use stub::Symbols;
pub use twin::Twin;

use crate::machine::Engine;
use dice::Dice;

/// Draws up to `count` mutants of a class: the same ones for the same image and seed.
pub fn draw(bench: &Bench, class: Class, count: usize, seed: u64) -> Vec<Mutant> {
    let mut dice = Dice::new(seed, class as u64);
    match class {
        Class::Table => table::draw(bench.twin, count, &mut dice),
        Class::Payload => payload::draw(bench.twin, count, &mut dice),
        Class::Header => header::draw(bench.twin, count, &mut dice),
        Class::Stub => stub::draw(bench, count, &mut dice),
    }
}

/// What becomes of each of the mutants, in their order. Runs in the current rayon pool; `done` is called after each.
pub fn judge(
    engine: &dyn Engine,
    bench: &Bench,
    mutants: Vec<Mutant>,
    done: &(dyn Fn(&Fate) + Sync),
) -> Vec<(Mutant, Fate)> {
    mutants
        .into_par_iter()
        .with_max_len(1)
        .map(|mutant| {
            let fate = fate::fate(engine, bench, &mutant);
            done(&fate);
            (mutant, fate)
        })
        .collect()
}

/// The symbols of the stub of an image in a build folder, if there are any.
pub fn symbols_beside(image: &Path) -> Symbols {
    let file = crate::build_tree::BuildTree::of_image(image).and_then(|tree| tree.stub());
    let bytes = file.and_then(|file| std::fs::read(file).ok());
    bytes.and_then(|bytes| Symbols::read(&bytes).ok()).unwrap_or_default()
}
