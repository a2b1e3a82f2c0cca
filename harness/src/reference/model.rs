// SPDX-License-Identifier: GPL-2.0-only
//! The stub of one image as a model: what must come out of everything that it reads, for 5.10 and later.

use memchr::memmem;

use super::hand_over::HandOver;
use super::inputs::Inputs;
use super::kaslr::{Area, Choice, Handover, Prediction, Run, rotate_hash};
use super::page::Page;
use super::paging::Paging;
use super::placement::Placement;
use super::start::Started;
use super::{Cpu, Link};
use crate::image::{Image, Kernel, Release, Traits, WordSize};

/// The oldest release whose stub this is.
const SINCE: (u32, u32) = (5, 10);
/// The first release that keeps `cc_blob_address` when it cleans boot_params up.
const CC_BLOB: (u32, u32) = (5, 19);
/// The last release before `memparse()` was known to have changed.
const SIZES_WRAP: (u32, u32) = (6, 17);
/// The first release with kexec handover.
const KEXEC_HANDOVER: (u32, u32) = (6, 16);
const MIB: u64 = 1 << 20;

/// What the predictions need to know of an image.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) link: Link,
    pub(super) traits: Traits,
    pub(super) verbose: bool,
    pub(super) kaslr: bool,
    pub(super) keeps_cc_blob: bool,
    pub(super) relocates: bool,
    /// The hash of the build string, from which the one of boot_params goes on.
    seed: Option<u64>,
    pub(super) alignment: Option<u64>,
    /// Room that the kernel needs, in bytes.
    pub(super) needed: u64,
    /// Offset of the compressed kernel in the stub.
    pub(super) input: Option<u64>,
    pub(super) scratch: Option<u64>,
    /// Size of the stub in memory, and in the file.
    pub(super) end: Option<u64>,
    pub(super) file_len: u64,
    pub(super) handover: Handover,
}

impl Model {
    /// The model for `image`; an error is the reason why there is none.
    pub fn new(image: &Image, kernel: &Kernel, link: Link) -> Result<Model, String> {
        let release = image.release().ok_or("the kernel's release is not known")?;
        let number = (release.major, release.minor);
        if number < SINCE {
            return Err(format!("the stub of {release} is not modelled, only 5.10 and later"));
        }
        let stub = image.stub();
        let mut traits = stub.traits;
        traits.sizes_wrap |= number <= SIZES_WRAP;
        let header = image.header();
        let total = kernel
            .segments
            .iter()
            .map(|s| s.paddr.saturating_add(s.memsz).saturating_sub(link.physical))
            .max()
            .unwrap_or(0);
        let needed = total.max(kernel.payload.len() as u64);
        let needed = match link.word {
            WordSize::Bits64 => needed.saturating_add(2 * MIB - 1) & !(2 * MIB - 1),
            WordSize::Bits32 => needed,
        };
        Ok(Model {
            link,
            traits,
            verbose: stub.verbose,
            kaslr: stub.kaslr,
            keeps_cc_blob: number >= CC_BLOB,
            relocates: !stub.loops.is_empty(),
            seed: stub.build_str.as_ref().map(|text| rotate_hash(link.word, 0, text)),
            alignment: header.kernel_alignment.filter(|a| a.is_power_of_two()).map(u64::from),
            needed,
            input: header.payload_offset.map(u64::from),
            scratch: image.startup().scratch,
            end: image.startup().end,
            file_len: image.protected_mode().len() as u64,
            handover: handover(&release, link.word, &kernel.payload),
        })
    }

    /// Levels of page tables at the hand-off, and the trampoline by which they are changed.
    pub fn paging(&self, placement: &Placement, inputs: &Inputs) -> Result<Paging, String> {
        Started::page_tables(self, placement, inputs).map(|started| started.paging)
    }

