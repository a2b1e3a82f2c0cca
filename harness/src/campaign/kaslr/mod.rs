// SPDX-License-Identifier: GPL-2.0-only
//! What KASLR makes of one machine: its draws, sampled from the model, and some of them run for comparison.

mod chi_square;
mod draw;
mod fit;
mod memory;
mod observe;
mod places;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::case::{Case, CaseError, place};
use crate::image::WordSize;
use crate::machine::Engine;
use crate::oracle::{Finding, Loaded, Subject, Verdict, inputs};
use crate::reference::{self, Cpu, Passed, Placement, Prediction, Prepared, Refusal};

pub use draw::{Column, Draw, Histogram};
pub use fit::Fit;
pub use memory::{Kept, Unused, free};
pub use observe::{Observed, case_of};
pub use places::{Places, Stretch};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// How often the model draws.
    pub samples: usize,
    /// How many of the draws the image itself repeats in the emulator.
    pub runs: usize,
    /// Seed of the random numbers that RDRAND answers.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The machine. RDRAND answers differently in each sample.
    pub case: Case,
    /// Room that the kernel needs, in bytes.
    pub needed: u64,
    /// Distance of the places that KASLR considers, in bytes.
    pub alignment: u64,
    /// Where the kernel goes when KASLR does not choose.
    pub unmoved: Prediction,
    /// Why KASLR does not choose, if it does not.
    pub off: Option<&'static str>,
    /// The draw of the physical address; on i386 that of both.
    pub physical: Draw,
    /// The draw of the virtual base; `None` on i386.
    pub virtual_base: Option<Draw>,
    /// What KASLR must not overwrite.
    pub kept: Vec<Kept>,
    /// Free memory that no choice covers.
    pub unused: Vec<Unused>,
    /// What is wrong with the image itself.
    pub image_findings: Vec<Finding>,
    /// The runs, of the first samples.
    pub runs: Vec<Observed>,
}

/// Why there is nothing to tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    /// There is no such machine, or its loader breaks the boot protocol.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// The model cannot say where the kernel goes.
    #[error("KASLR cannot be predicted: {0}")]
    Unpredictable(String),
}

impl Surveyed {
    /// Runs that ended where the model says.
    pub fn agreeing(&self) -> usize {
        self.runs.iter().filter(|run| run.agrees()).count()
    }

    /// The verdict on the image and all runs.
    pub fn verdict(&self) -> Verdict {
        let own = match self.image_findings[..] {
            [] => Verdict::Conforms,
            _ => Verdict::Diverges,
        };
        self.runs.iter().map(|run| run.judgement.verdict()).fold(own, Verdict::max)
    }
}

/// Samples the model for `case` and runs some samples on `engine`, in the current rayon pool. `run_done` is called after
/// each run.
///
/// # Errors
///
/// The case is impossible, or the model cannot predict it.
pub fn survey(
    engine: &dyn Engine,
    subject: &Subject,
    case: &Case,
    plan: Survey,
    run_done: &(dyn Fn() + Sync),
) -> Result<Surveyed, SurveyError> {
    let case = with_answers(case, [0, 0]);
    let setup = place(&subject.image, subject.word, &case)?;
    let memory = Loaded(&setup);
    let unpredictable = |why: &str| SurveyError::Unpredictable(why.to_owned());
    let passed = Passed::read(&memory, setup.boot_params)
        .ok_or_else(|| unpredictable("boot_params are not in RAM"))?;
    let load = setup.stub.address;
    let placement = reference::place(&subject.image, subject.link, load, passed);
    if let Refusal::Must(text) = placement.refusal {
        let why = format!("loaded at {load:#x}, the stub has to stop with {text:?}");
        return Err(SurveyError::Unpredictable(why));
    }
    let inputs = inputs(&setup, &memory);
    let choices = Choices::new(subject, &case, &placement, &inputs)?;
    let choose = |answers| (answers, choices.choose(inputs.cpu, &answers));
    let planned: Vec<_> = answers(plan.seed).take(plan.runs).map(choose).collect();
    // Without KASLR all samples are the same.
    let count = if choices.off.is_some() { 0 } else { plan.samples };
    let samples = answers(plan.seed).take(count).map(choose);
    let (physical, virtual_base) = draws(&choices, subject, samples.map(|(_, sample)| sample))?;
    let kept = memory::kept(&subject.image, &case, &placement);
    Ok(Surveyed {
        needed: subject.needed(),
        alignment: choices.alignment,
        unmoved: choices.unmoved,
        off: choices.off,
        unused: memory::unused(&case, &physical.places, subject.needed(), &kept),
        physical,
        virtual_base,
        kept,
        image_findings: subject.image_findings.clone(),
        runs: observe::all(engine, subject, &case, &planned, run_done),
        case,
    })
}

