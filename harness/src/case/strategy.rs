// SPDX-License-Identifier: GPL-2.0-only
//! Which cases are tried: proptest strategies over load address, protocol, KASLR, entropy and memory.
//!
//! The kinds of place are visited in turn, so that few cases already reach all of them; within a kind
//! proptest draws, and shrinks towards the address that the kernel was linked for.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::{Case, MemoryEntry, MemoryKind, Protocol};
use crate::image::{Image, WordSize};
use crate::machine::PAGE;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const FOUR_GIB: u64 = 4 * GIB;
/// Blocks per byte of output that a run may take; the slowest compressor needs about a sixteenth.
const BLOCKS_PER_BYTE: u64 = 64;
const LEAST_BUDGET: u64 = 1 << 28;
/// Where the stub's own messages can be read.
const CONSOLE: &str = "earlyprintk=ttyS0";

/// The entry protocols to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// One of them.
    Only(Protocol),
    /// Whatever the image has.
    All,
}

/// What an image allows its loader to do: the space that cases are drawn from.
#[derive(Clone, Debug)]
pub struct Space {
    protocols: Vec<Protocol>,
    pref_address: u64,
    init_size: u64,
    kernel_alignment: u64,
    least_alignment: u64,
    above_4g: bool,
    output_len: u64,
    /// Below 4 GiB, where the stub does not refuse to go.
    accepted: u64,
}

/// Kinds of place for the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The address that the kernel was linked for.
    Preferred,
    /// Where QEMU and cloud-hypervisor load: 1 MiB.
    OneMiB,
    /// Where crosvm loads: 2 MiB.
    TwoMiB,
    /// Below 4 GiB, a multiple of `kernel_alignment`.
    Aligned,
    /// The same, with the least alignment that the image allows.
    LeastAligned,
    /// Some pages away from a multiple of `kernel_alignment`.
    Misaligned,
    /// Between 1 MiB and the address that the kernel was linked for.
    BelowPreferred,
    /// Across 2 GiB, where a signed comparison goes wrong.
    TwoGiB,
    /// As high as the 32-bit entry allows.
    EndsAtFourGiB,
    /// Above 4 GiB.
    AboveFourGiB,
    /// Near the top of the 46-bit physical address space.
    Top,
}

impl Space {
    /// The space of `image`, whose kernel has word size `word`, entered by `protocols`. A stub whose heap
    /// lies above `highest_heap` refuses: most cases stay below. `None` if the image has no such entry.
    pub fn new(
        image: &Image,
        word: WordSize,
        protocols: Protocols,
        highest_heap: u64,
    ) -> Option<Space> {
        let header = image.header();
        let flags = if word == WordSize::Bits64 { header.xloadflags.unwrap_or(0) } else { 0 };
        let mut available = vec![Protocol::Bits32];
        if flags & 1 != 0 {
            available.push(Protocol::Bits64);
        }
        if let Protocols::Only(wanted) = protocols {
            available.retain(|protocol| *protocol == wanted);
        }
        let kernel_alignment = header.kernel_alignment.map_or(PAGE, u64::from).max(PAGE);
        (!available.is_empty()).then(|| Space {
            above_4g: flags & 2 != 0 && available.contains(&Protocol::Bits64),
            protocols: available,
            pref_address: header.pref_address.unwrap_or(MIB),
            init_size: header.init_size.map_or(image.protected_mode().len() as u64, u64::from),
            kernel_alignment,
            least_alignment: header
                .min_alignment
                .map_or(kernel_alignment, |bits| 1 << bits.min(31))
                .max(PAGE),
            output_len: image.payload().output_len.into(),
            accepted: FOUR_GIB.min(highest_heap.saturating_add(1)),
        })
    }

    /// The entry protocols that cases are drawn from.
    pub fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    fn output(&self, load: u64, alignment: u64) -> u64 {
        load.next_multiple_of(alignment).max(self.pref_address)
    }

    /// The last page-aligned address below `limit` at which image and kernel fit.
    fn highest(&self, limit: u64, alignment: u64) -> u64 {
        limit.saturating_sub(self.init_size + PAGE) & !(alignment - 1)
    }

    fn places(&self) -> Vec<Place> {
        use Place::*;
        let mut places = vec![
            Preferred,
            Aligned,
            OneMiB,
            Misaligned,
            EndsAtFourGiB,
            LeastAligned,
            TwoGiB,
            TwoMiB,
            BelowPreferred,
        ];
        if self.above_4g {
            places.insert(2, AboveFourGiB);
            places.insert(7, Top);
        }
        places
    }
}

