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
use relocheck::vmlinux::Vmlinux;

use super::says::said;

/// A budget that no kernel gets by with, in blocks.
const SMALL: u64 = 1 << 24;

/// A run with its explanation.
pub struct Blamed {
    pub judgement: Judgement,
    pub blame: Vec<Blame>,
    /// The protected-mode part of the image.
    pub stub: Vec<u8>,
}

/// Runs and explains an image file; `named` are files with symbols, and its table is compared with a vmlinux among them.
pub fn blamed(file: &[u8], case: &Case, named: &SymbolFiles) -> Blamed {
    let image = Image::parse(file.to_vec()).expect("a bzImage");
    let stub = image.protected_mode().to_vec();
    let mut subject = Subject::new(image).unwrap_or_else(|error| panic!("{error}"));
    if let Some(path) = &named.vmlinux {
        let vmlinux = Vmlinux::open(path).unwrap_or_else(|error| panic!("{error}"));
        subject.compare(&vmlinux).unwrap_or_else(|error| panic!("{error}"));
    }
    let symbols = Symbols::read(&subject, named, &SymbolFiles::default());
    let symbols = symbols.unwrap_or_else(|error| panic!("{error}"));
    // Only a case that is meant to use up its budget has a small one.
    let engine = UnicornEngine::with_patience(match case.budget {
        0..SMALL => Duration::ZERO,
        _ => Duration::from_secs(60),
    });
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
    /// No instruction of the stub set this register.
    Untouched(&'a str),
    /// The address that was chosen appeared by this instruction, among others.
    Chosen(&'a str),
    /// The instruction that ended the run is none of the image's; the code there was last written by this one.
    Overwritten(&'a str),
    /// The instruction that ended the run is none of the image's.
    Foreign,
    /// The image itself.
    Image,
    /// No instruction can be named, for this reason.
    NoOne(&'a str),
}

/// Who must be named, and whether that is what the damage changed.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// The instruction has bytes that the undamaged image has not.
    Changed(By<'a>),
    /// The instruction is as it was: it did what it was made to do by what is damaged, or missing. Or there is none.
    Misled(By<'a>),
    /// The run went astray: all further findings follow from those before.
    AndWhatFollows,
}

impl Blamed {
    /// These are blamed for the first findings, in their order; `twin` is the undamaged image. Further findings are of the same
    /// rules.
    pub fn names_all(&self, who: &[Who], twin: &Image) {
        let findings = &self.judgement.findings;
        let astray = matches!(who.last(), Some(Who::AndWhatFollows));
        let who = &who[..who.len() - usize::from(astray)];
        let fits = who.len() <= findings.len() && who.is_empty() == findings.is_empty();
        assert!(fits, "wanted {who:?}, but it was said:{}", self.said());
        let (named, rest) = findings.split_at(who.len());
        let known = |rule| named.iter().any(|finding| finding.rule == rule);
        let blamed = astray || rest.iter().all(|finding| known(finding.rule));
        assert!(blamed, "not blamed:{}", self.said());
        for (number, who) in who.iter().enumerate() {
            match *who {
                Who::Changed(by) => self.names_change(number, by, twin),
                Who::Misled(by) => drop(self.names(number, by)),
                Who::AndWhatFollows => panic!("it stands at the end"),
            }
        }
    }

    /// `by` is blamed for the finding of that number. Returns the instruction.
    pub fn names(&self, finding: usize, by: By) -> Option<&Site> {
        let blame = &self.blame[finding];
        let (site, text) = match by {
            By::Overwritten(text) => {
                let stubs = blame.instruction.as_ref().is_none_or(|site| site.offset.is_some());
                assert!(!stubs, "{}: wanted {by:?}, but it was said: {blame:#?}", self.said());
                (blame.stores.last().map(|store| &store.site), text)
            }
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
            By::Chosen(text) => {
                let sites = blame.chosen.iter().filter_map(|held| held.site.as_ref());
                (sites.clone().find(|site| site.text.starts_with(text)), text)
            }
            By::Nobody
            | By::Unwritten
            | By::Untouched(_)
            | By::Foreign
            | By::Image
            | By::NoOne(_) => {
                let fits = blames_nobody(blame, by);
                assert!(fits, "{}: wanted {by:?}, but it was said: {blame:#?}", self.said());
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
        assert!(changed, "{by:?} is not what was changed: {:#?}", self.blame[finding]);
    }

    fn said(&self) -> String {
        said(&self.judgement)
    }
}

/// Whether it is said that no instruction did it.
fn blames_nobody(blame: &Blame, by: By) -> bool {
    let unnamed = blame.stores.is_empty() && blame.instruction.is_none();
    match by {
        By::Nobody => blame.missing.as_ref().is_some_and(|m| m.relocated == 0 && m.by.is_none()),
        By::Unwritten => unnamed && blame.summary.starts_with("nobody wrote"),
        By::Untouched(register) => {
            blame.origins.iter().any(|set| set.register == register && set.site.is_none())
        }
        By::Foreign => blame.instruction.as_ref().is_some_and(|site| site.offset.is_none()),
        By::Image => unnamed && blame.summary.starts_with("the image itself is wrong"),
        By::NoOne(why) => unnamed && blame.summary.starts_with(why),
        _ => false,
    }
}
