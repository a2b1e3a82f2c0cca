// SPDX-License-Identifier: GPL-2.0-only
//! One case from loader to verdict.

use crate::case::{Case, place};
use crate::machine::{End, Engine, Fill, Setup};
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
    let setup = match place(&subject.image, subject.word, case) {
        Ok(setup) => setup,
        Err(error) => return not_started(subject, error.to_string()),
    };
    match engine.run(&setup) {
        Ok(outcome) => {
            let mut judgement = judge(subject, case, &setup, &outcome);
            if let Some(fill) = case.second_fill {
                let again = Setup { fill: Fill(fill), ..setup.clone() };
                match engine.run(&again) {
                    Ok(second) => judgement
                        .findings
                        .extend(judge_repeat(subject, &setup, &judgement, &outcome, &second)),
                    Err(error) => judgement.not_judged.push(error.to_string()),
                }
            }
            Run {
                judgement,
                end: Some(outcome.end),
                page_faults: outcome.page_faults,
                serial: outcome.serial,
            }
        }
        Err(error) => not_started(subject, error.to_string()),
    }
}

fn not_started(subject: &Subject, why: String) -> Run {
    let judgement = Judgement {
        findings: subject.image_findings.clone(),
        not_judged: vec![why],
        ..Judgement::default()
    };
    Run { judgement, end: None, page_faults: 0, serial: Vec::new() }
}
