// SPDX-License-Identifier: GPL-2.0-only
//! Predicts where KASLR puts the kernel (`choose_random_location()`, arch/x86/boot/compressed/kaslr.c), for 5.10 and
//! later.

mod avoid;
mod entropy;
mod limits;
mod regions;
mod slots;
mod span;

use super::firmware::{setup_data, srat};
use super::inputs::Cpu;
use super::model::Model;
use super::page::Page;
use super::placement::Placement;
use super::start::Started;
use crate::image::WordSize;
use entropy::Entropy;
use regions::Search;
use slots::Slots;

pub use entropy::rotate_hash;
pub use regions::Handover;
pub use slots::Area;
pub use span::Span;

const MIB: u64 = 1 << 20;
const HIGHEST_MINIMUM: u64 = 512 * MIB;
/// `KERNEL_IMAGE_SIZE` with RANDOMIZE_BASE (asm/page_64_types.h, asm/page_32_types.h).
const IMAGE_SIZE_64: u64 = 1 << 30;
const IMAGE_SIZE_32: u64 = 512 * MIB;
/// `MAXMEM` with 4 and 5 levels of page tables (asm/sparsemem.h).
const MAX_MEMORY: u64 = 1 << 46;
const MAX_MEMORY_5_LEVELS: u64 = 1 << 52;

/// Where the kernel must be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Physical address.
    pub output: u64,
    /// Virtual base; on i386 the physical address.
    pub virt: u64,
}

/// What the stub has found out before it draws a random number: the choice that is left to it.
#[derive(Clone, Debug)]
pub struct Choice {
    word: WordSize,
    /// Places where the kernel fits, in the order in which they are counted. Empty if the stub does not look for any,
    /// or finds none.
    pub areas: Vec<Area>,
    /// Whether the stub looked for places at all.
    searched: bool,
    minimum: u64,
    limit: u64,
    needed: u64,
    alignment: u64,
    /// The lowest virtual base.
    virtual_start: u64,
    /// How many virtual bases there are to draw from; one on i386, where the physical address decides.
    pub virtual_slots: u64,
}

impl Choice {
    /// Finds out what there is to choose from. Moves the cursor in `started`.
    pub(super) fn find(
        model: &Model,
        placement: &Placement,
        started: &mut Started,
    ) -> Result<Choice, String> {
        let command_line = started.command_line.clone().ok_or("KASLR without command line")?;
        let alignment = model.alignment.ok_or("kernel_alignment is absent or no power of two")?;
        let input = model.input.ok_or("payload_offset is absent")?;
        let copy = placement.copy.ok_or("the size of the stub in memory is not known")?;
        let word = model.link.word;
        let limit = match (word, started.paging.five_levels) {
            (WordSize::Bits32, _) => IMAGE_SIZE_32,
            (WordSize::Bits64, false) => MAX_MEMORY,
            (WordSize::Bits64, true) => MAX_MEMORY_5_LEVELS,
        };
        let console = started.console;
        let guest = &mut started.guest;
        let limits = limits::read(guest, model.traits, &command_line, console, limit)?;
        let immovable = srat::immovable(guest, model.traits, &command_line, console)?;
        let own = Span {
            start: copy.saturating_add(input),
            size: placement.window.end.saturating_sub(copy.saturating_add(input)),
        };
        let nodes = setup_data::nodes(guest)?;
        let avoided = avoid::spans(guest, own, &command_line, &limits.regions, &nodes)?;
        let minimum = span::align_up(placement.output.min(HIGHEST_MINIMUM), alignment);
        let mut choice = Choice {
            word,
            areas: Vec::new(),
            searched: false,
            minimum,
            limit: limits.limit,
            needed: model.needed,
            alignment,
            virtual_start: model.link.physical,
            virtual_slots: virtual_slots(model, alignment),
        };
        if minimum.saturating_add(model.needed) > limits.limit {
            return Ok(choice);
        }
        if limits.too_many {
            let text = "Aborted memory entries scan (more than 4 memmap= args)!\n";
            console.debug(&mut guest.page, text);
            return Ok(choice);
        }
        let slots = Slots {
            avoided: &avoided,
            minimum,
            limit: limits.limit,
            alignment,
            needed: model.needed,
            gib_pages: limits.gib_pages,
            word_mask: guest.long(u64::MAX),
            areas: Vec::new(),
            comparisons: 0,
        };
        let traits = model.traits;
        let mut search = Search { guest, traits, console, immovable: &immovable, slots };
        search.run(&nodes, model.handover)?;
        choice.areas = search.slots.areas;
        choice.searched = true;
        Ok(choice)
    }

    /// Whether the stub looks for a physical place; else it says that it finds none.
    pub fn searched(&self) -> bool {
        self.searched
    }

    /// How many physical places there are to draw from.
    pub fn physical_slots(&self) -> u64 {
        let total = self.areas.iter().fold(0u64, |total, area| total.wrapping_add(area.count));
        match self.word {
            WordSize::Bits32 => total & 0xffff_ffff,
            WordSize::Bits64 => total,
        }
    }

    /// Draws the random numbers. `hash` gives the hash of boot_params, and `say` what is printed between: warnings, and
    /// what only a verbose stub says.
    pub(super) fn draw(&self, run: &mut Run, output: u64) -> Prediction {
        let physical = self.physical(run);
        if physical.is_none() {
            run.warn("Physical KASLR disabled: no suitable memory region!");
        }
        let output = physical.unwrap_or(output);
        let virt = match self.word {
            WordSize::Bits32 => output,
            WordSize::Bits64 => {
                let number = run.random("Virtual") % self.virtual_slots.max(1);
                self.virtual_start.wrapping_add(number.wrapping_mul(self.alignment))
            }
        };
        Prediction { output, virt }
    }

