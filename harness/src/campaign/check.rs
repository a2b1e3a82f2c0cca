// SPDX-License-Identifier: GPL-2.0-only
//! The main job: explores each image, on every core, with no more than a few images in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rayon::iter::{ParallelBridge, ParallelIterator};

use super::Opened;
use crate::case::{Case, Loader, Protocol, Protocols};
use crate::exit::Exit;
use crate::image::{Compression, WordSize};
use crate::machine::Engine;
use crate::oracle::{Compared, Finding, Judgement, Verdict, judge_invariance};

/// What to do with each image.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Cases per image.
    pub bases: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Entry protocols.
    pub protocols: Protocols,
    /// Loaders whose habits the cases have; none: whatever the boot protocol allows.
    pub loaders: Vec<Loader>,
    /// Runs that shrinking one failing case may take.
    pub shrink_runs: usize,
}

/// An image to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What reports call it.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The `vmlinux` that it was made from, if it is not to be looked for.
    pub vmlinux: Option<PathBuf>,
}

/// Is told how far a check has come.
pub trait Progress: Sync {
    /// One more case of an image is done.
    fn case_done(&self, image: &Input, verdict: Verdict);
}

/// One case of one image.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// What the oracles say.
    pub judgement: Judgement,
    /// How long it took. Never part of a verdict.
    pub duration: Duration,
}

/// All cases of one image.
#[derive(Debug)]
pub struct ImageResult {
    /// The image.
    pub input: Input,
    /// What the image is, or why it cannot be checked.
    pub image: Result<ImageFacts, ImageFailure>,
    /// Its cases in the order of their numbers.
    pub cases: Vec<CaseResult>,
    /// The simplest case of the first failing one.
    pub shrunk: Option<(Case, Judgement)>,
}

/// What a report says of an image.
#[derive(Clone, Debug)]
pub struct ImageFacts {
    /// SHA-256 of the file.
    pub sha256: String,
    /// The kernel's release.
    pub release: Option<String>,
    /// Word size.
    pub word: WordSize,
    /// Compressor.
    pub compression: Compression,
    /// Entry protocols that cases are drawn from.
    pub protocols: Vec<Protocol>,
    /// Fields that the table names.
    pub table_entries: usize,
    /// Bytes of the image that the loader puts into memory.
    pub loaded_size: u64,
    /// `init_size`: bytes that the stub needs from its load address on, or from `output` if that is higher.
    pub init_size: u64,
    /// Bytes from the output on that the kernel and the decompressor use.
    pub kernel_size: u64,
    /// Why KASLR's choice cannot be predicted, if it cannot.
    pub unpredicted: Option<String>,
    /// Deviations of the image itself.
    pub findings: Vec<Finding>,
    /// What the comparison with `vmlinux` gave, or why there was none.
    pub compared: Option<Result<Compared, String>>,
}

/// An image without a verdict.
#[derive(Clone, Debug)]
pub struct ImageFailure {
    /// One line that says why.
    pub message: String,
    /// The exit code that goes with it.
    pub exit: Exit,
}

impl ImageResult {
    /// The verdict on the image: a deviation outweighs a doubt, a doubt outweighs conformance.
    pub fn verdict(&self) -> Verdict {
        match &self.image {
            Err(_) => Verdict::CannotJudge,
            Ok(facts) if !facts.findings.is_empty() => Verdict::Diverges,
            Ok(_) => self
                .cases
                .iter()
                .map(|case| case.judgement.verdict())
                .max()
                .unwrap_or(Verdict::CannotJudge),
        }
    }

    /// The exit code for this image alone.
    pub fn exit(&self) -> Exit {
        match (&self.image, self.verdict()) {
            (Err(failure), _) => failure.exit,
            (_, Verdict::Conforms) => Exit::Conforms,
            (_, Verdict::CannotJudge) => Exit::CannotJudge,
            (_, Verdict::Diverges) => Exit::Diverges,
        }
    }
}

