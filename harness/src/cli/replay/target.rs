// SPDX-License-Identifier: GPL-2.0-only
//! What the options of `relocheck replay` that look into a run need: the run itself, and names.

use std::path::Path;

use anyhow::anyhow;

use super::super::Failure;
use crate::build_tree::BuildTree;
use crate::case::{Case, place};
use crate::explain::symbols::{SymbolFiles, Symbols};
use crate::explain::trace::{FunctionNames, StubNames};
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
    path: &'a Path,
    named: SymbolFiles,
}

impl<'a> Target<'a> {
    /// The `case` of the image at `path`; the stub's symbols are in the file that is `named`, or beside the image.
    pub fn new(
        path: &'a Path,
        subject: &'a Subject,
        case: &'a Case,
        named: &SymbolFiles,
    ) -> Target<'a> {
        let named = SymbolFiles { stub: named.stub.clone(), ..SymbolFiles::default() };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Target { name, subject, case, path, named }
    }

    /// What the machine is told.
    pub fn setup(&self) -> Result<Setup, Failure> {
        place(&self.subject.image, self.subject.word, self.case)
            .map_err(|error| Failure::cannot_judge(anyhow!("not run: {error}")))
    }

    /// Names of the stub's functions, if its ELF file is there.
    pub fn names(&self) -> Result<Box<dyn FunctionNames>, Failure> {
        let found = BuildTree::of_image(self.path).map(|tree| SymbolFiles::of(&tree));
        let stub =
            SymbolFiles { stub: found.and_then(|found| found.stub), ..SymbolFiles::default() };
        let symbols = Symbols::read(self.subject, &self.named, &stub);
        let symbols = symbols.map_err(Failure::usage)?;
        Ok(Box::new(StubNames(symbols.stub().clone())))
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
