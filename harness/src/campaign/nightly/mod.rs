// SPDX-License-Identifier: GPL-2.0-only
//! A campaign over many images, as a kernel team runs it every night: in processes of their own, so that nothing an engine
//! does ends it, and with a journal, so that it goes on where it was killed.

mod files;
mod journal;
mod known;
mod partition;
mod plan;
mod process;
mod regressions;
mod report;
mod state;
mod units;
mod work;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;

pub use files::write_cases;
use journal::{Entry, Header, Journal};
pub use journal::{JournalError, program_digest};
pub use known::KnownIssues;
pub use partition::Part;
pub use plan::{NightlyPlan, PlanError, PlannedProtocol, PlannedRun};
pub use process::Launcher;
pub use regressions::{Regression, read as read_regressions};
use state::State;
pub use units::{Named, Unit, UnitImage, units};
pub use worker::serve;

use crate::case::CaseFile;
use crate::record::Report;

/// The time that the cases of one image may take, where the plan does not say.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// A regression with the image that it is run on.
#[derive(Clone, Debug)]
pub struct PlannedRegression {
    /// The regression.
    pub regression: Regression,
    /// What it takes to run it, or why it cannot be run.
    pub input: Result<(CaseFile, UnitImage), String>,
}

/// A campaign, ready to be run.
#[derive(Debug)]
pub struct Campaign {
    /// The plan.
    pub plan: NightlyPlan,
    /// All units, of all parts.
    pub units: Vec<Unit>,
    /// All regressions, of all parts.
    pub regressions: Vec<PlannedRegression>,
    /// The part to do here.
    pub part: Part,
    /// Known issues.
    pub known: KnownIssues,
    /// The day by which known issues expire.
    pub date: Date,
}

/// How to run a campaign.
#[derive(Debug)]
pub struct Setup {
    /// How workers are started.
    pub launcher: Launcher,
    /// How many.
    pub jobs: usize,
    /// Where the journal is.
    pub journal: PathBuf,
    /// The digest of this program.
    pub program: String,
}

/// An image of which all cases are finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageDone {
    /// Its name, and which cases it has if not all.
    pub name: String,
    /// Why it cannot be checked, if it cannot.
    pub failure: Option<String>,
    /// Cases run.
    pub cases: usize,
    /// Of them, those that diverge, known issues included.
    pub diverging: usize,
    /// Of these, those in which all that is wrong is a known issue.
    pub known: usize,
    /// Those that could not be judged.
    pub not_judged: usize,
}

/// Is told how far a campaign has come.
pub trait NightlyProgress: Sync {
    /// So many cases were finished before, of so many.
    fn started(&self, finished: usize, cases: usize);
    /// One more case is finished, of the image of this name.
    fn case_done(&self, image: &str);
    /// Nothing is left to do for one more image.
    fn image_done(&self, image: &ImageDone);
}

impl Campaign {
    /// Runs what the journal does not have yet, and reports on everything.
    ///
    /// # Errors
    /// The journal cannot be used or written.
    pub fn run(
        &self,
        setup: &Setup,
        progress: &dyn NightlyProgress,
    ) -> Result<Report, JournalError> {
        let found = Journal::open(&setup.journal, &setup.program)?;
        let unfinished = found.unfinished(&setup.program);
        let mut journal = found.journal;
        let mut state = self.state();
        if unfinished.is_some() {
            for entry in found.entries {
                state.apply(entry);
            }
        } else {
            journal.restart(&Header { program: setup.program.clone(), date: self.date })?;
        }
        let finished = state.units.iter().map(|unit| unit.cases.len()).sum();
        let cases = state.units.iter().map(|unit| unit.unit.cases).sum();
        progress.started(finished, cases);
        let (state, mut journal) = work::work(self, setup, state, journal, progress)?;
        journal.add(&Entry::Finished)?;
        Ok(report::report(self, state))
    }

    /// The day of a campaign that was begun here and not finished, by this very program.
    ///
    /// # Errors
    /// The journal cannot be used.
    pub fn unfinished(setup: &Setup) -> Result<Option<Date>, JournalError> {
        Ok(Journal::open(&setup.journal, &setup.program)?.unfinished(&setup.program))
    }

    fn state(&self) -> State {
        let units = self.units.iter().filter(|unit| self.part.has(unit.number));
        let units = units.map(|unit| (unit.key(self.plan.seed), unit.clone())).collect();
        let regressions = self.regressions.iter().enumerate();
        let regressions = regressions.filter(|(number, _)| self.part.has(*number));
        let keys = regressions.map(|(number, regression)| regression.key(number)).collect();
        State::new(units, keys, self.plan.time_limit().unwrap_or(TIME_LIMIT))
    }
}

impl PlannedRegression {
    /// What determines its result, but for the program.
    fn key(&self, number: usize) -> String {
        let Regression { case, image, expected } = &self.regression;
        let case = case.file_name().unwrap_or_default().display();
        let input = match &self.input {
            Ok((file, image)) => format!("{} {}", image.sha256, file.digest()),
            Err(error) => error.clone(),
        };
        format!("{number} {case} {image} {expected:?} {input}")
    }
}
