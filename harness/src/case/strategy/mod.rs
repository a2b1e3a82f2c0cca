// SPDX-License-Identifier: GPL-2.0-only
//! Which cases are tried: proptest strategies over everything that a case has.
//!
//! The kinds of place and the themes are visited in turn, so that few cases already reach all of them.
//! Within one, proptest draws a load address and a handful of dice, and everything else is built from
//! those: as a die shrinks to nothing, so does what depends on it.

mod acpi;
mod address;
mod cpu;
mod dice;
mod firmware;
mod layout;
mod loaders;
mod room;
mod spread;
#[cfg(test)]
mod tests;
mod theme;
mod words;

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::error::impossible;
use super::{Case, CaseError, Devices, Loader, Protocol};
use crate::image::{Compression, Image, Payload, SetupHeader, WordSize};
use crate::machine::PAGE;
use address::Place;
use dice::Dice;
use theme::Theme;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const FOUR_GIB: u64 = 4 * GIB;
/// Kernels end far below; with larger claims there is no room for any of the places below 4 GiB.
const LARGEST_KERNEL_END: u64 = 2 * GIB;
const LEAST_BUDGET: u64 = 1 << 30;
/// Where the stub's own messages can be read, in the spellings that it knows. Their number has no factor in common with those
/// of themes, places and loaders, so that each meets each.
const CONSOLES: [&str; 13] = [
    "earlyprintk=ttyS0",
    "earlyprintk=serial,ttyS1,115200",
    "console=uart,io,0x2f8",
    "earlyprintk=ttyS1,57600",
    "earlyprintk=serial,0x3e8,19200,keep",
    "earlyprintk=ttyS0,0x12c",
    "console=uart8250,io,0x3f8,115200n8",
    "earlyprintk=serial",
    "earlyprintk=ttyS1 console=uart8250,io,0x3f8,300",
    "console=uart8250,io,0x2e8",
    "earlyprintk=vga earlyprintk=serial,0x3f8,9600",
    "earlyprintk=ttyS0,0",
    "console=tty0 console=uart,io,1000,1200",
];
/// Where the text screen's cursor is: where all text fits, and where the first characters scroll it.
const CURSORS: [(u8, u8); 7] = [(0, 0), (0, 24), (79, 24), (0, 22), (79, 0), (40, 20), (0, 12)];
/// Every so many cases one has a serial port that is never ready.
const NEVER_READY_EVERY: usize = 60;
/// Every so many text screens one has no colours.
const MONOCHROME_EVERY: usize = 10;
/// What a serial port's clock is divided by.
const DIVISORS: [u16; 5] = [12, 1, 1000, 0x100, 3];
/// The image has a 64-bit entry point (asm/bootparam.h).
const XLF_KERNEL_64: u16 = 1;
/// Image, boot_params, command line and initrd may lie above 4 GiB.
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 2;
/// Every so many cases one is run with a second fill as well.
const SECOND_FILL_EVERY: usize = 16;

/// The entry protocols to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// One of them.
    Only(Protocol),
    /// Whatever the image has.
    All,
}

/// What a kernel will ask of the memory that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    /// The highest address that the stub's heap may have: above it the stub refuses.
    pub highest_heap: u64,
    /// Bytes that KASLR looks for.
    pub needed: u64,
    /// The address that the kernel was linked for: what it prefers if its header does not say.
    pub linked: u64,
}

/// What an image allows its loader to do: the space that cases are drawn from.
#[derive(Clone, Debug)]
pub struct Space {
    word: WordSize,
    protocols: Vec<Protocol>,
    loaders: Vec<Loader>,
    pref_address: u64,
    /// The kernel moves no lower.
    lowest: u64,
    init_size: u64,
    /// Bytes of the stub in the file.
    file: u64,
    kernel_alignment: u64,
    least_alignment: u64,
    /// Whether the loader may pass on another alignment and another `init_size`.
    adjustable: bool,
    above_4g: bool,
    budget: u64,
    /// Whether the stub can print to a serial port.
    serial: bool,
    /// Whether it prints much.
    verbose: bool,
    /// Below 4 GiB, where the stub does not refuse to go.
    accepted: u64,
    needed: u64,
    /// So many regions in the SRAT are too many, where the stub shows it.
    srat_limit: Option<u32>,
}

