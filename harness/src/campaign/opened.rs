// SPDX-License-Identifier: GPL-2.0-only
//! An image that is ready to be run: taken apart, and with the space that its cases are drawn from.

use std::path::Path;
use std::time::Instant;

use super::{CaseResult, ImageFacts, ImageFailure, Shrunk, draw, run, shrink};
use crate::build_tree::BuildTree;
use crate::case::{Case, Demands, Loader, Protocols, Space, place};
use crate::exit::Exit;
use crate::image::Image;
use crate::machine::Engine;
use crate::oracle::{CompareError, Judgement, Rule, Subject};
use crate::reference::highest_heap;
use crate::vmlinux::Vmlinux;

/// An image with all that its cases share.
pub struct Opened {
    /// The image.
    pub subject: Subject,
    /// What its cases are drawn from.
    pub space: Space,
}

impl Opened {
    /// Opens the image at `path`, and compares it with the `vmlinux` that it was made from: the one given, or the one in
    /// the folder that it was built in.
    ///
    /// # Errors
    /// It is no image that can be checked, has no cases of this kind, or the given `vmlinux` cannot be compared with it.
    pub fn new(
        path: &Path,
        vmlinux: Option<&Path>,
        protocols: Protocols,
        loaders: &[Loader],
    ) -> Result<Opened, ImageFailure> {
        let image = Image::open(path)
            .map_err(|error| ImageFailure { exit: error.exit(), message: error.to_string() })?;
        let mut subject = Subject::new(image)
            .map_err(|error| ImageFailure { exit: error.exit(), message: error.to_string() })?;
        compare(&mut subject, path, vmlinux)?;
        let demands = Demands {
            highest_heap: highest_heap(&subject.image, subject.link),
            needed: subject.needed(),
            linked: subject.link.physical,
        };
        let space = Space::new(&subject.image, subject.word, protocols, loaders, demands).map_err(
            |error| ImageFailure { message: error.to_string(), exit: Exit::CannotJudge },
        )?;
        Ok(Opened { subject, space })
    }

    /// What a report says of the image.
    pub fn facts(&self) -> ImageFacts {
        let subject = &self.subject;
        let kaslr = subject.image.stub().kaslr;
        ImageFacts {
            sha256: subject.image.sha256(),
            release: subject.image.release().map(|release| release.to_string()),
            word: subject.word,
            compression: subject.compression,
            protocols: self.space.protocols().to_vec(),
            table_entries: subject.table.groups.iter().map(|group| group.entries.len()).sum(),
            loaded_size: subject.image.protected_mode().len() as u64,
            init_size: subject.image.init_size(),
            kernel_size: subject.needed(),
            unpredicted: subject.model.as_ref().err().filter(|_| kaslr).cloned(),
            findings: subject.image_findings.clone(),
            compared: subject.compared.clone(),
        }
    }

    /// Case `number` of `seed`.
    pub fn case(&self, seed: u64, number: usize) -> Case {
        draw(&self.space, seed, number).current()
    }

    /// Runs case `number` of `seed`.
    pub fn run(&self, engine: &dyn Engine, seed: u64, number: usize) -> CaseResult {
        let case = self.case(seed, number);
        let started = Instant::now();
        let judgement = run(engine, &self.subject, &case).judgement;
        CaseResult { case, judgement, duration: started.elapsed() }
    }

    /// The rule by which a failing case is followed up: the first one that is broken, but for what is wrong with the image
    /// itself, which comes first in every judgement and needs no run.
    pub fn followed(&self, judgement: &Judgement) -> Option<Rule> {
        let own = judgement.findings.get(self.subject.image_findings.len());
        Some(own.or(judgement.findings.first())?.rule)
    }

    /// Makes `case` simpler as long as it breaks `keep`, in at most `limit` runs.
    pub fn shrink(
        &self,
        engine: &dyn Engine,
        case: Case,
        judgement: Judgement,
        keep: Rule,
        limit: usize,
    ) -> Shrunk {
        let subject = &self.subject;
        let limit = match keep {
            rule if subject.image_findings.iter().any(|finding| finding.rule == rule) => 0,
            // A run that never ends takes longest of all.
            Rule::Budget => limit / 8,
            _ => limit,
        };
        shrink(case, judgement, keep, subject.link.physical, limit, |case| {
            place(&subject.image, subject.word, case).ok()?;
            Some(run(engine, subject, case).judgement)
        })
    }
}

/// Compares the image at `path` with the `vmlinux` that it was made from. One that was not asked for, and merely lies in the
/// folder that the image was built in, is no reason to fail: why it was not compared is kept.
///
/// # Errors
/// `vmlinux` is given, and cannot be compared with the image.
pub fn compare(
    subject: &mut Subject,
    path: &Path,
    vmlinux: Option<&Path>,
) -> Result<(), ImageFailure> {
    let found = || BuildTree::of_image(path)?.vmlinux();
    let Some(file) = vmlinux.map(Path::to_path_buf).or_else(found) else { return Ok(()) };
    let opened = Vmlinux::open(&file).map_err(CompareError::from);
    let Err(error) = opened.and_then(|file| subject.compare(&file)) else { return Ok(()) };
    let message = format!("{}: {error}", file.display());
    if vmlinux.is_some() {
        return Err(ImageFailure { message, exit: error.exit() });
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    subject.compared = Some(Err(format!("{name}: {error}")));
    Ok(())
}