    /// Everything up to the first random number.
    pub fn prepare<'a>(
        &'a self,
        placement: &Placement,
        inputs: &Inputs<'a>,
    ) -> Result<Prepared<'a>, String> {
        let mut started = Started::page_tables(self, placement, inputs)?;
        started.extract_kernel(self)?;
        let mut choice = None;
        let mut hash = 0;
        if started.kaslr {
            self.seed.ok_or("the stub's build string is not found")?;
            choice = Some(Choice::find(self, placement, &mut started)?);
            hash = self.hash(&started.guest.page);
        }
        let output = placement.output;
        Ok(Prepared { model: self, started, choice, hash, output })
    }

    /// Where the kernel goes. An error is the reason why this cannot be predicted.
    pub fn predict(&self, placement: &Placement, inputs: &Inputs) -> Result<Prediction, String> {
        Ok(self.prepare(placement, inputs)?.choose(inputs.cpu))
    }

    /// boot_params as the kernel must find them.
    pub fn boot_params(&self, placement: &Placement, inputs: &Inputs) -> Result<HandOver, String> {
        match self.prepare(placement, inputs) {
            Ok(prepared) => prepared.boot_params(inputs.cpu),
            // What KASLR does cannot be said; but all that it does to boot_params is to move the cursor.
            Err(why) => {
                let mut started = Started::page_tables(self, placement, inputs)?;
                started.extract_kernel(self)?;
                if !started.kaslr {
                    return Err(why);
                }
                Ok(HandOver::without_cursor(&started))
            }
        }
    }

    /// `get_boot_seed()`.
    pub(super) fn hash(&self, page: &Page) -> u64 {
        rotate_hash(self.link.word, self.seed.unwrap_or(0), page.bytes())
    }
}

/// The stub of one run, ready to draw its random numbers: any number of times, with other answers of the CPU.
pub struct Prepared<'a> {
    model: &'a Model,
    started: Started<'a>,
    choice: Option<Choice>,
    hash: u64,
    output: u64,
}

impl<'a> Prepared<'a> {
    /// Levels of page tables at the hand-off, and the trampoline by which they are changed.
    pub fn paging(&self) -> Paging {
        self.started.paging
    }

    /// What there is to choose from; `None` if the command line forbids KASLR, or the stub knows none.
    pub fn choice(&self) -> Option<&Choice> {
        self.choice.as_ref()
    }

    /// Places where the kernel fits, in the order in which they are counted.
    pub fn areas(&self) -> &[Area] {
        self.choice.as_ref().map_or(&[], |choice| &choice.areas)
    }

    /// What the stub chooses if the CPU and the timer answer like this. `la57` was decided by
    /// [`Model::prepare`] and is not looked at.
    pub fn choose(&self, cpu: Cpu) -> Prediction {
        self.run(cpu).0
    }

    /// boot_params as the kernel must find them.
    ///
    /// # Errors
    ///
    /// The stub reads what is not there.
    pub fn boot_params(&self, cpu: Cpu) -> Result<HandOver, String> {
        let (prediction, page) = self.run(cpu);
        let mut started = self.started.clone();
        started.guest.page = page;
        HandOver::after(self.model, started, prediction)
    }

    fn run(&self, cpu: Cpu) -> (Prediction, Page) {
        let (model, output) = (self.model, self.output);
        let page = self.started.guest.page.clone();
        let Some(choice) = &self.choice else {
            let virt = match model.link.word {
                WordSize::Bits32 => output,
                WordSize::Bits64 => model.link.physical,
            };
            return (Prediction { output, virt }, page);
        };
        let mut run = Run::new(model, cpu, self.started.console, page, self.hash);
        let prediction = choice.draw(&mut run, output);
        (prediction, run.page)
    }
}

/// Whether the kernel knows kexec handover, by what it says of data of that kind (arch/x86/kernel/setup.c).
fn handover(release: &Release, word: WordSize, payload: &[u8]) -> Handover {
    let has = |text: &str| memmem::find(payload, text.as_bytes()).is_some();
    if (release.major, release.minor) < KEXEC_HANDOVER
        || word == WordSize::Bits32
        || has("Passed KHO data, but CONFIG_KEXEC_HANDOVER not set")
    {
        Handover::Unknown
    } else if has("failed to memremap kho data") {
        Handover::Known
    } else {
        Handover::Unclear
    }
}
