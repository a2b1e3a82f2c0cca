// SPDX-License-Identifier: GPL-2.0-only
//! What each finding asks of a second run.

use super::code::Thing;
use super::kernel::{self, Field};
use super::tables;
use super::witness::Watch;
use crate::case::{Case, FIRST_MEGABYTE, objects};
use crate::explain::symbols::Symbols;
use crate::image::RelocKind;
use crate::machine::{End, Outcome, Setup};
use crate::oracle::{Finding, Landing, Rule, Subject};
use crate::range::Range;
use crate::record::{Entry, KernelPlace};

/// The judged run.
pub struct Judged<'a> {
    /// The image.
    pub subject: &'a Subject,
    /// The case.
    pub case: &'a Case,
    /// What the machine was told.
    pub setup: &'a Setup,
    /// What came out.
    pub outcome: &'a Outcome,
    /// Where the kernel was found.
    pub landing: Option<Landing>,
}

/// What one finding asks.
#[derive(Default)]
pub struct Question {
    /// What of the kernel lies there.
    pub place: Option<KernelPlace>,
    /// What of the loader's lies there.
    pub lies_there: Option<String>,
    /// What the bytes are, for a sentence.
    pub what: String,
    /// The watched bytes.
    pub bytes: Option<usize>,
    /// The field that nobody relocated.
    pub missing: Option<Unrelocated>,
    /// The watched port.
    pub port: Option<usize>,
    /// Whether the instruction that ended the run is of interest.
    pub end: bool,
    /// Registers whose last writer is.
    pub things: Vec<Thing>,
    /// The address that was chosen, or another value that is looked for.
    pub chosen: Option<usize>,
    /// What is said if nothing else can be.
    pub otherwise: Option<&'static str>,
}

/// A field that nobody relocated.
pub struct Unrelocated {
    /// Its entry.
    pub entry: Entry,
    /// How many fields of its kind were relocated.
    pub relocated: usize,
    /// The nearest of those, with the number of its watched bytes.
    pub neighbour: Option<(Entry, usize)>,
}

