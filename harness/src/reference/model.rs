// SPDX-License-Identifier: GPL-2.0-only
//! The stub of one image as a model: what must come out of everything that it reads, for 5.10 and later.

use memchr::memmem;

use super::Link;
use super::hand_over::HandOver;
use super::inputs::Inputs;
use super::kaslr::{Choice, Handover, Prediction, rotate_hash};
use super::page::Page;
use super::paging::Paging;
use super::placement::Placement;
use super::prepared::Prepared;
use super::start::Started;
use crate::image::{Image, Kernel, Release, Traits, WordSize};

/// The oldest release whose stub this is.
const SINCE: (u32, u32) = (5, 10);
/// The first release that keeps `cc_blob_address` when it cleans boot_params up.
const CC_BLOB: (u32, u32) = (5, 19);
/// The first x86_64 release that walks setup_data to map it (arch/x86/boot/compressed/ident_map_64.c).
const MAPS_SETUP_DATA: (u32, u32) = (6, 0);
/// The last release before `memparse()` was known to have changed.
const SIZES_WRAP: (u32, u32) = (6, 17);
/// The first release with kexec handover.
const KEXEC_HANDOVER: (u32, u32) = (6, 16);
/// The longest banner that is believed, in bytes; real ones have about 200.
const LONGEST_BANNER: usize = 1024;
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
    /// The kernel is given page tables that map all of setup_data.
    pub(super) maps_setup_data: bool,
    /// The hash of the build string, from which the one of boot_params goes on.
    pub(super) seed: Option<u64>,
    pub(super) alignment: Option<u64>,
    /// Bytes that the kernel uses, from its first to the end of its last segment (`kernel_total_size`).
    pub(super) total: u64,
    /// Room that the kernel needs, in bytes.
    pub(super) needed: u64,
    /// Length of the compressed kernel, and of what it decompresses to, in bytes.
    pub(super) input_len: u64,
    pub(super) output_len: u64,
    /// The kernel's entry point, counted from its first byte.
    pub(super) entry_offset: u64,
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
        let build_str = stub.build_str.clone().or_else(|| banner(&release, &kernel.payload));
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
            maps_setup_data: link.word == WordSize::Bits64 && number >= MAPS_SETUP_DATA,
            seed: build_str.map(|text| rotate_hash(link.word, 0, &text)),
            alignment: header.kernel_alignment.filter(|a| a.is_power_of_two()).map(u64::from),
            total,
            needed,
            input_len: image.payload().range.len() as u64,
            output_len: kernel.payload.len() as u64,
            entry_offset: kernel.entry.wrapping_sub(link.physical),
            input: header.payload_offset.map(u64::from),
            scratch: image.startup().scratch,
            end: image.startup().end,
            file_len: image.protected_mode().len() as u64,
            handover: handover(&release, link.word, &kernel.payload),
        })
    }

    /// What of the stub's start-up code is not as in any known release, if anything: nothing that hangs on it can be said.
    pub fn gap(&self) -> Option<&'static str> {
        if self.end.is_none() {
            Some("the stub's start-up code is not known: where it copies itself to cannot be told")
        } else if self.scratch.is_none() {
            Some(
                "the stub's start-up code is not known: what it leaves in boot_params cannot be told",
            )
        } else {
            None
        }
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
        started.extract_kernel(self, placement)?;
        let mut choice = None;
        let mut hash = 0;
        if started.kaslr {
            self.seed.ok_or("the build string is found neither in the stub nor in the kernel")?;
            choice = Some(Choice::find(self, placement, &mut started)?);
            hash = self.hash(&started.guest.page);
        }
        Ok(Prepared::new(self, started, choice, hash, placement.output))
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
                started.extract_kernel(self, placement)?;
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

/// The build string as the kernel's banner has it (init/version-timestamp.c): behind "Linux version ", up to the end of
/// the line. Where the compiler worked the string's hash out, as clang does, the stub has the string no more.
fn banner(release: &Release, payload: &[u8]) -> Option<Vec<u8>> {
    let start = format!("Linux version {release} (");
    let text = &payload[memmem::find(payload, start.as_bytes())?..][b"Linux version ".len()..];
    let end = text.iter().take(LONGEST_BANNER).position(|&byte| byte == b'\n')?;
    Some([&text[..end], b"\0"].concat())
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

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// The model of a stub that knows everything, of a kernel that needs 16 MiB at 16 MiB, at multiples of 2 MiB.
    pub fn model(word: WordSize) -> Model {
        let traits = Traits {
            five_levels: true,
            trampoline_on_demand: true,
            sizes_wrap: true,
            acpi: true,
            efi: true,
            efi_helpers: true,
            mem_encrypt: true,
            sev_snp: true,
            tells_entry: true,
            ..Traits::default()
        };
        Model {
            link: Link { physical: 16 * MIB, map: 0xffff_ffff_8000_0000, word },
            traits,
            verbose: false,
            kaslr: true,
            keeps_cc_blob: true,
            relocates: true,
            maps_setup_data: true,
            seed: Some(rotate_hash(word, 0, b"6.1.0 (a@b) #1\0")),
            alignment: Some(2 * MIB),
            total: 15 * MIB,
            needed: 16 * MIB,
            input_len: 3 * MIB,
            output_len: 14 * MIB,
            entry_offset: 0x123,
            input: Some(0x400),
            scratch: Some(13),
            end: Some(4 * MIB),
            file_len: 3 * MIB,
            handover: Handover::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_up_code_that_is_not_known_is_a_gap() {
        let model = samples::model(WordSize::Bits64);
        assert_eq!(model.gap(), None);
        let gap = |model: Model| model.gap().unwrap().split_once(": ").unwrap().1;
        let copy = gap(Model { end: None, ..model.clone() });
        assert_eq!(copy, "where it copies itself to cannot be told");
        let scratch = gap(Model { scratch: None, ..model });
        assert_eq!(scratch, "what it leaves in boot_params cannot be told");
    }

    #[test]
    fn what_an_image_says_of_handed_over_memory() {
        let release = |text| Release::from_version(text).unwrap();
        let of = |text, payload: &[u8]| handover(&release(text), WordSize::Bits64, payload);
        let known = b"..setup: failed to memremap kho data (";
        let off = b"..Passed KHO data, but CONFIG_KEXEC_HANDOVER not set. Ignoring.";
        assert_eq!(of("6.16.1", known), Handover::Known);
        assert_eq!(of("6.16.1", off), Handover::Unknown);
        assert_eq!(of("6.16.1", b""), Handover::Unclear);
        assert_eq!(of("6.15.1", known), Handover::Unknown);
    }

    #[test]
    fn the_banner_has_the_build_string() {
        let release = Release::from_version("6.1.192").unwrap();
        let payload =
            b"..Linux version %s (%s)\0Linux version 6.1.192 (a@b) (clang 14) #1 SMP\n\0..";
        assert_eq!(banner(&release, payload).unwrap(), b"6.1.192 (a@b) (clang 14) #1 SMP\0");
        assert_eq!(banner(&release, &payload[..60]), None, "no end of line");
        assert_eq!(banner(&Release::from_version("6.1.19").unwrap(), payload), None);
    }
}
