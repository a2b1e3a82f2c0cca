// SPDX-License-Identifier: GPL-2.0-only
//! What must be said of who is to blame for a finding.

use std::time::Duration;

use relocheck::campaign::run_keeping;
use relocheck::case::Case;
use relocheck::explain::blame::explain;
use relocheck::explain::symbols::{SymbolFiles, Symbols};
use relocheck::image::Image;
use relocheck::machine::UnicornEngine;
use relocheck::oracle::{Judgement, Subject};
use relocheck::record::{Blame, Site};

use super::says::said;

/// A run with its explanation.
pub struct Blamed {
    pub judgement: Judgement,
    pub blame: Vec<Blame>,
    /// The protected-mode part of the image.
    pub stub: Vec<u8>,
}

/// Runs and explains an image file; `named` are files with symbols.
pub fn blamed(file: &[u8], case: &Case, named: &SymbolFiles) -> Blamed {
    let image = Image::parse(file.to_vec()).expect("a bzImage");
    let stub = image.protected_mode().to_vec();
    let subject = Subject::new(image).unwrap_or_else(|error| panic!("{error}"));
    let symbols = Symbols::read(&subject, named, &SymbolFiles::default());
    let symbols = symbols.unwrap_or_else(|error| panic!("{error}"));
    let engine = UnicornEngine::with_patience(Duration::from_secs(60));
    let (run, machine) = run_keeping(&engine, &subject, case);
    let (setup, outcome) = machine.expect("the case can be run");
    let machine = (&setup, &outcome);
    let blame = explain(&subject, case, machine, &run.judgement, &symbols)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(blame.len(), run.judgement.findings.len(), "one for each finding");
    assert!(blame.iter().all(|blame| !blame.summary.is_empty()), "{blame:#?}");
    Blamed { judgement: run.judgement, blame, stub }
}

/// Who must be named, by the first letters of the disassembly.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// The instruction that wrote the bytes last.
    Store(&'a str),
    /// The instruction that set this register last.
    Origin(&'a str, &'a str),
    /// The instruction that ended the run, or used a port.
    Instruction(&'a str),
    /// Nobody relocated it; neighbours are relocated by this instruction.
    Neighbour(&'a str),
    /// Nobody relocated it, nor any other of its kind.
    Nobody,
    /// Nobody wrote it at all.
    Unwritten,
}

impl Blamed {
    /// `by` is blamed for the finding of that number. Returns the instruction.
    pub fn names(&self, finding: usize, by: By) -> Option<&Site> {
        let blame = &self.blame[finding];
        let (site, text) = match by {
            By::Store(text) => (blame.stores.last().map(|store| &store.site), text),
            By::Instruction(text) => (blame.instruction.as_ref(), text),
            By::Origin(register, text) => {
                let origin = blame.origins.iter().find(|origin| origin.register == register);
                (origin.and_then(|origin| origin.site.as_ref()), text)
            }
            By::Neighbour(text) => {
                let by = blame.missing.as_ref().and_then(|missing| missing.by.as_ref());
                (by.map(|store| &store.site), text)
            }
            By::Nobody => {
                let missing = blame.missing.as_ref();
                let nobody = missing.is_some_and(|m| m.relocated == 0 && m.by.is_none());
                assert!(nobody, "{}: wanted {by:?}, but it was said: {blame:#?}", self.said());
                return None;
            }
            By::Unwritten => {
                let nobody = blame.stores.is_empty() && blame.summary.starts_with("nobody wrote");
                assert!(nobody, "{}: wanted {by:?}, but it was said: {blame:#?}", self.said());
                return None;
            }
        };
        let fits = site.is_some_and(|site| site.text.starts_with(text));
        assert!(fits, "{}: wanted {by:?}, but it was said: {blame:#?}", self.said());
        let site = site.expect("it fits");
        // The image itself has these bytes there.
        let offset = site.offset.expect("code of the image") as usize;
        let len = site.bytes.split(' ').count();
        let there: Vec<String> =
            self.stub[offset..offset + len].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(site.bytes, there.join(" "), "{site:#?}");
        Some(site)
    }

    /// As [`Blamed::names`], and the instruction has bytes that are not those of `twin`.
    pub fn names_change(&self, finding: usize, by: By, twin: &Image) {
        let Some(site) = self.names(finding, by) else { return };
        let offset = site.offset.expect("code of the image") as usize;
        let twin = twin.protected_mode();
        let changed = (offset..offset + site.bytes.split(' ').count())
            .any(|at| self.stub.get(at) != twin.get(at));
        assert!(changed, "{by:?} is not what was changed: {site:#?}");
    }

    fn said(&self) -> String {
        said(&self.judgement)
    }
}
