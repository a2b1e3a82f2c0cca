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
            rdrand_failures: setup.cpu.rdrand_failures,
            tsc: setup.cpu.tsc.as_deref(),
            timer: &setup.timer,
        },
        load: setup.stub.address,
        entered_at_32_bits: setup.mode == EntryMode::Protected,
        entered_with_five_levels: matches!(setup.mode, EntryMode::Long { five_levels: true, .. }),
        boot_params: setup.boot_params,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run, build, fixture, image};
    use super::*;
    use crate::image::WordSize;

    #[test]
    fn what_cannot_be_predicted_is_said_with_its_reason() {
        let mut run = Run::chosen(WordSize::Bits64);
        assert_eq!(run.scene().unpredicted(), None);
        run.subject.model = Err("it is old".into());
        assert_eq!(run.scene().unpredicted().as_deref(), Some("KASLR's choice: it is old"));
        let mut forbidden = Run::new(WordSize::Bits64);
        forbidden.subject.model = Err("it is old".into());
        assert_eq!(forbidden.scene().unpredicted().as_deref(), Some("boot_params: it is old"));
    }

    #[test]
    fn a_stub_may_choose_if_it_can_and_is_not_forbidden_to() {
        let may = |words, line: Option<&str>| {
            let case = Case { command_line: line.map(Into::into), ..Case::default() };
            let run = Run::of(image(WordSize::Bits64, "6.1.192", words), case);
            run.scene().may_choose()
        };
        assert!(may("nokaslr\0", Some("")));
        assert!(!may("nokaslr\0", Some("nokaslr")));
        assert!(!may("nokaslr\0", None));
        assert!(!may("", Some("")));
    }

    #[test]
    fn a_stub_that_knows_no_kaslr_stays_even_if_nothing_else_is_known() {
        for (words, line) in [("", "quiet"), ("nokaslr\0", "nokaslr")] {
            let case = Case { command_line: Some(line.into()), ..Case::default() };
            let mut run = Run::of(image(WordSize::Bits64, "6.1.192", words), case);
            run.subject.model = Err("it is old".into());
            let prediction = run.scene().prediction.clone();
            let unmoved = Prediction { output: 16 * MIB, virt: 16 * MIB };
            assert_eq!(prediction, Ok(unmoved), "{words:?} {line}");
        }
    }

    #[test]
    fn a_plan_is_what_the_scene_expects() {
        let run = Run::chosen(WordSize::Bits64);
        let (placement, prediction) = plan(&run.subject, &run.case, &run.setup).unwrap();
        let scene = run.scene();
        assert_eq!((placement, Ok(prediction)), (scene.placement, scene.prediction.clone()));
        let mut lost = Run::chosen(WordSize::Bits64);
        lost.setup.boot_params = 5 << 40;
        let why = plan(&lost.subject, &lost.case, &lost.setup).unwrap_err();
        assert_eq!(why, "boot_params are not in RAM");
        assert_eq!(lost.said(), ["boot_params are not in RAM"]);
    }

    #[test]
    fn the_entry_and_the_cpu_are_passed_on() {
        let mut run = Run::of(build(fixture(WordSize::Bits64, "6.1.192", "")), Case::default());
        run.setup.cpu.la57 = true;
        run.setup.cpu.rdrand = Some(vec![3]);
        run.setup.cpu.rdrand_failures = 6;
        run.setup.cpu.tsc = Some(vec![4]);
        run.setup.timer = vec![5];
        let memory = Loaded(&run.setup);
        let told = inputs(&run.setup, &memory);
        let cpu = Cpu {
            la57: true,
            rdrand: Some(&[3]),
            rdrand_failures: 6,
            tsc: Some(&[4]),
            timer: &[5],
        };
        assert_eq!((told.cpu, told.load), (cpu, 16 * MIB));
        assert!(told.entered_at_32_bits && !told.entered_with_five_levels);
        for five_levels in [false, true] {
            let mut setup = run.setup.clone();
            setup.mode = EntryMode::Long { page_tables: 0x4_0000, five_levels };
            let memory = Loaded(&setup);
            let told = inputs(&setup, &memory);
            assert_eq!(
                (told.entered_at_32_bits, told.entered_with_five_levels),
                (false, five_levels)
            );
        }
    }
}
