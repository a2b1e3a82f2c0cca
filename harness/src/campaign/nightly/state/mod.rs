// SPDX-License-Identifier: GPL-2.0-only
//! How far a campaign has come, and what is to be done next. Entries of the journal are all that changes what is finished, so
//! a campaign that is resumed is where it was.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::ImageDone;
use super::journal::Entry;
use super::known::KnownIssues;
use super::units::Unit;
use crate::campaign::ImageFailure;
use crate::case::Case;
use crate::exit::Exit;
use crate::oracle::{Finding, Rule, Verdict};
use crate::record::{CaseRecord, Facts, RegressionRecord, Shrunk};

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Run this regression.
    Regression(usize),
    /// Open the image of this unit.
    Open(usize),
    /// Run case `number`.
    Case {
        /// The unit.
        unit: usize,
        /// The case.
        number: usize,
    },
    /// Make case `number`, which breaks `keep`, simpler.
    Shrink {
        /// The unit.
        unit: usize,
        /// The case.
        number: usize,
        /// The rule.
        keep: Rule,
    },
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This.
    Do(Job),
    /// Nothing, until something that is being done is finished.
    Wait,
    /// Nothing any more.
    Finished,
}

/// A campaign on its way.
#[derive(Debug)]
pub struct State {
    /// The units of this part, in the order of their numbers.
    pub units: Vec<UnitState>,
    /// The regressions of this part, likewise.
    pub regressions: Vec<RegressionState>,
    /// The place in `units` of each unit, by its key.
    by_key: HashMap<String, usize>,
    /// The time that the cases of one unit may take.
    limit: Duration,
}

/// A unit on its way.
#[derive(Debug)]
pub struct UnitState {
    /// What it is.
    pub unit: Unit,
    /// What its image is, once that was opened.
    pub facts: Option<Facts>,
    /// Why it cannot be checked.
    pub failure: Option<ImageFailure>,
    /// Finished cases, each with the digest of its kernel.
    pub cases: BTreeMap<usize, (CaseRecord, Option<u64>)>,
    /// The first case with news, made simple.
    pub shrunk: Option<Shrunk>,
    /// Whether its time is used up, so that the rest of its cases is not run.
    pub time_up: bool,
    /// Cases that nobody has begun.
    pending: VecDeque<usize>,
    /// How many cases are being run.
    in_flight: usize,
    opening: bool,
    shrinking: bool,
    shrink_done: bool,
    /// What its finished cases took together.
    spent: Duration,
}

/// A regression on its way.
#[derive(Debug)]
pub struct RegressionState {
    /// What determines its result.
    pub key: String,
    /// The result.
    pub record: Option<RegressionRecord>,
    started: bool,
}

impl State {
    /// The state before anything is done. The cases of a unit may take `limit` in all.
    pub fn new(units: Vec<(String, Unit)>, regressions: Vec<String>, limit: Duration) -> State {
        let by_key = units.iter().enumerate().map(|(n, (key, _))| (key.clone(), n)).collect();
        let regressions = regressions.into_iter();
        State {
            units: units.into_iter().map(|(_, unit)| UnitState::new(unit)).collect(),
            regressions: regressions
                .map(|key| RegressionState { key, record: None, started: false })
                .collect(),
            by_key,
            limit,
        }
    }

    /// Takes in what is finished. What belongs to no unit of this campaign is passed over.
    pub fn apply(&mut self, entry: Entry) {
        let unit = match &entry {
            Entry::Opened { unit, .. }
            | Entry::Unusable { unit, .. }
            | Entry::Case { unit, .. }
            | Entry::TimeUp { unit }
            | Entry::Shrunk { unit, .. } => self.by_key.get(unit),
            Entry::Regression { .. } | Entry::Finished => None,
        };
        match (entry, unit) {
            (Entry::Regression { key, record }, _) => {
                let mut regressions = self.regressions.iter_mut();
                if let Some(regression) = regressions.find(|regression| regression.key == key) {
                    regression.started = true;
                    regression.record = Some(*record);
                }
            }
            (entry, Some(unit)) => self.units[*unit].apply(entry),
            (_, None) => {}
        }
    }

    /// What a worker that has unit `last` open should do next; it counts as being done from now on.
    pub fn next(&mut self, last: Option<usize>, known: &KnownIssues) -> Next {
        if let Some(number) = self.regressions.iter().position(|regression| !regression.started) {
            self.regressions[number].started = true;
            return Next::Do(Job::Regression(number));
        }
        // First what is open already, then what nobody works on, then whatever there is.
        let idle = self.units.iter().position(|unit| unit.idle() && unit.has_work(known));
        let busy = self.units.iter().position(|unit| unit.has_work(known));
        let last = last.filter(|unit| self.units[*unit].has_work(known));
        if let Some(number) = last.or(idle).or(busy) {
            return Next::Do(self.units[number].take(number, known));
        }
        let open = self.regressions.iter().any(|regression| regression.record.is_none());
        let working = open || self.units.iter().any(|unit| !unit.idle());
        if working { Next::Wait } else { Next::Finished }
    }

    /// What is left of the time for a unit; not less than a moment, so that a limit is never taken for none.
    pub fn remaining(&self, unit: usize) -> Duration {
        self.limit.saturating_sub(self.units[unit].spent).max(Duration::from_millis(1))
    }

