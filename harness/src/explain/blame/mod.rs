// SPDX-License-Identifier: GPL-2.0-only
//! Who wrote a wrong byte last, and who should have: the same case is run once more, and watched.
//!
//! Each finding asks a question (`question.rs`): which bytes, ports, registers or addresses it is about. A second run of the
//! same setup answers all of them at once (`witness.rs`). Only a few bytes are watched for each finding, its first ones; what
//! ran is only followed if a finding needs it (`trail.rs`): one about the end of the run, about fields, or about the place that
//! the stub chose. Whatever the second run does not show is said not to be known.

mod code;
mod copies;
mod kernel;
mod question;
mod tables;
mod trail;
mod witness;

use std::time::Duration;

use code::{Ran, leads};
use question::{Judged, Question};
use witness::{Held, Stored, Watch, Witness};

use super::symbols::Symbols;
use crate::case::Case;
use crate::machine::{End, MachineError, Outcome, Setup, UnicornEngine};
use crate::oracle::{Judgement, Subject};
use crate::range::Range;
use crate::record::{Blame, Missing, Origin, Site, Store};

/// Far longer than any run that comes to an end by itself takes while it is watched.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Explains each finding of `judgement`, in their order. `setup` and `outcome` are those of the run that was judged.
///
/// # Errors
/// The second run fails, or is not the first one over again.
pub fn explain(
    subject: &Subject,
    case: &Case,
    (setup, outcome): (&Setup, &Outcome),
    judgement: &Judgement,
    symbols: &Symbols,
) -> Result<Vec<Blame>, MachineError> {
    let judged = Judged { subject, case, setup, outcome, landing: judgement.landing };
    let mut watch = Watch::default();
    let questions: Vec<Question> =
        judgement.findings.iter().map(|finding| judged.ask(finding, symbols, &mut watch)).collect();
    // How the run ends is known: only one that uses up its budget has to be counted.
    let engine = UnicornEngine::with_patience(match outcome.end {
        End::Budget { .. } => Duration::ZERO,
        _ => PATIENCE,
    });
    let (again, witness) =
        engine.observe(setup, &watch.interest(), || Witness::new(setup, &watch))?;
    if (&again.end, &again.registers) != (&outcome.end, &outcome.registers) {
        let why = "the run that was watched came to another end than the one that was judged";
        return Err(MachineError::Engine(why.into()));
    }
    let answers = Answers { judged, again, watch, witness, symbols };
    Ok(questions.into_iter().map(|question| answers.answer(question)).collect())
}

/// What the second run showed.
struct Answers<'a> {
    judged: Judged<'a>,
    again: Outcome,
    watch: Watch,
    witness: Witness,
    symbols: &'a Symbols,
}

