// SPDX-License-Identifier: GPL-2.0-only
//! What the options of `relocheck replay` that look into a run need: the run itself, and names.

use std::path::Path;

use anyhow::anyhow;

use super::super::Failure;
use crate::case::{Case, place};
use crate::explain::trace::{FunctionNames, Unnamed};
use crate::machine::{Interest, Observer, Outcome, Setup, UnicornEngine};
use crate::oracle::Subject;

/// A case that can be run again, as often as one likes.
pub struct Target<'a> {
    /// The image's name.
    pub name: String,
    /// The image.
    pub subject: &'a Subject,
    /// The case.
    pub case: &'a Case,
}

impl<'a> Target<'a> {
    /// The `case` of the image at `path`.
    pub fn new(path: &Path, subject: &'a Subject, case: &'a Case) -> Target<'a> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Target { name, subject, case }
    }

    /// What the machine is told.
    pub fn setup(&self) -> Result<Setup, Failure> {
        place(&self.subject.image, self.subject.word, self.case)
            .map_err(|error| Failure::cannot_judge(anyhow!("not run: {error}")))
    }

    /// Names of the stub's functions.
    pub fn names(&self) -> Box<dyn FunctionNames> {
        Box::new(Unnamed)
    }

    /// Runs the case, with its blocks counted.
    pub fn observe<O: Observer + 'static>(
        &self,
        setup: &Setup,
        interest: &Interest,
        observer: O,
    ) -> Result<(Outcome, O), Failure> {
        UnicornEngine::new()
            .observe_once(setup, interest, observer)
            .map_err(|error| Failure::cannot_judge(anyhow!("not run: {error}")))
    }
}
