// SPDX-License-Identifier: GPL-2.0-only
//! Predicts where KASLR puts the kernel (arch/x86/boot/compressed/kaslr.c, arch/x86/lib/kaslr.c), for
//! 5.10 and later, on a CPU that leaves it the timer as its only source of entropy.

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::{Link, Placement};
use crate::image::{Image, Kernel, WordSize};
use crate::range::Range;

/// The oldest release whose algorithm this is.
const SINCE: (u32, u32) = (5, 10);
const MIB: u64 = 1 << 20;
const HIGHEST_MINIMUM: u64 = 512 * MIB;
const MAX_SLOT_AREAS: usize = 100;
const MAX_COMMAND_LINE: u64 = 2047;
/// `MAXMEM` with 4-level paging.
const MAX_MEMORY: u64 = 1 << 46;
/// `KERNEL_IMAGE_SIZE` with RANDOMIZE_BASE (asm/page_64_types.h, asm/page_32_types.h).
const IMAGE_SIZE_64: u64 = 1 << 30;
const IMAGE_SIZE_32: u64 = 512 * MIB;
const KASLR_FLAG: u8 = 2;

/// What KASLR reads of one run, as the loader set it up.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Load address of the stub.
    pub load: u64,
    /// Whether the stub was entered at 32 bits, which leaves a trace in boot_params.
    pub entered_at_32_bits: bool,
    /// The 4096 bytes of boot_params.
    pub boot_params: &'a [u8],
    /// Where boot_params lies.
    pub boot_params_address: u64,
    /// The command line without its NUL.
    pub command_line: &'a str,
    /// Where the command line lies.
    pub command_line_address: u64,
    /// Whether the stub's warnings go to a text screen, whose cursor is kept in boot_params.
    pub screen: bool,
    /// Usable RAM as the memory map lists it.
    pub usable: &'a [Range],
    /// What the timer answers, over and over.
    pub timer: &'a [u16],
}

/// Where KASLR must put the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Physical address.
    pub output: u64,
    /// Virtual base; on i386 the physical address.
    pub virt: u64,
}

/// What the prediction needs to know of an image.
#[derive(Clone, Debug)]
pub struct Model {
    link: Link,
    build_str: Vec<u8>,
    alignment: u64,
    needed: u64,
    /// Offset of the compressed kernel in the stub.
    input: u64,
    scratch: u64,
}

impl Model {
    /// The model for `image`; an error is the reason why it cannot be predicted.
    pub fn new(image: &Image, kernel: &Kernel, link: Link) -> Result<Model, String> {
        let release = image.release().ok_or("the kernel's release is not known")?;
        if (release.major, release.minor) < SINCE {
            return Err(format!("KASLR of {release} is not modelled, only of 5.10 and later"));
        }
        let build_str =
            image.stub().build_str.clone().ok_or("the stub has no build string: no KASLR")?;
        let alignment = image
            .header()
            .kernel_alignment
            .filter(|alignment| alignment.is_power_of_two())
            .ok_or("kernel_alignment is absent or no power of two")?
            .into();
        let input = image.header().payload_offset.ok_or("payload_offset is absent")?.into();
        let scratch = image.startup().scratch.ok_or("the start-up code is not known")?;
        let total = kernel
            .segments
            .iter()
            .map(|s| s.paddr.saturating_add(s.memsz).saturating_sub(link.physical))
            .max()
            .unwrap_or(0);
        let needed = total.max(kernel.payload.len() as u64);
        let needed = match link.word {
            WordSize::Bits64 => needed.next_multiple_of(2 * MIB),
            WordSize::Bits32 => needed,
        };
        Ok(Model { link, build_str, alignment, needed, input, scratch })
    }

    /// How many virtual bases KASLR draws from; one on i386, where the physical address decides.
    pub fn virtual_slots(&self) -> u64 {
        match self.link.word {
            WordSize::Bits32 => 1,
            WordSize::Bits64 => {
                let room = IMAGE_SIZE_64.saturating_sub(self.link.physical + self.needed);
                1 + room / self.alignment
            }
        }
    }

