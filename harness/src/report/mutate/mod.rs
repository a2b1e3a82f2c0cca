// SPDX-License-Identifier: GPL-2.0-only
//! Tells people and programs what became of the mutants of an image.

mod count;
mod json;
mod text;

use crate::mutate::{Bench, Fate, Mutant};

/// All that a report says of the mutants of one image.
#[derive(Clone, Copy)]
pub struct MutationReport<'a> {
    /// What the report calls the image.
    pub name: &'a str,
    /// SHA-256 of the image's file.
    pub sha256: &'a str,
    /// Seed of the mutants.
    pub seed: u64,
    /// So many cases were looked at for the bench.
    pub considered: usize,
    /// What they were judged with.
    pub bench: &'a Bench<'a>,
    /// The mutants, and what became of them.
    pub results: &'a [(Mutant, Fate)],
}

impl MutationReport<'_> {
    /// For people.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// For programs; a newline at the end.
    ///
    /// # Errors
    /// None that is known.
    pub fn json(&self) -> serde_json::Result<String> {
        json::render(self)
    }
}