impl Judged<'_> {
    /// What `finding` asks; `watch` is told what to look at.
    pub fn ask(&self, finding: &Finding, symbols: &Symbols, watch: &mut Watch) -> Question {
        if self.subject.image_findings.contains(finding) {
            return self.image(finding, symbols);
        }
        match finding.rule {
            Rule::Table => self.image(finding, symbols),
            Rule::Memory => self.kernel(finding, symbols, watch),
            Rule::Fill if finding.place == "kernel" => self.kernel(finding, symbols, watch),
            Rule::Placement | Rule::Kaslr => self.placement(finding, symbols, watch),
            Rule::PageTables => self.page_tables(finding, watch),
            Rule::Footprint | Rule::BootParams | Rule::Trampoline | Rule::Fill => {
                self.bytes(finding, watch)
            }
            Rule::Fault => self.fault(finding, watch),
            Rule::HandOff | Rule::Halt | Rule::Budget => end(finding, watch),
            Rule::Ports => port(finding, watch),
            Rule::Loader => nobody("it shows only when runs are compared, and not in one of them"),
        }
    }

    /// A finding of the image: the entries that it names are places in the kernel.
    fn image(&self, finding: &Finding, symbols: &Symbols) -> Question {
        let entry = match finding.rule {
            Rule::Table => number_behind(&finding.place, "entry 0x")
                .or_else(|| number_behind(&finding.actual, "entry 0x"))
                .or_else(|| number_behind(&finding.actual, "0x")),
            _ => None,
        };
        let place = entry.map(|entry| {
            let offset = self.subject.link.field_offset(entry as u32);
            kernel::place(self.subject, symbols, offset)
        });
        Question { place, ..nobody("the image itself is wrong, whatever its stub does") }
    }

    fn kernel(&self, finding: &Finding, symbols: &Symbols, watch: &mut Watch) -> Question {
        let (Some(address), Some(landing)) = (finding.address, self.landing) else {
            return Question::default();
        };
        let offset = address.wrapping_sub(landing.output);
        let field = kernel::field_at(self.subject, offset);
        let range = field.as_ref().map_or(Range::sized(address, 1), |field| {
            Range::sized(landing.output.wrapping_add(field.offset), field.width())
        });
        watch.blocks |= field.is_some();
        Question {
            place: Some(kernel::place(self.subject, symbols, offset)),
            what: if field.is_some() { "the field".into() } else { "the byte".into() },
            bytes: Some(watch.add(range)),
            missing: field.and_then(|field| self.unrelocated(&field, landing, watch)),
            ..Question::default()
        }
    }

    fn unrelocated(
        &self,
        field: &Field,
        landing: Landing,
        watch: &mut Watch,
    ) -> Option<Unrelocated> {
        let state = |field: &Field| kernel::state(self.subject, &self.outcome.ram, landing, field);
        let wrong = state(field).is_some_and(|state| state.untouched && !state.relocated);
        if !wrong {
            return None;
        }
        let relocated: Vec<Field> = kernel::fields(self.subject, field.group)
            .filter(|other| state(other).is_some_and(|state| state.relocated && !state.untouched))
            .collect();
        let nearest = relocated.iter().min_by_key(|other| other.index.abs_diff(field.index));
        let neighbour = nearest.map(|other| {
            let range = Range::sized(landing.output.wrapping_add(other.offset), other.width());
            (other.entry(), watch.add(range))
        });
        Some(Unrelocated { entry: field.entry(), relocated: relocated.len(), neighbour })
    }

    /// The address tells how the stub came by it, and the first field that is relocated, by what distance.
    fn placement(&self, finding: &Finding, symbols: &Symbols, watch: &mut Watch) -> Question {
        let Some(landing) = self.landing else { return Question::default() };
        match finding.place.as_str() {
            "virt" => {
                let widest = [RelocKind::Abs64, RelocKind::Abs32];
                let group = widest.iter().find_map(|kind| {
                    self.subject.table.groups.iter().find(|group| group.kind == *kind)
                });
                let field = group.and_then(|group| kernel::fields(self.subject, group).last());
                let (Some(field), Some(virt)) = (field, number_behind(&finding.expected, "0x"))
                else {
                    return Question::default();
                };
                // Where it should have been relocated to.
                let due = Landing { virt, ..landing };
                watch.blocks = true;
                Question {
                    place: Some(kernel::place(self.subject, symbols, field.offset)),
                    what: "the field that is relocated first".into(),
                    bytes: Some(watch.add(Range::sized(
                        landing.output.wrapping_add(field.offset),
                        field.width(),
                    ))),
                    missing: self.unrelocated(&field, due, watch),
                    chosen: watch.look_for(landing.virt),
                    ..Question::default()
                }
            }
            "output" => Question {
                place: Some(kernel::place(self.subject, symbols, 0)),
                what: "the kernel's first bytes".into(),
                bytes: Some(watch.add(Range::sized(landing.output, 8))),
                chosen: watch.look_for(landing.output),
                ..Question::default()
            },
            _ => Question::default(),
        }
    }

    fn page_tables(&self, finding: &Finding, watch: &mut Watch) -> Question {
        if finding.place == "cr3" {
            return end(finding, watch);
        }
        let registers = &self.outcome.registers;
        let slot = finding
            .address
            .and_then(|linear| tables::deciding(&self.outcome.ram, registers, linear));
        let Some(slot) = slot else { return Question::default() };
        Question {
            what: format!("the entry at {:#x} of the page tables, which decides this,", slot.start),
            bytes: Some(watch.add(slot)),
            ..Question::default()
        }
    }

    fn bytes(&self, finding: &Finding, watch: &mut Watch) -> Question {
        // The code that ran in low memory is asked for by where it began to run.
        let low = |range: &&Range| range.end <= FIRST_MEGABYTE.end;
        let code = || self.outcome.code.iter().find(low).map(|range| range.start);
        let address = match finding.rule {
            Rule::Trampoline => finding.address.or_else(code),
            _ => finding.address,
        };
        let Some(address) = address else {
            return match (finding.rule, Thing::named(&finding.place)) {
                // Whoever saves a register and restores it writes it last, but did not make its value.
                (Rule::Fill, Some(thing)) => Question {
                    chosen: watch.look_for(thing.value(&self.outcome.registers)),
                    ..end(finding, watch)
                },
                (_, Some(_)) => end(finding, watch),
                (Rule::Fill, None) => nobody(
                    "it shows only when runs with two fills are compared, and not in one of them",
                ),
                (Rule::Trampoline, None) => nobody("no code ran in low memory"),
                (_, None) => Question::default(),
            };
        };
        let object = objects(self.case).into_iter().find(|object| object.range.contains(address));
        let lies_there = object.map(|object| {
            let offset = address - object.range.start;
            format!("byte {offset:#x} of the {} {}", object.what, object.range)
        });
        Question {
            lies_there,
            what: "the byte".into(),
            bytes: Some(watch.add(Range::sized(address, 1))),
            ..Question::default()
        }
    }

    /// What ran there need not be the stub's own code any more: who wrote it last may matter more than what it is.
    fn fault(&self, finding: &Finding, watch: &mut Watch) -> Question {
        let at = self.outcome.registers.rip;
        let in_copy = self.outcome.code.iter().any(|copy| copy.contains(at));
        Question {
            what: "the code there".into(),
            bytes: in_copy.then(|| watch.add(Range::sized(at, 1))),
            ..end(finding, watch)
        }
    }

    /// Whether the run ended by a jump to the kernel.
    pub fn handed_off(&self) -> bool {
        self.outcome.end == End::HandOff
    }
}

