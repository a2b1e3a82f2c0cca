// SPDX-License-Identifier: GPL-2.0-only
//! What becomes of one mutant.

use std::sync::Arc;

use super::bench::{Bench, Picked};
use super::equivalence;
use super::mutant::{Class, Mutant};
use super::trace::{Difference, Trace};
use super::twin::space;
use crate::campaign::run_setup;
use crate::case::place;
use crate::image::Image;
use crate::machine::{Engine, Placed, Setup};
use crate::oracle::{Finding, Subject};

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An oracle speaks.
    Killed {
        /// What it says first.
        finding: Finding,
        /// The number of the case; `None`: of the image itself, without a run.
        case: Option<usize>,
    },
    /// The file is not accepted: the message says why.
    Refused(String),
    /// It is proved that it does what the unmutated image does.
    Equivalent(String),
    /// None of the cases runs the instruction.
    NotReached,
    /// No oracle speaks, and nothing can be told from the unmutated image.
    Same,
    /// No oracle speaks, and nothing differs but what nobody reads any more.
    Idle(Vec<String>),
    /// No oracle speaks, and something differs: a hole in the oracles.
    Differs(Vec<String>),
    /// No oracle speaks of a lie of the header: what comes out is what a loader that believes it has to get.
    Believed,
    /// A loader that keeps to the boot protocol cannot load it in any of the cases: what the header says is not what they
    /// need.
    NotLoadable(String),
    /// Nothing can be said.
    NotJudged(String),
    /// There is no such image.
    NotBuilt(String),
}

/// Makes the mutant and judges it.
///
/// What came out is judged by what the *unmutated* image demands: a reference made of the mutant would have the same mistake.
/// Only rules about the image itself look at the mutant. Of a mutant of the table, what remains of it in memory behind the
/// kernel is the mutant's own: that is not what the mistake is about.
pub fn fate(engine: &dyn Engine, bench: &Bench, mutant: &Mutant) -> Fate {
    let twin = bench.twin;
    if mutant.class == Class::Stub && mutant.reached == 0 {
        return Fate::NotReached;
    }
    let file = match mutant.file(twin) {
        Ok(file) => file,
        Err(error) => return Fate::NotBuilt(error.to_string()),
    };
    let image =
        match Image::parse(file).and_then(|image| image.require_relocatable().map(|()| image)) {
            Ok(image) => image,
            Err(error) => return Fate::Refused(error.to_string()),
        };
    if mutant.class == Class::Stub {
        return stub(engine, bench, mutant, &image);
    }
    let mutated = match Subject::new(image) {
        Ok(mutated) => mutated,
        Err(error) => return Fate::Refused(error.to_string()),
    };
    let own = &twin.subject().image_findings;
    if let Some(finding) = mutated.image_findings.iter().find(|finding| !own.contains(finding)) {
        return Fate::Killed { finding: finding.clone(), case: None };
    }
    match mutant.class {
        Class::Header => header(engine, bench, &mutated),
        Class::Payload => {
            let run = in_cases(engine, bench, bench.cases.iter(), twin.subject(), |case| {
                Ok(with_stub(&case.setup, &mutated.image))
            });
            run.unwrap_or_else(|difference| {
                equivalence::payload(twin, &mutated)
                    .map_or_else(|| survived(difference), Fate::Equivalent)
            })
        }
        _ => {
            let table = mutated.table.clone();
            let expected = Subject { table: twin.subject().table.clone(), ..mutated };
            let run = in_cases(engine, bench, bench.cases.iter(), &expected, |case| {
                Ok(with_stub(&case.setup, &expected.image))
            });
            run.unwrap_or_else(|difference| {
                equivalence::table(twin, &table)
                    .map_or_else(|| survived(difference), Fate::Equivalent)
            })
        }
    }
}

/// A mutant of the stub is run where its instruction runs; in all other cases it is the unmutated image.
fn stub(engine: &dyn Engine, bench: &Bench, mutant: &Mutant, image: &Image) -> Fate {
    let reached = bench.cases.iter().enumerate();
    let reached = reached.filter(|(index, _)| mutant.reached & 1 << index != 0);
    let run =
        in_cases(engine, bench, reached.map(|(_, case)| case), bench.twin.subject(), |case| {
            Ok(with_stub(&case.setup, image))
        });
    run.unwrap_or_else(survived)
}

/// The loader believes what the header of the mutant says.
fn header(engine: &dyn Engine, bench: &Bench, mutated: &Subject) -> Fate {
    let subject = bench.twin.subject();
    if let Err(error) = space(mutated) {
        return Fate::Refused(error.to_string());
    }
    let loaded = |case: &Picked| place(&mutated.image, subject.word, &case.case);
    let setups: Vec<_> = bench.cases.iter().map(loaded).collect();
    if let Some(Err(error)) = setups.iter().find(|_| setups.iter().all(Result::is_err)) {
        return Fate::NotLoadable(error.to_string());
    }
    if setups.iter().zip(&bench.cases).all(|(setup, case)| setup.as_ref() == Ok(&case.setup)) {
        let why = "loaders overwrite it, or do not pass it on: the machine is told the same in every case";
        return Fate::Equivalent(why.into());
    }
    let run = in_cases(engine, bench, bench.cases.iter(), subject, |case| {
        loaded(case).map_err(|error| error.to_string())
    });
    // boot_params carry the header, and KASLR hashes them: the runs differ as they must.
    run.unwrap_or(Fate::Believed)
}

/// Runs the mutant in `cases` until an oracle speaks, or something cannot be judged; else in what the runs differ from those
/// of the unmutated image. A case in which it cannot be loaded is left out.
fn in_cases<'a>(
    engine: &dyn Engine,
    bench: &Bench,
    cases: impl Iterator<Item = &'a Picked>,
    expected: &Subject,
    setup: impl Fn(&Picked) -> Result<Setup, String>,
) -> Result<Fate, Difference> {
    let mut difference = Difference::default();
    let mut doubt = None;
    for picked in cases {
        let Ok(setup) = setup(picked) else { continue };
        let (judgement, outcome) = match run_setup(engine, expected, &picked.case, &setup) {
            Ok(run) => run,
            Err(error) => {
                doubt.get_or_insert(error.to_string());
                continue;
            }
        };
        let own = &bench.twin.subject().image_findings;
        if let Some(finding) = judgement.findings.iter().find(|finding| !own.contains(finding)) {
            return Ok(Fate::Killed { finding: finding.clone(), case: Some(picked.number) });
        }
        if let Some(why) = judgement.not_judged.first() {
            doubt.get_or_insert(why.clone());
        }
        let trace = Trace::new(bench.twin.subject(), &setup, &judgement, &outcome);
        let here = picked.trace.difference(&trace, &setup);
        difference
            .matters
            .extend(here.matters.into_iter().map(|what| format!("case {}: {what}", picked.number)));
        difference.idle.extend(here.idle);
    }
    match doubt {
        Some(why) => Ok(Fate::NotJudged(why)),
        None => Err(difference),
    }
}

fn survived(difference: Difference) -> Fate {
    let Difference { matters, mut idle } = difference;
    idle.sort();
    idle.dedup();
    match (matters.is_empty(), idle.is_empty()) {
        (false, _) => Fate::Differs(matters),
        (true, false) => Fate::Idle(idle),
        (true, true) => Fate::Same,
    }
}

/// The machine with the mutant in the place of the image: both are equally long, and have the same header.
fn with_stub(setup: &Setup, image: &Image) -> Setup {
    let bytes = Arc::from(image.protected_mode());
    Setup { stub: Placed { bytes, ..setup.stub.clone() }, ..setup.clone() }
}