/// The strategy for the case with this number. Even numbers ask for KASLR.
pub fn cases(space: &Space, number: usize) -> BoxedStrategy<Case> {
    let places = space.places();
    let place = places[number % places.len()];
    let kaslr = number.is_multiple_of(2);
    let turn = number / 2 + number / places.len();
    let protocol = match place {
        Place::AboveFourGiB | Place::Top => Protocol::Bits64,
        _ => space.protocols[turn % space.protocols.len()],
    };
    let space = space.clone();
    (
        any::<proptest::sample::Index>(),
        1..128u64,
        0..24u64,
        proptest::collection::vec(any::<u16>(), 1..=4),
        any::<u64>(),
    )
        .prop_map(move |(step, pages, spare, timer, fill)| {
            let alignment = if place == Place::LeastAligned {
                space.least_alignment
            } else {
                space.kernel_alignment
            };
            let load = load(&space, place, step, pages);
            let command_line =
                if kaslr { CONSOLE.to_owned() } else { format!("{CONSOLE} nokaslr") };
            Case {
                protocol,
                load,
                kernel_alignment: (alignment != space.kernel_alignment).then_some(alignment),
                command_line,
                timer,
                fill,
                budget: (space.output_len * BLOCKS_PER_BYTE).max(LEAST_BUDGET),
                memory: memory(&space, load, alignment, spare),
            }
        })
        .boxed()
}

fn load(space: &Space, place: Place, step: proptest::sample::Index, pages: u64) -> u64 {
    let among = |start: u64, end: u64, unit: u64| {
        let count = (end.saturating_sub(start) / unit + 1) as usize;
        start + step.index(count) as u64 * unit
    };
    let first = space.pref_address.next_multiple_of(space.kernel_alignment);
    let highest = space.highest(space.accepted, space.kernel_alignment);
    match place {
        Place::Preferred => space.pref_address,
        Place::OneMiB => MIB,
        Place::TwoMiB => 2 * MIB,
        Place::Aligned => among(first, highest, space.kernel_alignment),
        Place::LeastAligned => among(
            space.pref_address.next_multiple_of(space.least_alignment),
            space.highest(space.accepted, space.least_alignment),
            space.least_alignment,
        ),
        Place::Misaligned => {
            let base = among(first, highest - space.kernel_alignment, space.kernel_alignment);
            base + (pages * PAGE) % space.kernel_alignment
        }
        Place::BelowPreferred => among(MIB, space.pref_address.max(2 * MIB) - PAGE, PAGE),
        Place::TwoGiB => {
            let lowest =
                (2 * GIB).saturating_sub(space.init_size).next_multiple_of(space.kernel_alignment);
            among(lowest, (2 * GIB).max(lowest), space.kernel_alignment)
        }
        Place::EndsAtFourGiB => space.highest(FOUR_GIB, space.kernel_alignment),
        Place::AboveFourGiB => {
            among(FOUR_GIB - space.kernel_alignment, 64 * GIB, space.kernel_alignment)
        }
        Place::Top => among(1 << 44, space.highest(1 << 46, 2 * MIB), 2 * MIB),
    }
}

/// A PC's memory map with RAM wherever the kernel will lie, and `spare` times 64 MiB more.
fn memory(space: &Space, load: u64, alignment: u64, spare: u64) -> Vec<MemoryEntry> {
    let entry = |start, end, kind| MemoryEntry { start, end, kind };
    let needed =
        (load.max(space.output(load, alignment)) + space.init_size).next_multiple_of(2 * MIB);
    let top = |end: u64| (end + spare * 64 * MIB).min(FOUR_GIB).max(end);
    let mut entries = vec![
        entry(0, 0x9_fc00, MemoryKind::Usable),
        entry(0x9_fc00, 0xa_0000, MemoryKind::Reserved),
        entry(0xf_0000, MIB, MemoryKind::Reserved),
    ];
    let lowest_kernel = space.pref_address + space.init_size;
    if needed <= FOUR_GIB {
        entries.push(entry(MIB, top(needed), MemoryKind::Usable));
    } else {
        entries.push(entry(MIB, top(lowest_kernel.next_multiple_of(2 * MIB)), MemoryKind::Usable));
        let start = load.min(FOUR_GIB.max(load & !(GIB - 1)));
        entries.push(entry(start, needed + spare * 64 * MIB, MemoryKind::Usable));
    }
    entries
}