impl Space {
    /// The space of `image`, whose kernel has word size `word`, entered by `protocols`, as `loaders` do it
    /// (none: everything that is allowed, and each loader now and then).
    ///
    /// # Errors
    ///
    /// The image has no such entry, or header fields with which nothing can be placed; the message names
    /// the field.
    pub fn new(
        image: &Image,
        word: WordSize,
        protocols: Protocols,
        loaders: &[Loader],
        demands: Demands,
    ) -> Result<Space, CaseError> {
        let header = image.header();
        let flags = if word == WordSize::Bits64 { header.xloadflags.unwrap_or(0) } else { 0 };
        let available = entries(flags, protocols);
        let fits = |loader: &Loader| loaders::fits(*loader, &available);
        let wanted: Vec<Loader> = loaders.iter().copied().filter(fits).collect();
        if available.is_empty() || wanted.is_empty() && !loaders.is_empty() {
            return Err(impossible("xloadflags", "the image has no entry point for this protocol"));
        }
        let pref_address = header.pref_address.unwrap_or(demands.linked);
        let init_size = image.init_size();
        if pref_address < MIB || pref_address.saturating_add(init_size) > LARGEST_KERNEL_END {
            let problem = format!(
                "{init_size:#x} bytes from pref_address {pref_address:#x} do not lie between 1 MiB and 2 GiB"
            );
            return Err(impossible("init_size", problem));
        }
        let kernel_alignment = header.kernel_alignment.map_or(PAGE, u64::from);
        if !kernel_alignment.is_power_of_two() || !(PAGE..=GIB).contains(&kernel_alignment) {
            let problem = format!("{kernel_alignment:#x} is no power of two from 0x1000 to 1 GiB");
            return Err(impossible("kernel_alignment", problem));
        }
        let least = header.min_alignment.map_or(kernel_alignment, |bits| 1 << bits.min(31));
        Ok(Space {
            word,
            above_4g: flags & XLF_CAN_BE_LOADED_ABOVE_4G != 0
                && available.contains(&Protocol::Bits64),
            protocols: available,
            loaders: wanted,
            pref_address,
            lowest: header.pref_address.unwrap_or(MIB),
            init_size,
            file: image.protected_mode().len() as u64,
            kernel_alignment,
            least_alignment: least.clamp(PAGE, kernel_alignment),
            adjustable: header.init_size.is_some(),
            budget: budget(image.payload()),
            serial: image.stub().serial,
            verbose: image.stub().verbose,
            accepted: FOUR_GIB.min(demands.highest_heap.saturating_add(1)),
            needed: demands.needed.clamp(PAGE, LARGEST_KERNEL_END),
            srat_limit: image.stub().traits.srat_limit,
        })
    }

    /// The entry protocols that cases are drawn from.
    pub fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// The end of what KASLR chooses from: `KERNEL_IMAGE_SIZE` on i386, else `MAXMEM` with four levels of page tables
    /// (arch/x86/boot/compressed/kaslr.c, `choose_random_location()`).
    fn randomized_end(&self) -> u64 {
        match self.word {
            WordSize::Bits32 => 512 * MIB,
            WordSize::Bits64 => 1 << 46,
        }
    }

    /// Where a kernel loaded at `load` moves, and how much it may use there.
    fn window(&self, load: u64, alignment: u64) -> crate::range::Range {
        let output = load.next_multiple_of(alignment).max(self.lowest);
        crate::range::Range::sized(output, self.init_size)
    }
}

/// The entry points among `protocols` that an image with these `xloadflags` has.
fn entries(xloadflags: u16, protocols: Protocols) -> Vec<Protocol> {
    let mut available = vec![Protocol::Bits32];
    if xloadflags & XLF_KERNEL_64 != 0 {
        available.push(Protocol::Bits64);
    }
    if let Protocols::Only(wanted) = protocols {
        available.retain(|protocol| *protocol == wanted);
    }
    available
}

/// Whether an image with this header has cases of this kind, as far as the header tells.
pub fn offers(header: &SetupHeader, protocols: Protocols, loaders: &[Loader]) -> bool {
    let available = entries(header.xloadflags.unwrap_or(0), protocols);
    let fits = |loader: &Loader| loaders::fits(*loader, &available);
    !available.is_empty() && (loaders.is_empty() || loaders.iter().any(fits))
}

