// SPDX-License-Identifier: GPL-2.0-only
//! Judges what a machine did by what the reference says. Only here do the two meet.
//!
//! One file per rule; each returns findings and knows nothing of the others.

mod ending;
mod finding;
mod footprint;
mod handoff;
mod landing;
mod loaded;
mod memory;
mod placement;
mod segments;
mod subject;
mod table;

use serde::Serialize;

use crate::case::{Case, Layout};
use crate::machine::{End, Outcome, Setup};
use crate::range::Range;
use crate::reference;

pub use finding::{Finding, Rule};
pub use landing::Landing;
pub use subject::{Subject, SubjectError};

use loaded::Loaded;

/// The judgement of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything is as the reference says.
    Conforms,
    /// Nothing can be said.
    CannotJudge,
    /// Something is not.
    Diverges,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Verdict::Conforms => "conforms",
            Verdict::CannotJudge => "cannot judge",
            Verdict::Diverges => "diverges",
        })
    }
}

/// What the oracles say of one run, and what they saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Deviations; the image's own (of its table) come first.
    pub findings: Vec<Finding>,
    /// Why a rule could not be applied, where one could not.
    pub not_judged: Vec<String>,
    /// Where the kernel ended up, if it was started.
    pub landing: Option<Landing>,
    /// Whether the stub stopped because it had to.
    pub refused: bool,
    /// Fields that hold their relocated value.
    pub applied: reference::Applied,
}

impl Judgement {
    /// The verdict: any finding decides; a rule that could not be applied leaves the rest in doubt.
    pub fn verdict(&self) -> Verdict {
        match (self.findings.is_empty(), self.not_judged.is_empty()) {
            (false, _) => Verdict::Diverges,
            (true, false) => Verdict::CannotJudge,
            (true, true) => Verdict::Conforms,
        }
    }
}

/// Judges one run of `case`, which the machine was told as `setup`.
pub fn judge(subject: &Subject, case: &Case, setup: &Setup, outcome: &Outcome) -> Judgement {
    let mut judgement = Judgement {
        findings: subject.image_findings.clone(),
        not_judged: Vec::new(),
        landing: None,
        refused: false,
        applied: reference::Applied::default(),
    };
    let passed = reference::Passed::read(&Loaded(setup), setup.boot_params);
    let Some(passed) = passed else {
        judgement.not_judged.push("boot_params are not in RAM".into());
        return judgement;
    };
    let placement = reference::place(&subject.image, subject.link, setup.stub.address, passed);
    if let End::Unsupported(what) = &outcome.end {
        judgement.not_judged.push(what.clone());
        return judgement;
    }
    match ending::judge(subject, case, outcome, &placement) {
        Ok(ending) => {
            judgement.refused = outcome.end == End::Halted && ending.is_none();
            judgement.findings.extend(ending);
        }
        Err(why) => judgement.not_judged.push(why),
    }
    let prediction = placement::predict(subject, case, setup, &placement);
    if outcome.end == End::HandOff {
        judge_kernel(&mut judgement, subject, case, setup, outcome, &placement, &prediction);
    }
    let mut also = whereabouts(subject, case, &placement, &prediction, judgement.landing);
    also.extend(case.screen.then_some(Layout::SCREEN));
    let written = footprint::judge(subject, setup, outcome, &placement, &also);
    judgement.findings.extend(written);
    judgement
}

/// Where the kernel was put, or may have been put by a stub that did not get as far as starting it.
fn whereabouts(
    subject: &Subject,
    case: &Case,
    placement: &reference::Placement,
    prediction: &Result<reference::Prediction, String>,
    landing: Option<Landing>,
) -> Vec<Range> {
    let size = subject.moved.len() as u64;
    match (landing, prediction) {
        (Some(landing), _) if placement::believable(subject, placement, landing.output) => {
            vec![Range::sized(landing.output, size)]
        }
        (Some(_), _) => Vec::new(),
        (None, Ok(prediction)) => vec![Range::sized(prediction.output, size)],
        (None, Err(_)) => placement::anywhere(case).collect(),
    }
}

fn judge_kernel(
    judgement: &mut Judgement,
    subject: &Subject,
    case: &Case,
    setup: &Setup,
    outcome: &Outcome,
    placement: &reference::Placement,
    prediction: &Result<reference::Prediction, String>,
) {
    let landing = landing::find(subject, outcome, placement, prediction.as_ref().ok());
    judgement.landing = Some(landing);
    let placed = placement::judge(subject, case, placement, prediction, landing);
    judgement.findings.extend(placed);
    judgement.findings.extend(handoff::judge(subject, setup, outcome, placement, landing));
    match memory::judge(subject, outcome, landing) {
        Ok((findings, applied)) => {
            judgement.findings.extend(findings);
            judgement.applied = applied;
        }
        Err(error) => judgement.not_judged.push(error.to_string()),
    }
}
