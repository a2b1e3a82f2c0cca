// SPDX-License-Identifier: GPL-2.0-only
//! How images stand, and how many stand how: the numbers that a report begins with.

use super::{ImageRecord, Report, Standing};
use crate::oracle::Verdict;

/// How an image stands: its verdict, where known issues are no news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It diverges in a way that no known issue describes.
    New,
    /// It diverges in known ways only.
    Known,
    /// Nothing can be said of it, or not of all its cases.
    CannotJudge,
    /// Everything is as it must be.
    Conforms,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [State; 4] = [State::New, State::Known, State::CannotJudge, State::Conforms];

    /// The name in a history.
    pub fn name(self) -> &'static str {
        match self {
            State::New => "new",
            State::Known => "known",
            State::CannotJudge => "cannot-judge",
            State::Conforms => "conforms",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            State::New => "diverges, new",
            State::Known => "diverges, known",
            State::CannotJudge => "cannot judge",
            State::Conforms => "conforms",
        })
    }
}

/// A report in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Images.
    pub images: usize,
    /// Of them, those that conform.
    pub conforming: usize,
    /// That diverge in a way that is not known.
    pub new: usize,
    /// That diverge in known ways only.
    pub known: usize,
    /// That cannot be judged, or not in all cases.
    pub not_judged: usize,
    /// Cases run.
    pub cases: usize,
    /// Cases that were not run, because time was used up.
    pub not_run: usize,
    /// Relocated fields that were verified.
    pub fields: usize,
    /// Regression cases.
    pub regressions: usize,
    /// Of them, those that are not as expected.
    pub unexpected: usize,
}

impl ImageRecord {
    /// How it stands.
    pub fn state(&self) -> State {
        let known = self.findings().next().is_some()
            && self.findings().all(|(_, found)| found.known.is_some());
        match self.verdict {
            Verdict::Conforms => State::Conforms,
            Verdict::CannotJudge => State::CannotJudge,
            Verdict::Diverges if known => State::Known,
            Verdict::Diverges => State::New,
        }
    }

    /// Its name, and which of its cases were drawn, if not all: what tells it from the other images of a campaign.
    pub fn title(&self) -> String {
        match self.selection.is_all() {
            true => self.name.clone(),
            false => format!("{} ({})", self.name, self.selection),
        }
    }
}

impl Report {
    /// How many images stand how, and what that rests on.
    pub fn totals(&self) -> Totals {
        let images = |state| self.images.iter().filter(|image| image.state() == state).count();
        // The counts may come from a file that anyone wrote.
        let sum = |count: fn(&ImageRecord) -> usize| {
            self.images.iter().map(count).fold(0, usize::saturating_add)
        };
        let unexpected = |standing| standing != Standing::AsExpected;
        Totals {
            images: self.images.len(),
            conforming: images(State::Conforms),
            new: images(State::New),
            known: images(State::Known),
            not_judged: images(State::CannotJudge),
            cases: sum(|image| image.summary.cases),
            not_run: sum(|image| image.not_run),
            fields: sum(|image| image.summary.fields),
            regressions: self.regressions.len(),
            unexpected: self.regressions.iter().filter(|one| unexpected(one.standing)).count(),
        }
    }
}