    /// `find_random_phys_addr()`.
    fn physical(&self, run: &mut Run) -> Option<u64> {
        if !self.searched {
            return None;
        }
        let chosen = match self.physical_slots() {
            0 => 0,
            slots => {
                let number = run.random("Physical") % slots;
                slots::place(&self.areas, self.alignment, number).unwrap_or(0)
            }
        };
        if chosen < self.minimum || chosen.wrapping_add(self.needed) > self.limit {
            run.warn("Invalid physical address chosen!\n");
            return None;
        }
        Some(chosen).filter(|chosen| *chosen != 0)
    }
}

/// `find_random_virt_addr()`.
fn virtual_slots(model: &Model, alignment: u64) -> u64 {
    match model.link.word {
        WordSize::Bits32 => 1,
        WordSize::Bits64 => {
            let room = IMAGE_SIZE_64.wrapping_sub(model.link.physical).wrapping_sub(model.needed);
            (room / alignment).wrapping_add(1)
        }
    }
}

/// One run through the draws.
pub struct Run<'a> {
    model: &'a Model,
    entropy: Entropy<'a>,
    console: super::console::Console,
    /// The hash of boot_params, while nothing changes them.
    hash: u64,
    /// boot_params as it is now.
    pub page: Page,
}

impl<'a> Run<'a> {
    /// A run that begins with this page, of which `hash` is the hash.
    pub(super) fn new(
        model: &'a Model,
        cpu: Cpu<'a>,
        console: super::console::Console,
        page: Page,
        hash: u64,
    ) -> Run<'a> {
        let entropy = Entropy::new(model.link.word, cpu);
        Run { model, entropy, console, hash, page }
    }

    fn warn(&mut self, text: &str) {
        self.console.warn(&mut self.page, text);
    }

    fn random(&mut self, purpose: &str) -> u64 {
        let hash = if self.console.is_on() { self.model.hash(&self.page) } else { self.hash };
        let number = self.entropy.draw(hash);
        let sources = self.entropy.sources();
        self.console.debug(&mut self.page, &format!("{purpose} KASLR using{sources}...\n"));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::super::inputs::{Cpu, Inputs};
    use super::super::model::samples;
    use super::super::placement::Refusal;
    use super::super::testing::{Bytes, PARAMS, e820_table};
    use super::*;
    use crate::range::Range;

    const LINE: u64 = 0x1_8000;

    /// A screen, and free RAM as given; the stub's window is 16 MiB from 16 MiB on, its copy begins at 28 MiB.
    fn memory(line: &str, ram: &[(u64, u64)]) -> Bytes {
        let mut memory = Bytes::new(0, 0x10_0000);
        memory.put(PARAMS + 0x07, &[80]);
        memory.put(PARAMS + 0x0e, &[25]);
        memory.put(PARAMS + 0x228, &(LINE as u32).to_le_bytes());
        memory.put(LINE, line.as_bytes());
        let map: Vec<_> = ram.iter().map(|(start, len)| (start * MIB, len * MIB, 1)).collect();
        e820_table(&mut memory, PARAMS, &map);
        memory
    }

    fn inputs(memory: &Bytes) -> Inputs<'_> {
        Inputs {
            memory,
            cpu: Cpu::default(),
            load: 0x800_0000,
            entered_at_32_bits: false,
            entered_with_five_levels: false,
            boot_params: PARAMS,
        }
    }

    fn placement() -> Placement {
        let window = Range::sized(16 * MIB, 16 * MIB);
        Placement { output: 16 * MIB, window, copy: Some(28 * MIB), refusal: Refusal::Never }
    }

    /// Whether the stub looks for places, how many there are, and the output and line of the cursor in the end.
    fn chosen(needed: u64, line: &str, ram: &[(u64, u64)]) -> (bool, u64, u64, u8) {
        let model = Model { needed: needed * MIB, ..samples::model(WordSize::Bits64) };
        let memory = memory(line, ram);
        let inputs = inputs(&memory);
        let prepared = model.prepare(&placement(), &inputs).unwrap();
        let choice = prepared.choice().unwrap();
        let line = prepared.boot_params(inputs.cpu).unwrap().bytes[1];
        let output = prepared.choose(inputs.cpu).output / MIB;
        (choice.searched(), choice.physical_slots(), output, line)
    }

    #[test]
    fn a_place_may_be_the_lowest_and_reach_up_to_the_limit() {
        assert_eq!(chosen(8, "", &[(16, 8)]), (true, 1, 16, 0));
        assert_eq!(chosen(16, "mem=48M", &[(32, 64)]), (true, 1, 32, 0));
    }

    #[test]
    fn without_room_below_the_limit_nobody_looks() {
        // "Physical KASLR disabled" is a warning of its own; "Invalid physical address" ends its line besides.
        assert_eq!(chosen(16, "mem=32M", &[(32, 64)]), (true, 0, 16, 9));
        assert_eq!(chosen(16, "mem=33554431", &[(32, 64)]), (false, 0, 16, 4));
        let five = "memmap=1M$1M,1M$2M,1M$3M,1M$4M,1M$5M";
        assert_eq!(chosen(16, five, &[(32, 64)]), (false, 0, 16, 4));
    }
}