/// Translated blocks that a run may take: more than ten times what distribution kernels needed per byte of
/// output (LZ4 0.5, zstd 2, xz 9 on x86_64 and 18 on i386), in proportion for the others.
pub fn budget(payload: &Payload) -> u64 {
    let per_byte = match payload.compression {
        Compression::Lz4 | Compression::Lzo => 16,
        Compression::Zstd | Compression::Gzip => 64,
        Compression::Xz | Compression::Lzma | Compression::Bzip2 => 240,
    };
    (u64::from(payload.output_len) * per_byte).max(LEAST_BUDGET)
}

/// The strategy for the case with this number. Even numbers ask for KASLR.
pub fn cases(space: &Space, number: usize) -> BoxedStrategy<Case> {
    let space = space.clone();
    (
        any::<proptest::sample::Index>(),
        1..128u64,
        proptest::collection::vec(any::<u16>(), 1..=4),
        any::<u64>(),
        Dice::strategy(),
    )
        .prop_map(move |(step, pages, timer, fill, mut dice)| {
            let kaslr = number.is_multiple_of(2);
            let base = Case {
                command_line: Some(command_line(number, kaslr)),
                timer,
                devices: devices(&space, number),
                fill,
                second_fill: (number % SECOND_FILL_EVERY == 5).then_some(!fill),
                budget: space.budget,
                // Without a serial port only the screen shows why a stub stops.
                screen: !space.serial || !kaslr,
                ..Case::default()
            };
            if let Some(loader) = chosen_loader(&space, number) {
                return loaders::case(&space, loader, base, &mut dice);
            }
            let places = address::places(&space);
            let place = places[number % places.len()];
            // One further in each round, so that every theme meets KASLR and its absence.
            let round = number / Theme::ALL.len();
            let theme = Theme::ALL[(number + round) % Theme::ALL.len()];
            let turn = number / 2 + number / places.len();
            let protocol = match place {
                Place::AboveFourGiB | Place::Top => Protocol::Bits64,
                _ => space.protocols[turn % space.protocols.len()],
            };
            let alignment = match place {
                Place::LeastAligned => space.least_alignment,
                _ => space.kernel_alignment,
            };
            let limit = match kaslr {
                // Behind it there is something to choose from.
                true if theme.needs_room() => space.accepted.min(space.randomized_end() / 4),
                true => space.accepted.min(space.randomized_end()),
                false => space.accepted,
            };
            let load = address::load(&space, place, limit, step, pages);
            let case = Case {
                protocol,
                load,
                kernel_alignment: (alignment != space.kernel_alignment).then_some(alignment),
                memory: layout::memory(&space, load, alignment, &mut dice),
                ..base
            };
            theme.apply(&space, case, round, &mut dice)
        })
        .boxed()
}

fn devices(space: &Space, number: usize) -> Devices {
    let (cursor_column, cursor_line) = CURSORS[(number / 2 + number / 14) % CURSORS.len()];
    Devices {
        // Each byte takes its time.
        serial_never_ready: !space.verbose && number % NEVER_READY_EVERY == 9,
        serial_divisor: DIVISORS[number / 2 % DIVISORS.len()],
        cursor_column,
        cursor_line,
        monochrome: number / 2 % MONOCHROME_EVERY == 3,
        ..Devices::default()
    }
}

fn command_line(number: usize, kaslr: bool) -> String {
    let console = CONSOLES[number / 2 % CONSOLES.len()];
    if kaslr { console.to_owned() } else { format!("{console} nokaslr") }
}

/// Every so many cases one takes the habits of a loader, and all do if loaders were asked for.
fn chosen_loader(space: &Space, number: usize) -> Option<Loader> {
    if !space.loaders.is_empty() {
        // Each loader meets KASLR, and its absence.
        return Some(space.loaders[number / 2 % space.loaders.len()]);
    }
    const EVERY: usize = 7;
    if number % EVERY != EVERY - 1 {
        return None;
    }
    let fits = |loader: &&Loader| loaders::fits(**loader, &space.protocols);
    let named: Vec<&Loader> = Loader::ALL[1..].iter().filter(fits).collect();
    Some(*named[number / EVERY % named.len()])
}
