// SPDX-License-Identifier: GPL-2.0-only
//! One case from loader to verdict.

use crate::case::{Case, place};
use crate::machine::{End, Engine, Fill, MachineError, Outcome, Setup};
use crate::oracle::{Judgement, Subject, judge, judge_repeat};

/// A case that was run.
pub struct Run {
    /// What the oracles say.
    pub judgement: Judgement,
    /// How it ended; `None` if it could not be started.
    pub end: Option<End>,
    /// Page faults that the stub's own handler took.
    pub page_faults: u64,
    /// What the stub printed.
    pub serial: Vec<u8>,
}

/// Runs `case` on `engine` and judges it. What cannot be run is a run that cannot be judged.
pub fn run(engine: &dyn Engine, subject: &Subject, case: &Case) -> Run {
    run_keeping(engine, subject, case).0
}

/// As [`run`], and keeps what the machine was told and what came out, all of its memory: to explain it.
pub fn run_keeping(
    engine: &dyn Engine,
    subject: &Subject,
    case: &Case,
) -> (Run, Option<(Setup, Outcome)>) {
    let setup = match place(&subject.image, subject.word, case) {
        Ok(setup) => setup,
        Err(error) => return (not_started(subject, error.to_string()), None),
    };
    match run_setup(engine, subject, case, &setup) {
        Ok((judgement, outcome)) => {
            let run = Run {
                judgement,
                end: Some(outcome.end.clone()),
                page_faults: outcome.page_faults,
                serial: outcome.serial.clone(),
            };
            (run, Some((setup, outcome)))
        }
        Err(error) => (not_started(subject, error.to_string()), None),
    }
}

/// Runs the machine of `setup`, in which the loader of `case` placed the subject's image or one that should do the same, and
/// judges what comes out by what the subject demands.
///
/// # Errors
/// The machine could not be built or driven.
pub fn run_setup(
    engine: &dyn Engine,
    subject: &Subject,
    case: &Case,
    setup: &Setup,
) -> Result<(Judgement, Outcome), MachineError> {
    let outcome = engine.run(setup)?;
    let mut judgement = judge(subject, case, setup, &outcome);
    if let Some(fill) = case.second_fill {
        let again = Setup { fill: Fill(fill), ..setup.clone() };
        match engine.run(&again) {
            Ok(second) => judgement
                .findings
                .extend(judge_repeat(subject, setup, &judgement, &outcome, &second)),
            Err(error) => judgement.not_judged.push(error.to_string()),
        }
    }
    Ok((judgement, outcome))
}

fn not_started(subject: &Subject, why: String) -> Run {
    let judgement = Judgement {
        findings: subject.image_findings.clone(),
        not_judged: vec![why],
        ..Judgement::default()
    };
    Run { judgement, end: None, page_faults: 0, serial: Vec::new() }
}
