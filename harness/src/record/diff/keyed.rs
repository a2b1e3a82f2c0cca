// SPDX-License-Identifier: GPL-2.0-only
//! A report by what its findings are known by.

use std::collections::BTreeMap;

use super::super::identity::{matter, place};
use super::super::{ImageRecord, RegressionRecord, Standing};
use super::{ImageName, Key, RegressionName, Report, Selection, Shown, State};
use crate::oracle::Rule;

/// The findings of a report, and what could have been found.
pub struct Keyed {
    pub findings: BTreeMap<Key, Shown>,
    pub states: BTreeMap<ImageName, State>,
    pub standings: BTreeMap<RegressionName, Standing>,
    sights: BTreeMap<(ImageName, Option<String>), Sight>,
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    seed: u64,
    cases: usize,
    complete: bool,
}

impl Sight {
    /// Whether what showed in `other` must show here, if it is still there.
    pub fn covers(self, other: Sight) -> bool {
        self.complete && self.seed == other.seed && self.cases >= other.cases
    }
}

impl Keyed {
    /// What was looked at where this finding is.
    pub fn sight(&self, key: &Key) -> Option<Sight> {
        self.sights.get(&(key.name.clone(), key.regression.clone())).copied()
    }

    fn add(&mut self, key: Key, shown: Shown) {
        let Some(before) = self.findings.get_mut(&key) else {
            self.findings.insert(key, shown);
            return;
        };
        before.cases = before.cases.saturating_add(shown.cases);
        // What is not all known is news.
        if before.known.is_some() && shown.known.is_none() {
            (before.known, before.finding) = (None, shown.finding);
        }
    }

    fn image(&mut self, seed: u64, image: &ImageRecord) {
        let name = name(&image.name, &image.selection);
        let state = self.states.entry(name.clone()).or_insert(State::Conforms);
        *state = (*state).min(image.state());
        let complete = image.error.is_none() && image.not_run == 0 && image.summary.not_judged == 0;
        let sight = self.sights.entry((name.clone(), None));
        let sight = sight.or_insert(Sight { seed, cases: 0, complete: true });
        sight.cases = sight.cases.saturating_add(image.cases.len());
        sight.complete &= complete;
        for group in image.groups() {
            let key = Key {
                name: name.clone(),
                regression: None,
                rule: group.rule,
                place: group.place.clone(),
            };
            let known = group.known.map(str::to_owned);
            self.add(key, Shown { known, cases: group.cases, finding: group.finding.clone() });
        }
    }

    fn regression(&mut self, seed: u64, record: &RegressionRecord) {
        let name = name(&record.image, &Selection::default());
        let complete = record.standing != Standing::CannotJudge;
        let sight = Sight { seed, cases: 1, complete };
        self.sights.insert((name.clone(), Some(record.case.clone())), sight);
        let RegressionRecord { case, image, expected, standing, .. } = record;
        let (case, image) = (case.clone(), image.clone());
        let name_of_case = RegressionName { case, image, expected: *expected };
        self.standings.insert(name_of_case, *standing);
        let regressed = record.standing == Standing::Regressed;
        let judgement = record.judgement.iter().filter(|_| regressed);
        for found in judgement.flat_map(|judgement| &judgement.findings) {
            let key = Key {
                name: name.clone(),
                regression: Some(record.case.clone()),
                rule: found.finding.rule,
                place: place(&found.finding.place),
            };
            let (known, finding) = (found.known.clone(), found.finding.clone());
            self.add(key, Shown { known, cases: 1, finding });
        }
    }
}

/// Sorts the findings of `report`.
pub fn keyed(report: &Report) -> Keyed {
    let mut keyed = Keyed {
        findings: BTreeMap::new(),
        states: BTreeMap::new(),
        standings: BTreeMap::new(),
        sights: BTreeMap::new(),
    };
    for image in &report.images {
        keyed.image(report.seed, image);
    }
    for record in &report.regressions {
        // Its seed is in its case.
        keyed.regression(0, record);
    }
    keyed
}

fn name(image: &str, selection: &Selection) -> ImageName {
    ImageName { image: image.into(), selection: selection.to_string() }
}

impl Shown {
    /// Whether this shows in another way than `now` does; how often it shows counts if both reports ran `same` cases.
    pub fn differs(&self, now: &Shown, same: bool) -> bool {
        let (was, is) = (&self.finding, &now.finding);
        // Bytes of a kernel are what its build made of them.
        let matters = was.rule != Rule::Memory;
        self.known != now.known
            || same && self.cases != now.cases
            || matters && matter(&was.expected) != matter(&is.expected)
            || matters && matter(&was.actual) != matter(&is.actual)
    }
}
