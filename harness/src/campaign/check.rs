// SPDX-License-Identifier: GPL-2.0-only
//! The main job: explores each image, on every core, with no more than a few images in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::iter::{ParallelBridge, ParallelIterator};

use super::{Shrunk, draw, run, shrink};
use crate::case::{Case, Demands, Loader, Protocol, Protocols, Space, place};
use crate::exit::Exit;
use crate::image::{Compression, Image, WordSize};
use crate::machine::Engine;
use crate::oracle::{Finding, Judgement, Rule, Subject, Verdict, judge_invariance};
use crate::reference::highest_heap;

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
    /// Why KASLR's choice cannot be predicted, if it cannot.
    pub unpredicted: Option<String>,
    /// Deviations of the image itself.
    pub findings: Vec<Finding>,
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

struct Opened {
    subject: Subject,
    space: Space,
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
            let opened = open(&self.input.path, plan).map(Arc::new);
            state.facts =
                Some(opened.as_ref().map(|opened| facts(opened)).map_err(ImageFailure::clone));
            state.opened = Some(opened);
        }
        state.opened.clone().expect("opened above")
    }

    fn work(&self, engine: &dyn Engine, plan: &Plan, number: usize) -> Verdict {
        let opened = self.open(plan);
        let mut verdict = Verdict::CannotJudge;
        if let Ok(opened) = &opened {
            let case = draw(&opened.space, plan.seed, number).current();
            let started = Instant::now();
            let judgement = run(engine, &opened.subject, &case).judgement;
            verdict = judgement.verdict();
            let result = CaseResult { case, judgement, duration: started.elapsed() };
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
        // The image's own findings come first, and need no run.
        let own = judgement.findings.get(opened.subject.image_findings.len());
        let keep = own.or(judgement.findings.first())?.rule;
        let limit = match own.map(|finding| finding.rule) {
            None => 0,
            // A run that never ends takes longest of all.
            Some(Rule::Budget) => plan.shrink_runs / 8,
            Some(_) => plan.shrink_runs,
        };
        let subject = &opened.subject;
        let case = draw(&opened.space, plan.seed, number).current();
        let preferred = subject.link.physical;
        let shrunk = shrink(case, judgement, keep, preferred, limit, |case| {
            place(&subject.image, subject.word, case).ok()?;
            Some(run(engine, subject, case).judgement)
        });
        let Shrunk { case, judgement, .. } = shrunk;
        Some((case, judgement))
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

fn open(path: &Path, plan: &Plan) -> Result<Opened, ImageFailure> {
    let image = Image::open(path)
        .map_err(|error| ImageFailure { exit: error.exit(), message: error.to_string() })?;
    let subject = Subject::new(image)
        .map_err(|error| ImageFailure { exit: error.exit(), message: error.to_string() })?;
    let highest_heap = highest_heap(&subject.image, subject.link);
    let demands = Demands { highest_heap, needed: subject.needed(), linked: subject.link.physical };
    let space = Space::new(&subject.image, subject.word, plan.protocols, &plan.loaders, demands)
        .map_err(|error| ImageFailure { message: error.to_string(), exit: Exit::CannotJudge })?;
    Ok(Opened { subject, space })
}

fn facts(opened: &Opened) -> ImageFacts {
    let subject = &opened.subject;
    ImageFacts {
        sha256: subject.image.sha256(),
        release: subject.image.release().map(|release| release.to_string()),
        word: subject.word,
        compression: subject.compression,
        protocols: opened.space.protocols().to_vec(),
        table_entries: subject.table.groups.iter().map(|group| group.entries.len()).sum(),
        unpredicted: subject.model.as_ref().err().filter(|_| subject.image.stub().kaslr).cloned(),
        findings: subject.image_findings.clone(),
    }
}
