// SPDX-License-Identifier: GPL-2.0-only
//! Judges what a machine did by what the reference says. Only here do the two meet.
//!
//! One file per rule; each returns findings and knows nothing of the others.

mod boot_params;
mod descriptors;
mod ending;
mod finding;
mod footprint;
mod handoff;
mod header;
mod invariance;
mod landing;
mod loaded;
mod memory;
mod page_tables;
mod placement;
mod ports;
mod repeat;
mod room;
mod scene;
mod screen;
mod second;
mod segments;
mod serial;
mod subject;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod trampoline;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::machine::{End, Outcome, Setup};
use crate::reference;
use scene::Scene;

pub use finding::{Finding, Rule};
pub use invariance::judge as judge_invariance;
pub use landing::Landing;
pub use loaded::Loaded;
pub use repeat::judge as judge_repeat;
pub use scene::{inputs, plan};
pub use second::{CompareError, Compared, Twice, TwiceError, judge_twice, same_layout};
pub use subject::{Subject, SubjectError};

/// The judgement of one run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Deviations; the image's own (of its table) come first.
    pub findings: Vec<Finding>,
    /// Why a rule could not be applied, where one could not.
    pub not_judged: Vec<String>,
    /// Why something could only be tested for being allowed, not for being right: KASLR's choice, boot_params, or the
    /// levels of paging; `None` if all was predicted.
    pub unpredicted: Option<String>,
    /// Where the kernel ended up, if it was started.
    pub landing: Option<Landing>,
    /// Whether the stub stopped because it had to.
    pub refused: bool,
    /// A digest of the kernel's bytes with its relocation undone.
    pub kernel: Option<u64>,
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
    let mut judgement =
        Judgement { findings: subject.image_findings.clone(), ..Judgement::default() };
    if let End::Unsupported(what) = &outcome.end {
        judgement.not_judged.push(what.clone());
        return judgement;
    }
    match Scene::new(subject, case, setup, outcome) {
        Ok(scene) => judge_scene(&mut judgement, &scene),
        Err(why) => judgement.not_judged.push(why),
    }
    judgement
}

fn judge_scene(judgement: &mut Judgement, scene: &Scene) {
    judgement.unpredicted = scene.unpredicted();
    if let Ok(model) = &scene.subject.model {
        judgement.not_judged.extend(model.gap().map(str::to_owned));
    }
    match ending::judge(scene) {
        Ok(ending) => {
            judgement.refused = scene.outcome.end != End::HandOff && ending.is_none();
            judgement.findings.extend(ending);
        }
        Err(why) => judgement.not_judged.push(why),
    }
    if scene.outcome.end == End::HandOff {
        judge_kernel(judgement, scene);
    }
    judgement.findings.extend(footprint::judge(scene, judgement.landing));
    let ports = ports::judge(scene);
    // A port that is used wrongly is not told twice.
    if ports.is_empty() {
        let said = text::predicted(scene, judgement);
        judgement.findings.extend(serial::judge(scene));
        judgement.findings.extend(text::judge(scene, said));
        judgement.findings.extend(screen::judge(scene, said));
    }
    judgement.findings.extend(ports);
}

fn judge_kernel(judgement: &mut Judgement, scene: &Scene) {
    let landing = landing::find(scene);
    judgement.landing = Some(landing);
    for findings in [
        placement::judge(scene, landing),
        room::judge(scene, landing),
        handoff::judge(scene, landing),
        descriptors::judge(scene),
        page_tables::judge(scene, landing),
        trampoline::judge(scene),
        boot_params::judge(scene),
    ] {
        judgement.findings.extend(findings);
    }
    match memory::judge(scene, landing) {
        Ok(found) => {
            judgement.kernel = found.kernel;
            judgement.applied = found.applied;
            judgement.findings.extend(found.findings);
        }
        Err(error) => judgement.not_judged.push(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Run, fixture};
    use super::*;
    use crate::image::{Image, WordSize};

    #[test]
    fn any_finding_decides_and_doubts_come_next() {
        let finding = || vec![Finding::new(Rule::Halt, "stub", "a", "b")];
        let verdict = |findings, not_judged: &[&str]| {
            let not_judged = not_judged.iter().map(|why| why.to_string()).collect();
            Judgement { findings, not_judged, ..Judgement::default() }.verdict()
        };
        assert_eq!(verdict(vec![], &[]), Verdict::Conforms);
        assert_eq!(verdict(vec![], &["x"]), Verdict::CannotJudge);
        assert_eq!(verdict(finding(), &["x"]), Verdict::Diverges);
        assert_eq!(verdict(finding(), &[]), Verdict::Diverges);
        assert_eq!(format!("{:>13}", Verdict::CannotJudge), " cannot judge");
        let texts = [Verdict::Conforms, Verdict::Diverges].map(|verdict| verdict.to_string());
        assert_eq!(texts, ["conforms", "diverges"]);
    }

    #[test]
    fn a_kernel_that_never_started_is_not_looked_at() {
        let mut run = Run::new(WordSize::Bits64);
        run.outcome.end = End::Budget { blocks: 1 };
        run.outcome.registers.rflags = 1 << 9;
        let judgement = run.judge();
        assert_eq!((judgement.landing, judgement.kernel, judgement.refused), (None, None, false));
        assert_eq!(judgement.findings.len(), 1);
        assert!(!Run::new(WordSize::Bits64).judge().refused);
    }

    #[test]
    fn a_stub_that_starts_in_an_unknown_way_cannot_be_judged() {
        let mut run = Run::new(WordSize::Bits64);
        assert_eq!(run.judge().verdict(), Verdict::Conforms);
        // As the fixture is without start-up code.
        let image = Image::parse(fixture(WordSize::Bits64, "6.1.192", "nokaslr\0").build());
        run.subject = Subject::new(image.unwrap()).unwrap();
        let doubts = run.judge().not_judged;
        assert!(doubts[0].starts_with("the stub's start-up code is not known"), "{doubts:?}");
        // Of older stubs nothing of the kind is asked.
        let image = Image::parse(fixture(WordSize::Bits64, "5.9.16", "nokaslr\0").build());
        run.subject = Subject::new(image.unwrap()).unwrap();
        assert_eq!(run.judge().not_judged, [] as [&str; 0]);
    }
}