/// Checks the images; the results are in their order. Runs in the current rayon pool.
pub fn check(
    engine: &dyn Engine,
    inputs: &[Input],
    plan: &Plan,
    progress: &dyn Progress,
) -> Vec<ImageResult> {
    let slots: Vec<Slot> =
        inputs.iter().map(|input| Slot::new(input.clone(), plan.bases)).collect();
    let tasks = slots.iter().flat_map(|slot| (0..plan.bases).map(move |number| (slot, number)));
    tasks.par_bridge().for_each(|(slot, number)| {
        let verdict = slot.work(engine, plan, number);
        progress.case_done(&slot.input, verdict);
    });
    slots.into_iter().map(Slot::into_result).collect()
}

/// An image while its cases are worked on: opened by the first, closed by the last.
struct Slot {
    input: Input,
    state: Mutex<State>,
}

struct State {
    opened: Option<Result<Arc<Opened>, ImageFailure>>,
    facts: Option<Result<ImageFacts, ImageFailure>>,
    remaining: usize,
    done: BTreeMap<usize, CaseResult>,
    shrunk: Option<(Case, Judgement)>,
}

impl Slot {
    fn new(input: Input, cases: usize) -> Slot {
        let state = State {
            opened: None,
            facts: None,
            remaining: cases,
            done: BTreeMap::new(),
            shrunk: None,
        };
        Slot { input, state: Mutex::new(state) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, plan: &Plan) -> Result<Arc<Opened>, ImageFailure> {
        let mut state = self.lock();
        if state.opened.is_none() {
            let Input { path, vmlinux, .. } = &self.input;
            let opened = Opened::new(path, vmlinux.as_deref(), plan.protocols, &plan.loaders);
            let opened = opened.map(Arc::new);
            state.facts =
                Some(opened.as_ref().map(|opened| opened.facts()).map_err(ImageFailure::clone));
            state.opened = Some(opened);
        }
        state.opened.clone().expect("opened above")
    }

    fn work(&self, engine: &dyn Engine, plan: &Plan, number: usize) -> Verdict {
        let opened = self.open(plan);
        let mut verdict = Verdict::CannotJudge;
        if let Ok(opened) = &opened {
            let result = opened.run(engine, plan.seed, number);
            verdict = result.judgement.verdict();
            self.lock().done.insert(number, result);
        }
        let last = {
            let mut state = self.lock();
            state.remaining -= 1;
            state.remaining == 0
        };
        if last {
            if let Ok(opened) = &opened {
                let shrunk = self.shrink_first_failure(engine, plan, opened);
                self.lock().shrunk = shrunk;
            }
            self.lock().opened = None;
        }
        verdict
    }

    /// Of the rules that are broken, the first one of the lowest-numbered failing case is followed up.
    fn shrink_first_failure(
        &self,
        engine: &dyn Engine,
        plan: &Plan,
        opened: &Opened,
    ) -> Option<(Case, Judgement)> {
        let (number, judgement) = {
            let state = self.lock();
            let failing = |(_, result): &(&usize, &CaseResult)| {
                result.judgement.verdict() == Verdict::Diverges
            };
            let (number, result) = state.done.iter().find(failing)?;
            (*number, result.judgement.clone())
        };
        let keep = opened.followed(&judgement)?;
        let case = opened.case(plan.seed, number);
        let shrunk = opened.shrink(engine, case, judgement, keep, plan.shrink_runs);
        Some((shrunk.case, shrunk.judgement))
    }

    fn into_result(self) -> ImageResult {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let never =
            ImageFailure { message: "no case was asked for".into(), exit: Exit::CannotJudge };
        let mut image = state.facts.unwrap_or(Err(never));
        if let Ok(facts) = &mut image {
            let kernels = state.done.iter();
            let kernels = kernels.filter_map(|(n, result)| Some((*n, result.judgement.kernel?)));
            facts.findings.extend(judge_invariance(kernels));
        }
        ImageResult {
            input: self.input,
            image,
            cases: state.done.into_values().collect(),
            shrunk: state.shrunk,
        }
    }
}