/// `case` with an RDRAND that answers the first number for the physical draw and the second for the virtual one.
fn with_answers(case: &Case, answers: [u64; 2]) -> Case {
    let mut case = case.clone();
    case.cpu.rdrand = Some(answers.to_vec());
    case.cpu.rdrand_failures = 0;
    case
}

/// What RDRAND answers, sample by sample.
fn answers(seed: u64) -> impl Iterator<Item = [u64; 2]> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    std::iter::repeat_with(move || [rng.next_u64(), rng.next_u64()])
}

/// The model of one machine, before the first random number.
struct Choices<'a> {
    prepared: Option<Prepared<'a>>,
    off: Option<&'static str>,
    unmoved: Prediction,
    alignment: u64,
}

impl<'a> Choices<'a> {
    fn new(
        subject: &'a Subject,
        case: &Case,
        placement: &Placement,
        inputs: &reference::Inputs<'a>,
    ) -> Result<Choices<'a>, SurveyError> {
        let output = placement.output;
        let virt = reference::unrandomized_virt(&subject.image, subject.link, output);
        let alignment = subject.image.header().kernel_alignment.map_or(1, u64::from).max(1);
        let unmoved = Prediction { output, virt };
        let off = |why| Ok(Choices { prepared: None, off: Some(why), unmoved, alignment });
        if !subject.image.stub().kaslr {
            return off("this kernel is built without it");
        }
        let prepared = match &subject.model {
            Ok(model) => model.prepare(placement, inputs),
            Err(_) if !case.asks_for_kaslr() => return off("the command line forbids it"),
            Err(why) => Err(why.clone()),
        };
        match prepared.map_err(SurveyError::Unpredictable)? {
            prepared if prepared.choice().is_some() => {
                Ok(Choices { prepared: Some(prepared), off: None, unmoved, alignment })
            }
            _ if case.command_line.is_none() => off("there is no command line"),
            _ => off("the command line forbids it"),
        }
    }

    fn choose(&self, cpu: Cpu, answers: &[u64; 2]) -> Prediction {
        let prepared = self.prepared.as_ref();
        prepared.map_or(self.unmoved, |p| {
            p.choose(Cpu { rdrand: Some(answers), rdrand_failures: 0, ..cpu })
        })
    }
}

/// The samples of both draws, each with the places that the stub counts.
fn draws(
    choices: &Choices,
    subject: &Subject,
    samples: impl Iterator<Item = Prediction>,
) -> Result<(Draw, Option<Draw>), SurveyError> {
    let choice = choices.prepared.as_ref().and_then(Prepared::choice);
    let places = |areas: &[(u64, u64)]| {
        Places::new(areas, choices.alignment).map_err(SurveyError::Unpredictable)
    };
    let areas = choice.map_or(&[][..], |choice| &choice.areas);
    let areas: Vec<(u64, u64)> = areas.iter().map(|area| (area.start, area.count)).collect();
    let physical = places(&areas)?;
    if choice.is_some_and(|choice| choice.physical_slots() != physical.slots) {
        let why = "the stub's count of places overflows".to_owned();
        return Err(SurveyError::Unpredictable(why));
    }
    let (outputs, bases) = samples.map(|sample| (sample.output, sample.virt)).unzip();
    let physical = Draw::new(physical, outputs);
    let virtual_base = match subject.word {
        WordSize::Bits32 => None,
        WordSize::Bits64 => {
            let slots = choice.map(|choice| (subject.link.physical, choice.virtual_slots));
            Some(Draw::new(places(slots.as_slice())?, bases))
        }
    };
    Ok((physical, virtual_base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_depend_on_the_seed_alone() {
        let first = |seed| answers(seed).take(3).collect::<Vec<_>>();
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
        assert_ne!(first(7)[0][0], first(7)[0][1]);
    }
}
