// SPDX-License-Identifier: GPL-2.0-only
//! The work: each thread has a worker process, asks the state what is next, and journals what came of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::journal::{Entry, Journal};
use super::process::{Lost, Worker};
use super::state::{Job, Next, State};
use super::worker::{Answer, Request, Task};
use super::{Campaign, JournalError, NightlyProgress, Setup};
use crate::exit::Exit;
use crate::oracle::Verdict;
use crate::record::{CaseRecord, RegressionRecord, Standing};

/// Runs for making one failing case simpler.
const SHRINK_RUNS: usize = 64;
/// A regression is one run.
const REGRESSION_LIMIT: Duration = Duration::from_secs(1800);
/// The time to draw a case without running it; an image has to be opened for that.
const TO_DRAW: Duration = Duration::from_secs(300);

struct Shared<'a> {
    campaign: &'a Campaign,
    progress: &'a dyn NightlyProgress,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    state: State,
    journal: Journal,
    /// Ends all threads.
    failed: Option<JournalError>,
}

/// Does all that `state` still has to do.
///
/// # Errors
/// The journal cannot be written.
pub fn work(
    campaign: &Campaign,
    setup: &Setup,
    state: State,
    journal: Journal,
    progress: &dyn NightlyProgress,
) -> Result<(State, Journal), JournalError> {
    let inner = Mutex::new(Inner { state, journal, failed: None });
    let shared = Shared { campaign, progress, inner, changed: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..setup.jobs {
            scope.spawn(|| shared.thread(Worker::new(&setup.launcher)));
        }
    });
    let Inner { state, journal, failed } =
        shared.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok((state, journal)), Err)
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn thread(&self, mut worker: Worker) {
        let mut last = None;
        while let Some((job, limit)) = self.next(last) {
            let entry = match job {
                Job::Regression(number) => self.regression(&mut worker, number),
                Job::Open(unit) => self.open(&mut worker, unit, limit),
                Job::Case { unit, number } => self.case(&mut worker, unit, number, limit),
                Job::Shrink { unit, number, keep } => {
                    let task = Task::Shrink { number, keep, limit: SHRINK_RUNS };
                    let shrunk = match self.ask(&mut worker, unit, task, limit) {
                        Ok(Answer::Shrunk(shrunk)) => Some(shrunk),
                        // The case as it was drawn serves as well.
                        _ => None,
                    };
                    Entry::Shrunk { unit: self.key(unit), shrunk }
                }
            };
            last = match job {
                Job::Regression(_) => None,
                Job::Open(unit) | Job::Case { unit, .. } | Job::Shrink { unit, .. } => Some(unit),
            };
            self.finish(job, entry);
        }
    }

    /// What to do next, and how long it may take; `None` when all is done.
    fn next(&self, last: Option<usize>) -> Option<(Job, Duration)> {
        let mut inner = self.lock();
        loop {
            if inner.failed.is_some() {
                return None;
            }
            match inner.state.next(last, &self.campaign.known) {
                Next::Do(job) => {
                    let limit = match job {
                        Job::Regression(_) => REGRESSION_LIMIT,
                        Job::Open(unit) | Job::Case { unit, .. } | Job::Shrink { unit, .. } => {
                            inner.state.remaining(unit)
                        }
                    };
                    return Some((job, limit));
                }
                Next::Finished => return None,
                Next::Wait => {
                    inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn finish(&self, job: Job, entry: Entry) {
        let mut inner = self.lock();
        let write = |inner: &mut Inner, entry: Entry| match inner.journal.add(&entry) {
            Ok(()) => {
                inner.state.apply(entry);
            }
            Err(error) => inner.failed = Some(error),
        };
        write(&mut inner, entry);
        inner.state.done(job);
        for unit in inner.state.late() {
            let unit = self.key_of(&inner.state, unit);
            write(&mut inner, Entry::TimeUp { unit });
        }
        if let Job::Case { unit, .. } = job {
            self.progress.case_done(&inner.state.units[unit].unit.name);
        }
        if let Job::Open(unit) | Job::Case { unit, .. } | Job::Shrink { unit, .. } = job
            && let Some(done) = inner.state.units[unit].if_done(&self.campaign.known)
        {
            self.progress.image_done(&done);
        }
        drop(inner);
        self.changed.notify_all();
    }

    fn key(&self, unit: usize) -> String {
        self.key_of(&self.lock().state, unit)
    }

    fn key_of(&self, state: &State, unit: usize) -> String {
        state.units[unit].unit.key(self.campaign.plan.seed)
    }

    fn ask(
        &self,
        worker: &mut Worker,
        unit: usize,
        task: Task,
        limit: Duration,
    ) -> Result<Answer, Lost> {
        let (path, selection) = {
            let unit = &self.lock().state.units[unit].unit;
            let image = unit.image.as_ref().expect("a unit without an image has no work");
            (image.path.clone(), unit.selection.clone())
        };
        worker.ask(&Request { path, selection, seed: self.campaign.plan.seed, task }, limit)
    }

    fn open(&self, worker: &mut Worker, unit: usize, limit: Duration) -> Entry {
        let key = self.key(unit);
        let unusable =
            |message: String, exit_code| Entry::Unusable { unit: key.clone(), message, exit_code };
        match self.ask(worker, unit, Task::Open, limit) {
            Ok(Answer::Opened(facts)) => {
                let known = self.lock().state.units[unit].unit.image.clone();
                if known.is_ok_and(|image| image.sha256 == facts.sha256) {
                    return Entry::Opened { unit: key, facts };
                }
                let message = "the file changed while the campaign was running";
                unusable(message.into(), Exit::CannotJudge as u8)
            }
            Ok(Answer::Failed { message, exit_code }) => unusable(message, exit_code),
            Ok(_) => unusable("a worker gave the wrong answer".into(), Exit::Internal as u8),
            Err(lost) => unusable(format!("opening it: {lost}"), Exit::CannotJudge as u8),
        }
    }

    fn case(&self, worker: &mut Worker, unit: usize, number: usize, limit: Duration) -> Entry {
        let started = Instant::now();
        let key = self.key(unit);
        let why = match self.ask(worker, unit, Task::Run(number), limit) {
            Ok(Answer::Case { record, kernel }) => {
                return Entry::Case { unit: key, record, kernel };
            }
            Ok(Answer::Failed { message, .. }) => message,
            Ok(_) => "a worker gave the wrong answer".into(),
            Err(lost) => lost.to_string(),
        };
        let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match self.ask(worker, unit, Task::Draw(number), TO_DRAW) {
            Ok(Answer::Case { mut record, .. }) => {
                record.duration_ms = elapsed;
                not_judged(&mut record, why);
                Entry::Case { unit: key, record, kernel: None }
            }
            _ => Entry::Unusable { unit: key, message: why, exit_code: Exit::CannotJudge as u8 },
        }
    }

    fn regression(&self, worker: &mut Worker, number: usize) -> Entry {
        let key = self.lock().state.regressions[number].key.clone();
        let mut planned = self.campaign.regressions.iter().enumerate();
        let planned = planned.find(|(number, planned)| planned.key(*number) == key);
        let (number, planned) = planned.expect("every key is one of a planned regression");
        let mut record = RegressionRecord {
            number,
            case: planned.regression.case.display().to_string(),
            image: planned.regression.image.clone(),
            expected: planned.regression.expected,
            standing: Standing::CannotJudge,
            judgement: None,
            error: None,
            duration_ms: 0,
        };
        match &planned.input {
            Err(error) => record.error = Some(error.clone()),
            Ok((file, image)) => {
                let request = Request {
                    path: image.path.clone(),
                    selection: Default::default(),
                    seed: 0,
                    task: Task::Replay(Box::new(file.case.clone())),
                };
                match worker.ask(&request, REGRESSION_LIMIT) {
                    Ok(Answer::Replayed { judgement, duration_ms }) => {
                        record.standing = RegressionRecord::standing(record.expected, &judgement);
                        record.judgement = Some(judgement);
                        record.duration_ms = duration_ms;
                    }
                    Ok(Answer::Failed { message, .. }) => record.error = Some(message),
                    Ok(_) => record.error = Some("a worker gave the wrong answer".into()),
                    Err(lost) => record.error = Some(lost.to_string()),
                }
            }
        }
        Entry::Regression { key, record: Box::new(record) }
    }
}

fn not_judged(record: &mut CaseRecord, why: String) {
    record.judgement.verdict = Verdict::CannotJudge;
    record.judgement.not_judged = vec![why];
}