    /// Where the kernel goes. An error is the reason why this case cannot be predicted.
    pub fn predict(&self, placement: &Placement, inputs: &Inputs) -> Result<Prediction, String> {
        let unmodelled = ["mem=", "memmap=", "hugepages", "acpi", "mem_encrypt", "efi"];
        if let Some(word) = inputs
            .command_line
            .split_ascii_whitespace()
            .find(|w| unmodelled.iter().any(|u| w.contains(u)))
        {
            return Err(format!("the command line has {word}, which is not modelled"));
        }
        let copy = placement.copy.ok_or("the size of the stub in memory is not known")?;
        let mut entropy = Entropy::new(self, inputs);
        let avoided = [
            Range::new(copy + self.input, placement.window.end),
            Range::sized(
                inputs.command_line_address,
                (inputs.command_line.len() as u64).min(MAX_COMMAND_LINE) + 1,
            ),
            Range::sized(inputs.boot_params_address, inputs.boot_params.len() as u64),
        ];
        let output = match self.physical(placement.output, &avoided, inputs.usable, &mut entropy) {
            Ok(chosen) => chosen,
            Err(warning) => {
                if inputs.screen {
                    entropy.move_cursor_down(warning.lines());
                }
                placement.output
            }
        };
        let virt = match self.link.word {
            WordSize::Bits32 => output,
            WordSize::Bits64 => {
                self.link.physical + entropy.draw() % self.virtual_slots() * self.alignment
            }
        };
        Ok(Prediction { output, virt })
    }

    /// `find_random_phys_addr()`; the warning that the stub prints if there is no room.
    fn physical(
        &self,
        output: u64,
        avoided: &[Range],
        usable: &[Range],
        entropy: &mut Entropy,
    ) -> Result<u64, Warning> {
        let limit = match self.link.word {
            WordSize::Bits64 => MAX_MEMORY,
            WordSize::Bits32 => IMAGE_SIZE_32,
        };
        let minimum = output.min(HIGHEST_MINIMUM).next_multiple_of(self.alignment);
        if minimum + self.needed > limit {
            return Err(Warning::NoRegion);
        }
        let mut slots = Slots { alignment: self.alignment, needed: self.needed, areas: Vec::new() };
        for region in usable {
            slots.add_region(Range::new(region.start.max(minimum), region.end.min(limit)), avoided);
        }
        let total = slots.total();
        let chosen = match total {
            0 => None,
            _ => slots.address(entropy.draw() % total),
        };
        chosen
            .filter(|chosen| *chosen >= minimum && chosen + self.needed <= limit)
            .ok_or(Warning::InvalidAddress)
    }
}

/// What the stub prints when it finds no physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warning {
    /// "Physical KASLR disabled: no suitable memory region!".
    NoRegion,
    /// "Invalid physical address chosen!\n" before that: also when there was none to choose from.
    InvalidAddress,
}

impl Warning {
    /// Lines by which it moves the cursor down: `warn()` puts two before and two behind its text
    /// (arch/x86/boot/compressed/error.c).
    fn lines(self) -> u8 {
        match self {
            Warning::NoRegion => 4,
            Warning::InvalidAddress => 5 + 4,
        }
    }
}

/// The places that a kernel of `needed` bytes fits into.
struct Slots {
    alignment: u64,
    needed: u64,
    /// First address and number of slots.
    areas: Vec<(u64, u64)>,
}

impl Slots {
    /// `__process_mem_region()`.
    fn add_region(&mut self, region: Range, avoided: &[Range]) {
        let mut start = region.start;
        while self.areas.len() < MAX_SLOT_AREAS {
            start = start.next_multiple_of(self.alignment);
            let rest = Range::new(start, region.end);
            if start > region.end || rest.len() < self.needed {
                return;
            }
            // Of all obstacles the one that begins lowest; the first listed of those that begin together.
            let obstacle = avoided.iter().filter(|a| a.overlaps(rest)).min_by_key(|a| a.start);
            let Some(obstacle) = obstacle else {
                return self.store(rest);
            };
            if obstacle.start >= start + self.needed {
                self.store(Range::new(start, obstacle.start));
            }
            start = obstacle.end;
        }
    }

    fn store(&mut self, area: Range) {
        self.areas.push((area.start, 1 + (area.len() - self.needed) / self.alignment));
    }

    fn total(&self) -> u64 {
        self.areas.iter().map(|(_, count)| count).sum()
    }

    fn address(&self, mut slot: u64) -> Option<u64> {
        for (start, count) in &self.areas {
            if slot < *count {
                return Some(start + slot * self.alignment);
            }
            slot -= count;
        }
        None
    }
}

/// `kaslr_get_random_long()` over what boot_params hold by then.
struct Entropy<'a> {
    word: WordSize,
    /// The hash of the build string, from which the one of boot_params goes on.
    seed: u64,
    params: Vec<u8>,
    timer: &'a [u16],
    draws: usize,
}

