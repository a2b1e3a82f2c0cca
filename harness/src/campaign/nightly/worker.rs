// SPDX-License-Identifier: GPL-2.0-only
//! A worker's side of a campaign: one request a line, one answer a line. Whatever kills it costs one case.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::campaign::{
    CaseResult, ImageFailure, Opened, case_record, facts_record, run, shrunk_record,
};
use crate::case::Case;
use crate::machine::Engine;
use crate::oracle::{Judgement, Rule};
use crate::record::{CaseRecord, Facts, JudgementRecord, Selection, Shrunk};

/// What a worker is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The image file.
    pub path: PathBuf,
    /// Which cases it has.
    pub selection: Selection,
    /// Seed of the cases.
    pub seed: u64,
    /// What to do.
    pub task: Task,
}

/// What to do with an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Say what it is.
    Open,
    /// Run the case of this number.
    Run(usize),
    /// Draw the case of this number, and do not run it.
    Draw(usize),
    /// Make the case of this number simpler, in at most so many runs.
    Shrink {
        /// The case.
        number: usize,
        /// The rule that it breaks.
        keep: Rule,
        /// Runs at most.
        limit: usize,
    },
    /// Run this very case.
    Replay(Box<Case>),
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Task::Open`].
    Opened(Facts),
    /// The image cannot be opened.
    Failed {
        /// One line that says why.
        message: String,
        /// The exit code that goes with it.
        exit_code: u8,
    },
    /// To [`Task::Run`] and [`Task::Draw`].
    Case {
        /// The case.
        record: Box<CaseRecord>,
        /// A digest of the kernel's bytes with its relocation undone.
        kernel: Option<u64>,
    },
    /// To [`Task::Shrink`].
    Shrunk(Box<Shrunk>),
    /// To [`Task::Replay`].
    Replayed {
        /// What the oracles say.
        judgement: JudgementRecord,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
}

/// Answers requests until there are no more.
///
/// # Errors
/// The pipe broke, or somebody else wrote to it.
pub fn serve(
    engine: &dyn Engine,
    requests: impl BufRead,
    mut answers: impl Write,
) -> anyhow::Result<()> {
    let mut opened: Option<(PathBuf, Selection, Opened)> = None;
    for line in requests.lines() {
        let request: Request = serde_json::from_str(&line?)?;
        let Request { path, selection, .. } = &request;
        if opened.as_ref().is_none_or(|(p, s, _)| (p, s) != (path, selection)) {
            // The old one is let go first: two would take twice the memory.
            drop(opened.take());
        }
        let answer = match &mut opened {
            Some((_, _, opened)) => answer(engine, opened, request),
            none => match Opened::new(path, None, selection.protocols(), &selection.loaders) {
                Err(ImageFailure { message, exit }) => {
                    Answer::Failed { message, exit_code: exit as u8 }
                }
                Ok(new) => {
                    let key = (path.clone(), selection.clone());
                    let (.., opened) = none.insert((key.0, key.1, new));
                    answer(engine, opened, request)
                }
            },
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        answers.write_all(&line)?;
        answers.flush()?;
    }
    Ok(())
}

fn answer(engine: &dyn Engine, opened: &Opened, request: Request) -> Answer {
    let Request { seed, task, .. } = request;
    match task {
        Task::Open => Answer::Opened(facts_record(&opened.facts())),
        Task::Run(number) => {
            let result = opened.run(engine, seed, number);
            let kernel = result.judgement.kernel;
            Answer::Case { record: Box::new(case_record(number, &result)), kernel }
        }
        Task::Draw(number) => {
            let judgement =
                Judgement { not_judged: vec!["not run".into()], ..Judgement::default() };
            let case = opened.case(seed, number);
            let result = CaseResult { case, judgement, duration: Duration::ZERO };
            Answer::Case { record: Box::new(case_record(number, &result)), kernel: None }
        }
        Task::Shrink { number, keep, limit } => {
            let result = opened.run(engine, seed, number);
            let shrunk = opened.shrink(engine, result.case, result.judgement, keep, limit);
            Answer::Shrunk(Box::new(shrunk_record(&shrunk.case, &shrunk.judgement)))
        }
        Task::Replay(case) => {
            let started = Instant::now();
            let judgement = run(engine, &opened.subject, &case).judgement;
            let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            Answer::Replayed { judgement: JudgementRecord::new(&judgement), duration_ms }
        }
    }
}
