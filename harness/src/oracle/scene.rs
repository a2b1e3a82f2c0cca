// SPDX-License-Identifier: GPL-2.0-only
//! One run with everything that is known of it: what the loader did, what came out, what should have.

use super::Subject;
use super::loaded::Loaded;
use crate::case::Case;
use crate::machine::{EntryMode, Outcome, Setup};
use crate::reference::{
    self, Cpu, HandOver, Inputs, Paging, Passed, Placement, Prediction, unrandomized_virt,
    vintage_hand_over,
};

/// What the oracles look at.
pub struct Scene<'a> {
    /// The image.
    pub subject: &'a Subject,
    /// The case.
    pub case: &'a Case,
    /// What the machine was told.
    pub setup: &'a Setup,
    /// What came out.
    pub outcome: &'a Outcome,
    /// Where the stub must move.
    pub placement: Placement,
    /// Where the kernel must end up; an error is the reason why that cannot be predicted.
    pub prediction: Result<Prediction, String>,
    /// What boot_params must hold at the hand-off.
    pub hand_over: Result<HandOver, String>,
    /// The page tables' levels at the hand-off, and the trampoline.
    pub paging: Result<Paging, String>,
}

impl<'a> Scene<'a> {
    /// Asks the reference.
    ///
    /// # Errors
    ///
    /// There is nothing that it could say.
    pub fn new(
        subject: &'a Subject,
        case: &'a Case,
        setup: &'a Setup,
        outcome: &'a Outcome,
    ) -> Result<Scene<'a>, String> {
        let memory = Loaded(setup);
        let passed = Passed::read(&memory, setup.boot_params);
        let passed = passed.ok_or("boot_params are not in RAM")?;
        let load = setup.stub.address;
        let placement = reference::place(&subject.image, subject.link, load, passed);
        let inputs = inputs(setup, &memory);
        let model = subject.model.as_ref().map_err(Clone::clone);
        let (hand_over, paging) = match subject.image.vintage() {
            Some(vintage) => (
                vintage_hand_over(vintage, &memory, setup.boot_params),
                Ok(Paging { five_levels: false, trampoline: None }),
            ),
            None => (
                model.clone().and_then(|model| model.boot_params(&placement, &inputs)),
                model.and_then(|model| model.paging(&placement, &inputs)),
            ),
        };
        Ok(Scene {
            prediction: predict(subject, case, &placement, &inputs),
            hand_over,
            paging,
            subject,
            case,
            setup,
            outcome,
            placement,
        })
    }

    /// Whether the stub may choose where the kernel goes: it knows how, and is not forbidden to.
    pub fn may_choose(&self) -> bool {
        self.subject.image.stub().kaslr && self.case.asks_for_kaslr()
    }

    /// What cannot be predicted of this run, and why.
    pub fn unpredicted(&self) -> Option<String> {
        let why = |what: &str, why: Option<&String>| why.map(|why| format!("{what}: {why}"));
        why("KASLR's choice", self.prediction.as_ref().err())
            .or_else(|| why("boot_params", self.hand_over.as_ref().err()))
            .or_else(|| why("levels of paging", self.paging.as_ref().err()))
    }
}

/// Where the stub must move and where the kernel must end up in a machine that was told `setup`, before it runs.
///
/// # Errors
///
/// That cannot be predicted, and why.
pub fn plan(
    subject: &Subject,
    case: &Case,
    setup: &Setup,
) -> Result<(Placement, Prediction), String> {
    let memory = Loaded(setup);
    let passed = Passed::read(&memory, setup.boot_params);
    let passed = passed.ok_or("boot_params are not in RAM")?;
    let placement = reference::place(&subject.image, subject.link, setup.stub.address, passed);
    let prediction = predict(subject, case, &placement, &inputs(setup, &memory))?;
    Ok((placement, prediction))
}

fn predict(
    subject: &Subject,
    case: &Case,
    placement: &Placement,
    inputs: &Inputs,
) -> Result<Prediction, String> {
    let unmoved = || {
        let output = placement.output;
        let virt = unrandomized_virt(&subject.image, subject.link, output);
        Ok(Prediction { output, virt })
    };
    match &subject.model {
        _ if !subject.image.stub().kaslr => unmoved(),
        Ok(model) => model.predict(placement, inputs),
        Err(_) if !case.asks_for_kaslr() => unmoved(),
        Err(why) => Err(why.clone()),
    }
}

/// What the machine was told, for the reference.
pub fn inputs<'a>(setup: &'a Setup, memory: &'a Loaded<'a>) -> Inputs<'a> {
    Inputs {
        memory,
        cpu: Cpu {
            la57: setup.cpu.la57,
            rdrand: setup.cpu.rdrand.as_deref(),
            tsc: setup.cpu.tsc.as_deref(),
            timer: &setup.timer,
        },
        load: setup.stub.address,
        entered_at_32_bits: setup.mode == EntryMode::Protected,
        entered_with_five_levels: matches!(setup.mode, EntryMode::Long { five_levels: true, .. }),
        boot_params: setup.boot_params,
    }
}
