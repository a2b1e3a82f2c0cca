// SPDX-License-Identifier: GPL-2.0-only
//! The fixed cases that every mutant is run in: few, and such that together they reach as much of the stub as the default
//! exploration does.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::stub::{Blocks, Code, Profiler, Symbols};
use super::trace::Trace;
use super::twin::Twin;
use crate::campaign::{ImageFailure, run_setup};
use crate::case::{Case, place};
use crate::exit::Exit;
use crate::machine::{Engine, Interest, Setup, UnicornEngine};
use crate::oracle::{Verdict, judge};

/// Seed of the cases: they do not depend on that of the mutants.
const SEED: u64 = 1;
/// A mutant may run so many times as long as the unmutated image.
const BUDGET_FACTOR: u64 = 10;
/// Fewer blocks cost nobody any time.
const LEAST_BUDGET: u64 = 1 << 28;

/// How much is tried to find the cases, and how many are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Cases of the default exploration that are looked at, from number 0 on.
    pub considered: usize,
    /// Cases that are taken at most: 64 or fewer.
    pub most: usize,
}

/// A case of the bench.
pub struct Picked {
    /// Its number in the default exploration.
    pub number: usize,
    /// The case.
    pub case: Case,
    /// What the machine is told.
    pub setup: Setup,
    /// How the unmutated image ends.
    pub trace: Trace,
}

/// All that mutants are judged with.
pub struct Bench<'a> {
    /// The unmutated image.
    pub twin: &'a Twin,
    /// Names in its stub.
    pub symbols: Symbols,
    /// Its stub's instructions, and which of the cases run them.
    pub code: Code,
    /// The cases.
    pub cases: Vec<Picked>,
}

struct Candidate {
    number: usize,
    case: Case,
    setup: Setup,
    blocks: Blocks,
    total: u64,
}

impl<'a> Bench<'a> {
    /// Runs the unmutated image in cases of the default exploration, and takes those that together run most of the stub's
    /// code. Cases in which the image itself does not conform are left out. `done` is called after each run.
    ///
    /// # Errors
    /// The image conforms in no case.
    pub fn new(
        engine: &UnicornEngine,
        twin: &'a Twin,
        symbols: Symbols,
        choice: Choice,
        done: &(dyn Fn() + Sync),
    ) -> Result<Bench<'a>, ImageFailure> {
        let candidates: Vec<Candidate> = (0..choice.considered)
            .into_par_iter()
            .filter_map(|number| {
                let candidate = candidate(engine, twin, number);
                done();
                candidate
            })
            .collect();
        let mut chosen = choose(candidates, choice.most.min(64));
        if chosen.is_empty() {
            let message = "the unmutated image conforms in none of the cases".to_owned();
            return Err(ImageFailure { message, exit: Exit::CannotJudge });
        }
        // Where it costs least: most mutants are found out before.
        if let Some(last) = chosen.last_mut() {
            last.case.second_fill = Some(!last.case.fill);
        }
        let subject = twin.subject();
        let stub = subject.image.protected_mode();
        let blocks: Vec<&Blocks> = chosen.iter().map(|chosen| &chosen.blocks).collect();
        let mut code = Code::new(stub, &subject.image.payload().range, &blocks);
        super::stub::mark_decompressor(&mut code, &symbols, &blocks, subject.table.words.len());
        let cases = chosen
            .into_par_iter()
            .filter_map(|candidate| picked(engine, twin, candidate))
            .collect();
        Ok(Bench { twin, symbols, code, cases })
    }
}

/// A case of the default exploration, if the unmutated image conforms in it.
fn candidate(engine: &UnicornEngine, twin: &Twin, number: usize) -> Option<Candidate> {
    let subject = twin.subject();
    let case = Case { second_fill: None, ..twin.opened.case(SEED, number) };
    let setup = place(&subject.image, subject.word, &case).ok()?;
    let interest = Interest { blocks: true, ..Interest::default() };
    let (outcome, profiler) = engine.observe(&setup, &interest, || Profiler::new(&setup)).ok()?;
    let conforms = judge(subject, &case, &setup, &outcome).verdict() == Verdict::Conforms;
    let total = profiler.total;
    conforms.then(|| Candidate { number, case, setup, blocks: profiler.into_blocks(), total })
}

/// One after the other the case that runs most code which none before it runs, until there is none.
fn choose(mut candidates: Vec<Candidate>, most: usize) -> Vec<Candidate> {
    let mut known: BTreeSet<(usize, u32)> = BTreeSet::new();
    let mut chosen = Vec::new();
    while chosen.len() < most {
        let gain = |candidate: &Candidate| {
            let new = candidate.blocks.iter().filter(|(place, _)| !known.contains(place));
            new.map(|(_, (len, _))| len).sum::<usize>()
        };
        // Of equally good ones the quickest.
        let best = (0..candidates.len()).max_by_key(|index| {
            (gain(&candidates[*index]), std::cmp::Reverse(candidates[*index].total))
        });
        let Some(best) = best.filter(|index| gain(&candidates[*index]) > 0) else { break };
        let best = candidates.swap_remove(best);
        known.extend(best.blocks.keys().copied());
        chosen.push(best);
    }
    chosen
}

/// The case with the time that a mutant has for it, and what the unmutated image does in it.
fn picked(engine: &dyn Engine, twin: &Twin, candidate: Candidate) -> Option<Picked> {
    let Candidate { number, mut case, setup, total, .. } = candidate;
    case.budget = total.saturating_mul(BUDGET_FACTOR).max(LEAST_BUDGET).min(case.budget);
    let setup = Setup { budget: case.budget, ..setup };
    let subject = twin.subject();
    let (judgement, outcome) = run_setup(engine, subject, &case, &setup).ok()?;
    let conforms = judgement.verdict() == Verdict::Conforms;
    let trace = Trace::new(subject, &setup, &judgement, &outcome);
    conforms.then_some(Picked { number, case, setup, trace })
}