impl Answers<'_> {
    fn answer(&self, mut question: Question) -> Blame {
        let ending = question.end.then(|| self.ending()).flatten();
        // The stub's own code needs nobody who wrote it.
        if ending.as_ref().is_some_and(|ran| ran.offset.is_some()) {
            question.bytes = None;
        }
        let stores = question.bytes.map(|number| &self.witness.stores[number][..]);
        let stores = stores.unwrap_or_default();
        let port = question.port.and_then(|number| self.witness.ports[number].clone());
        let instruction = ending.as_ref().or(port.as_ref());
        let leading = ending.as_ref().map(|ran| leads(&ran.instruction())).unwrap_or_default();
        let things = question.things.iter().chain(leading.iter());
        let added = stores.last().and_then(|stored| stored.added.as_ref());
        let added = added.map(|held| self.held(held));
        let mut blame = Blame {
            summary: String::new(),
            place: question.place.clone(),
            lies_there: question.lies_there.clone(),
            stores: stores.iter().map(|stored| self.store(stored)).collect(),
            missing: question.missing.as_ref().map(|missing| Missing {
                entry: missing.entry.clone(),
                relocated: missing.relocated,
                neighbour: missing.neighbour.as_ref().map(|(entry, _)| entry.clone()),
                by: missing.neighbour.as_ref().and_then(|(_, number)| {
                    self.witness.stores[*number].last().map(|stored| self.store(stored))
                }),
            }),
            chosen: question
                .chosen
                .map(|number| &self.witness.appearances[number][..])
                .unwrap_or_default()
                .iter()
                .map(|held| self.held(held))
                .collect(),
            instruction: instruction.map(|ran| self.site(ran)),
            origins: things.map(|thing| self.origin(*thing)).chain(added).collect(),
            calls: match question.end {
                true => self.witness.trail.calls(&self.witness.copies),
                false => Vec::new(),
            }
            .iter()
            .map(|ran| self.site(ran))
            .collect(),
        };
        blame.origins.dedup();
        blame.summary = self.summary(&question, &blame);
        blame
    }

    /// The instruction that the run ended with.
    fn ending(&self) -> Option<Ran> {
        let Witness { trail, copies, .. } = &self.witness;
        let last = trail.last(copies);
        if self.again.end == End::HandOff {
            return last.map(|ran| Ran { registers: Some(self.again.registers.clone()), ..ran });
        }
        let registers = &self.again.registers;
        let bits = code::bits(self.judged.setup.word, registers, &self.again.ram);
        let after_halt = u64::from(self.again.end == End::Halted);
        let address = registers.rip.wrapping_sub(after_halt);
        let ram = &self.again.ram;
        let bytes = (1..=code::LONGEST).rev().find_map(|len| ram.slice(address, len))?;
        let ran = Ran::new(bytes, bits, address, copies);
        Some(Ran { registers: Some(registers.clone()), ..ran })
    }

    fn origin(&self, thing: code::Thing) -> Origin {
        let Witness { trail, copies, .. } = &self.witness;
        let end = match self.again.end {
            End::HandOff => u64::MAX,
            _ => self.again.registers.rip,
        };
        let bits = self.judged.subject.word.bits();
        Origin {
            register: thing.name(bits).to_owned(),
            value: Some(format!("{:#x}", thing.value(&self.again.registers))),
            site: trail.writer(thing, end, copies).map(|ran| self.site(&ran)),
        }
    }

    fn held(&self, held: &Held) -> Origin {
        Origin {
            register: held.thing.name(self.judged.subject.word.bits()).to_owned(),
            value: Some(format!("{:#x}", held.value)),
            site: held.ran.as_ref().map(|ran| self.site(ran)),
        }
    }

    fn site(&self, ran: &Ran) -> Site {
        ran.site(&self.judged.subject.image, self.symbols)
    }

    fn store(&self, stored: &Stored) -> Store {
        let registers = stored.ran.registers.as_ref();
        Store {
            site: self.site(&stored.ran),
            kind: stored.ran.kind(),
            address: stored.address,
            size: stored.size,
            before: code::hex(&stored.before),
            after: code::hex(&stored.after),
            times: stored.times,
            registers: registers.map(|r| code::all(r, stored.ran.bits)).unwrap_or_default(),
        }
    }

    fn summary(&self, question: &Question, blame: &Blame) -> String {
        if let Some(missing) = &blame.missing {
            let others = match (&missing.by, missing.relocated) {
                (_, 0) => "no field of its kind is".to_owned(),
                (Some(by), count) => format!("{count} of its kind are, by {}", at(&by.site)),
                (None, count) => format!("{count} of its kind are"),
            };
            let Missing { entry, .. } = missing;
            return format!(
                "nobody relocated {} of the {} entry {:#x}, number {} of {}; {others}",
                question.what, entry.kind, entry.value, entry.index, entry.of
            );
        }
        if let Some(Origin { register, value: Some(value), site: Some(site) }) =
            blame.chosen.first()
        {
            return format!("{value} was first in {register}, set by {}", at(site));
        }
        if let Some(number) = question.bytes {
            return self.written(&question.what, self.watch.bytes[number], number, blame);
        }
        if let Some(site) = &blame.instruction {
            return match (question.end, self.judged.handed_off()) {
                (true, true) => format!("the stub left by {}", at(site)),
                (true, false) => format!("the stub ended at {}", at(site)),
                (false, _) => format!("first used by {}", at(site)),
            };
        }
        question.otherwise.unwrap_or("no single instruction can be named for this").to_owned()
    }

    fn written(&self, what: &str, range: Range, number: usize, blame: &Blame) -> String {
        let found = self.again.ram.slice(range.start, range.len() as usize);
        let (Some(last), Some(stored)) = (blame.stores.last(), self.witness.stores[number].last())
        else {
            return format!("nobody wrote {what} in this run");
        };
        match found == Some(&stored.after[..]) {
            true => format!("{what} was last written by {}", at(&last.site)),
            false => format!(
                "{what} was last written by {}, and then changed without an instruction of the stub",
                at(&last.site)
            ),
        }
    }
}

/// An instruction and its place, in a sentence.
fn at(site: &Site) -> String {
    let place = match (&site.function, site.offset) {
        (Some(function), Some(offset)) => format!("{function} (stub+{offset:#x})"),
        (None, Some(offset)) => format!("stub+{offset:#x}"),
        _ => format!("{:#x}", site.address),
    };
    format!("`{}` at {place}", site.text)
}