    /// Marks the job as no longer being done.
    pub fn done(&mut self, job: Job) {
        match job {
            Job::Regression(_) => {}
            Job::Open(unit) => self.units[unit].opening = false,
            Job::Case { unit, .. } => self.units[unit].in_flight -= 1,
            Job::Shrink { unit, .. } => self.units[unit].shrinking = false,
        }
    }

    /// The units that have used up their time with cases still to do.
    pub fn late(&mut self) -> Vec<usize> {
        let limit = self.limit;
        let late =
            |unit: &UnitState| !unit.time_up && unit.spent >= limit && !unit.pending.is_empty();
        let units = self.units.iter().enumerate();
        units.filter(|(_, unit)| late(unit)).map(|(number, _)| number).collect()
    }
}

impl UnitState {
    fn new(unit: Unit) -> UnitState {
        UnitState {
            facts: None,
            failure: unit.image.as_ref().err().cloned(),
            cases: BTreeMap::new(),
            shrunk: None,
            time_up: false,
            pending: (0..unit.cases).collect(),
            in_flight: 0,
            opening: false,
            shrinking: false,
            shrink_done: false,
            spent: Duration::ZERO,
            unit,
        }
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Opened { facts, .. } => self.facts = Some(*facts),
            Entry::Unusable { message, exit_code, .. } => {
                let exit = Exit::of(exit_code);
                self.failure = Some(ImageFailure { message, exit });
            }
            Entry::Case { record, kernel, .. } => {
                // A plan may ask for fewer cases than it did when the journal was written.
                if record.number < self.unit.cases {
                    let took = Duration::from_millis(record.duration_ms);
                    self.spent = self.spent.saturating_add(took);
                    self.pending.retain(|number| *number != record.number);
                    self.cases.insert(record.number, (*record, kernel));
                }
            }
            Entry::TimeUp { .. } => {
                self.time_up = true;
                self.pending.clear();
            }
            Entry::Shrunk { shrunk, .. } => {
                self.shrink_done = true;
                self.shrunk = shrunk.map(|shrunk| *shrunk);
            }
            Entry::Regression { .. } | Entry::Finished => {}
        }
    }

    fn idle(&self) -> bool {
        self.in_flight == 0 && !self.opening && !self.shrinking
    }

    /// What there is to tell when nothing is left to do.
    pub fn if_done(&self, known: &KnownIssues) -> Option<ImageDone> {
        let count = |verdict| {
            self.cases.values().filter(|(case, _)| case.judgement.verdict == verdict).count()
        };
        let done = self.idle() && !self.has_work(known);
        done.then(|| ImageDone {
            name: self.unit.title(),
            failure: self.failure.as_ref().map(|failure| failure.message.clone()),
            cases: self.cases.len(),
            diverging: count(Verdict::Diverges),
            known: self.diverging().filter(|case| self.is_known(case, known)).count(),
            not_judged: count(Verdict::CannotJudge),
        })
    }

    fn has_work(&self, known: &KnownIssues) -> bool {
        if self.failure.is_some() || self.opening {
            return false;
        }
        !self.pending.is_empty() || self.to_shrink(known).is_some()
    }

    fn take(&mut self, unit: usize, known: &KnownIssues) -> Job {
        if self.facts.is_none() {
            self.opening = true;
            return Job::Open(unit);
        }
        if let Some(number) = self.pending.pop_front() {
            self.in_flight += 1;
            return Job::Case { unit, number };
        }
        let (number, keep) = self.to_shrink(known).expect("there is work, and no case is left");
        self.shrinking = true;
        Job::Shrink { unit, number, keep }
    }

    /// When all cases are done: the first one with news, and the rule that it breaks.
    fn to_shrink(&self, known: &KnownIssues) -> Option<(usize, Rule)> {
        let facts = self.facts.as_ref()?;
        if self.shrink_done || !self.idle() || !self.pending.is_empty() || self.time_up {
            return None;
        }
        let mut news = self.diverging().filter_map(|record| {
            let case = record.case.as_ref();
            let findings = record.judgement.findings.iter().map(|found| &found.finding);
            let mut findings = findings.filter(|finding| {
                !is_own(facts, finding) && !self.excused(known, facts, case, finding)
            });
            Some((record.number, findings.next()?.rule))
        });
        news.next()
    }

    fn diverging(&self) -> impl Iterator<Item = &CaseRecord> {
        let records = self.cases.values().map(|(record, _)| record);
        records.filter(|record| record.judgement.verdict == Verdict::Diverges)
    }

    /// Whether all that is wrong in a case is known.
    fn is_known(&self, record: &CaseRecord, known: &KnownIssues) -> bool {
        let excused = |facts: &Facts, finding: &Finding| {
            let case = record.case.as_ref().filter(|_| !is_own(facts, finding));
            self.excused(known, facts, case, finding)
        };
        self.facts.as_ref().is_some_and(|facts| {
            record.judgement.findings.iter().all(|found| excused(facts, &found.finding))
        })
    }

    fn excused(
        &self,
        known: &KnownIssues,
        facts: &Facts,
        case: Option<&Case>,
        finding: &Finding,
    ) -> bool {
        known.excuse(&self.unit.name, facts.release.as_deref(), case, finding).is_some()
    }
}

/// Whether a finding is the image's own, which each of its cases repeats.
fn is_own(facts: &Facts, finding: &Finding) -> bool {
    facts.image_findings.iter().any(|own| own.finding == *finding)
}

#[cfg(test)]
mod tests;