impl<'a> Entropy<'a> {
    fn new(model: &Model, inputs: &Inputs<'a>) -> Entropy<'a> {
        let mut params = inputs.boot_params.to_vec();
        params[offset_of!(boot_params, hdr.loadflags)] |= KASLR_FLAG;
        if inputs.entered_at_32_bits {
            let trace = (inputs.load + model.scratch) as u32;
            params[offset_of!(boot_params, scratch)..][..4].copy_from_slice(&trace.to_le_bytes());
        }
        let word = model.link.word;
        let seed = rotate_hash(word, 0, &model.build_str);
        Entropy { word, seed, params, timer: inputs.timer, draws: 0 }
    }

    fn move_cursor_down(&mut self, lines: u8) {
        self.params[offset_of!(boot_params, screen_info.orig_x)] = 0;
        self.params[offset_of!(boot_params, screen_info.orig_y)] += lines;
    }

    fn draw(&mut self) -> u64 {
        let timer = match self.timer {
            [] => 0,
            values => values[self.draws % values.len()],
        };
        self.draws += 1;
        let raw = rotate_hash(self.word, self.seed, &self.params) ^ u64::from(timer);
        match self.word {
            WordSize::Bits64 => {
                let product = u128::from(raw) * 0x5d60_08cb_f384_8dd3;
                (product as u64).wrapping_add((product >> 64) as u64)
            }
            WordSize::Bits32 => {
                let product = raw * 0x3f39_e593;
                (product as u32).wrapping_add((product >> 32) as u32).into()
            }
        }
    }
}

/// `rotate_xor()`: whole machine words only, a rest is left out.
fn rotate_hash(word: WordSize, hash: u64, area: &[u8]) -> u64 {
    match word {
        WordSize::Bits64 => area.chunks_exact(8).fold(hash, |hash, bytes| {
            hash.rotate_right(7) ^ u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
        }),
        WordSize::Bits32 => area
            .chunks_exact(4)
            .fold(hash as u32, |hash, bytes| {
                hash.rotate_right(7) ^ u32::from_le_bytes(bytes.try_into().expect("four bytes"))
            })
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(region: Range, avoided: &[Range]) -> Vec<(u64, u64)> {
        let mut slots = Slots { alignment: 0x20, needed: 0x50, areas: Vec::new() };
        slots.add_region(region, avoided);
        slots.areas
    }

    #[test]
    fn a_free_region_has_a_slot_per_alignment() {
        assert_eq!(slots(Range::new(0x10, 0x70), &[]), [(0x20, 1)]);
        assert_eq!(slots(Range::new(0x10, 0x8f), &[]), [(0x20, 1)]);
        assert_eq!(slots(Range::new(0x10, 0x90), &[]), [(0x20, 2)]);
        assert_eq!(slots(Range::new(0x10, 0x6f), &[]), []);
    }

    #[test]
    fn obstacles_split_a_region_lowest_first() {
        let avoided = [Range::new(0x200, 0x201), Range::new(0x70, 0x91)];
        let expected =
            [(0x20, 1), (0xa0, 1 + (0x160 - 0x50) / 0x20), (0x220, 1 + (0xe0 - 0x50) / 0x20)];
        assert_eq!(slots(Range::new(0x20, 0x300), &avoided), expected);
        assert_eq!(slots(Range::new(0x20, 0xef), &[Range::new(0x6f, 0x91)]), [], "one byte short");
    }

    #[test]
    fn slots_are_numbered_through_all_areas() {
        let slots = Slots { alignment: 0x20, needed: 0x50, areas: vec![(0x20, 2), (0x200, 3)] };
        let addresses: Vec<_> = (0..6).map(|slot| slots.address(slot)).collect();
        assert_eq!(
            addresses,
            [Some(0x20), Some(0x40), Some(0x200), Some(0x220), Some(0x240), None]
        );
    }

    #[test]
    fn the_hash_leaves_a_partial_word_out() {
        let word = 0x0123_4567_89ab_cdefu64.to_le_bytes();
        assert_eq!(rotate_hash(WordSize::Bits64, 1 << 7, &word), 1 ^ 0x0123_4567_89ab_cdef);
        assert_eq!(rotate_hash(WordSize::Bits64, 5, &word[..7]), 5);
        assert_eq!(rotate_hash(WordSize::Bits32, 1 << 7, &word[..6]), 1 ^ 0x89ab_cdef);
    }
}
