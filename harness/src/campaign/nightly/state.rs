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
        let name = &self.unit.name;
        let diverging =
            self.cases.values().filter(|(case, _)| case.judgement.verdict == Verdict::Diverges);
        let mut news = diverging.filter_map(|(record, _)| {
            let own =
                |finding: &Finding| facts.image_findings.iter().any(|own| own.finding == *finding);
            let excused = |finding: &Finding, case: Option<&Case>| {
                known.excuse(name, facts.release.as_deref(), case, finding).is_some()
            };
            let findings = record.judgement.findings.iter().map(|found| &found.finding);
            let mut findings =
                findings.filter(|finding| !own(finding) && !excused(finding, record.case.as_ref()));
            Some((record.number, findings.next()?.rule))
        });
        news.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::nightly::units::UnitImage;
    use crate::record::{Selection, samples};

    fn state(units: &[(&str, usize)], regressions: &[&str]) -> State {
        let unit = |(number, (name, cases)): (usize, &(&str, usize))| {
            let image = UnitImage { path: "k".into(), sha256: String::new() };
            let unit = Unit {
                number,
                name: name.to_string(),
                image: Ok(image),
                selection: Selection::default(),
                cases: *cases,
            };
            (name.to_string(), unit)
        };
        let units = units.iter().enumerate().map(unit).collect();
        let regressions = regressions.iter().map(|key| key.to_string()).collect();
        State::new(units, regressions, Duration::from_secs(10))
    }

    fn opened(unit: &str) -> Entry {
        Entry::Opened { unit: unit.into(), facts: Box::new(samples::facts(Vec::new())) }
    }

    fn case(unit: &str, number: usize, broken: &[Rule]) -> Entry {
        let found = broken.iter().map(|rule| samples::found(*rule, "", None)).collect();
        let case = samples::case(number, found, Vec::new());
        let record = Box::new(CaseRecord { duration_ms: 4_000, ..case });
        Entry::Case { unit: unit.into(), record, kernel: None }
    }

    fn finish(state: &mut State, job: Job, entry: Entry) {
        state.apply(entry);
        state.done(job);
    }

    #[test]
    fn regressions_come_first_and_each_worker_keeps_to_its_image() {
        let known = KnownIssues::default();
        let mut state = state(&[("a", 2), ("b", 1)], &["r"]);
        assert_eq!(state.next(None, &known), Next::Do(Job::Regression(0)));
        assert_eq!(state.next(None, &known), Next::Do(Job::Open(0)));
        assert_eq!(state.next(None, &known), Next::Do(Job::Open(1)));
        assert_eq!(state.next(None, &known), Next::Wait);
        finish(&mut state, Job::Open(1), opened("b"));
        assert_eq!(state.next(Some(1), &known), Next::Do(Job::Case { unit: 1, number: 0 }));
        finish(&mut state, Job::Open(0), opened("a"));
        assert_eq!(state.next(Some(0), &known), Next::Do(Job::Case { unit: 0, number: 0 }));
        finish(&mut state, Job::Case { unit: 1, number: 0 }, case("b", 0, &[]));
        // Nothing is left of its own image: it helps.
        assert_eq!(state.next(Some(1), &known), Next::Do(Job::Case { unit: 0, number: 1 }));
        assert_eq!(state.next(None, &known), Next::Wait);
    }

    #[test]
    fn the_first_news_is_made_simple_when_all_cases_are_done() {
        let file = "schema = 1\n[[issue]]\nid = \"i\"\nowner = \"o\"\nexpires = 2027-03-01\n\
            explanation = \"e\"\nrule = \"fault\"\n";
        let known = KnownIssues::parse(file, jiff::civil::Date::constant(2027, 1, 1)).unwrap();
        let mut state = state(&[("a", 3)], &[]);
        state.apply(opened("a"));
        state.apply(case("a", 0, &[Rule::Fault]));
        state.apply(case("a", 2, &[Rule::Fault, Rule::Halt]));
        assert_eq!(state.next(Some(0), &known), Next::Do(Job::Case { unit: 0, number: 1 }));
        assert_eq!(state.next(Some(0), &known), Next::Wait);
        finish(&mut state, Job::Case { unit: 0, number: 1 }, case("a", 1, &[]));
        let shrink = Job::Shrink { unit: 0, number: 2, keep: Rule::Halt };
        assert_eq!(state.next(Some(0), &known), Next::Do(shrink));
        assert_eq!(state.next(Some(0), &known), Next::Wait);
        finish(&mut state, shrink, Entry::Shrunk { unit: "a".into(), shrunk: None });
        assert_eq!(state.next(Some(0), &known), Next::Finished);
    }

    #[test]
    fn a_unit_whose_time_is_up_loses_the_rest() {
        let known = KnownIssues::default();
        let mut state = state(&[("a", 5)], &[]);
        state.apply(opened("a"));
        state.apply(case("a", 0, &[]));
        state.apply(case("a", 1, &[Rule::Halt]));
        assert_eq!((state.late(), state.remaining(0)), (vec![], Duration::from_secs(2)));
        state.apply(case("a", 2, &[]));
        assert_eq!(state.late(), [0]);
        assert!(state.remaining(0) > Duration::ZERO);
        state.apply(Entry::TimeUp { unit: "a".into() });
        assert_eq!(state.next(Some(0), &known), Next::Finished);
        assert_eq!((state.late(), state.units[0].cases.len()), (vec![], 3));
    }

    #[test]
    fn entries_of_other_plans_are_passed_over() {
        let known = KnownIssues::default();
        let mut state = state(&[("a", 1)], &[]);
        state.apply(opened("b"));
        state.apply(opened("a"));
        state.apply(case("a", 1, &[]));
        assert_eq!(state.next(None, &known), Next::Do(Job::Case { unit: 0, number: 0 }));
    }
}
