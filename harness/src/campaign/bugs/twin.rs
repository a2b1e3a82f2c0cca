// SPDX-License-Identifier: GPL-2.0-only
//! Checks kernels that have to conform: the twins of bugs, and any others that are thought to be clean.

use crate::campaign::nightly::KnownIssues;
use crate::campaign::{Input, Plan, Progress, check, image_record};
use crate::case::{Loader, Protocols};
use crate::machine::Engine;
use crate::record::ImageRecord;

/// A kernel, and the class of cases in which it has to conform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarry {
    /// The kernel.
    pub input: Input,
    /// The entry protocols.
    pub protocols: Protocols,
    /// The loaders.
    pub loaders: Vec<Loader>,
}

/// Runs `cases` cases of each kernel, and marks the findings that are known.
pub fn check_twins(
    engine: &dyn Engine,
    quarries: &[Quarry],
    (cases, seed): (usize, u64),
    known: &KnownIssues,
    progress: &dyn Progress,
) -> Vec<ImageRecord> {
    let one = |(number, quarry): (usize, &Quarry)| {
        let plan = Plan {
            bases: cases,
            seed,
            protocols: quarry.protocols,
            loaders: quarry.loaders.clone(),
            shrink_runs: 0,
        };
        let results = check(engine, std::slice::from_ref(&quarry.input), &plan, progress);
        let mut records: Vec<ImageRecord> =
            results.iter().map(|result| image_record(number, &plan, result)).collect();
        for record in &mut records {
            known.mark(record);
            record.conclude();
        }
        records
    };
    quarries.iter().enumerate().flat_map(one).collect()
}