/// No instruction, and why.
fn nobody(why: &'static str) -> Question {
    Question { otherwise: Some(why), ..Question::default() }
}

/// What about the end of the run.
fn end(finding: &Finding, watch: &mut Watch) -> Question {
    watch.blocks = true;
    let thing = Thing::named(&finding.place);
    Question { end: true, things: thing.into_iter().collect(), ..Question::default() }
}

fn port(finding: &Finding, watch: &mut Watch) -> Question {
    let port = number_behind(&finding.place, "port 0x").and_then(|port| u16::try_from(port).ok());
    let port = port.map(|port| {
        let known = watch.ports.iter().position(|known| *known == port);
        known.unwrap_or_else(|| {
            watch.ports.push(port);
            watch.ports.len() - 1
        })
    });
    Question { port, ..Question::default() }
}

/// The hex number that follows `prefix` in `text`.
fn number_behind(text: &str, prefix: &str) -> Option<u64> {
    let digits = &text[text.find(prefix)? + prefix.len()..];
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(&digits[..end], 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_out_of_places() {
        assert_eq!(number_behind("port 0x3fb", "port 0x"), Some(0x3fb));
        assert_eq!(
            number_behind("32-bit group, entry 0x81000004: x", "entry 0x"),
            Some(0x8100_0004)
        );
        assert_eq!(number_behind("word 3 of the table", "entry 0x"), None);
        assert_eq!(number_behind("0xg", "0x"), None);
    }

    #[test]
    fn things_have_names() {
        for (name, number) in [
            ("rax", 0),
            ("esi", 6),
            ("r15", 15),
            ("cs", 17),
            ("gs", 21),
            ("direction flag", 22),
            ("cr0.PG", 24),
            ("efer.LMA", 29),
        ] {
            assert_eq!(Thing::named(name), Some(Thing(number)), "{name}");
        }
        assert_eq!(Thing::named("kernel"), None);
    }
}
