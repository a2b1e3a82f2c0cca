// SPDX-License-Identifier: GPL-2.0-only
//! Which cases are tried: proptest strategies over load address, protocol, KASLR, entropy and memory.
//!
//! The kinds of place are visited in turn, so that few cases already reach all of them; within a kind
//! proptest draws, and shrinks towards the address that the kernel was linked for.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::loader::wrong;
use super::{Case, CaseError, MemoryEntry, MemoryKind, Protocol};
use crate::image::{Compression, Image, Payload, WordSize};
use crate::machine::PAGE;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const FOUR_GIB: u64 = 4 * GIB;
/// Kernels end far below; with larger claims there is no room for any of the places below 4 GiB.
const LARGEST_KERNEL_END: u64 = 2 * GIB;
const LEAST_BUDGET: u64 = 1 << 30;
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
    budget: u64,
    /// Whether the stub can print to a serial port.
    serial: bool,
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
    /// lies above `highest_heap` refuses: most cases stay below.
    ///
    /// # Errors
    ///
    /// The image has no such entry, or header fields with which nothing can be placed; the message names
    /// the field.
    pub fn new(
        image: &Image,
        word: WordSize,
        protocols: Protocols,
        highest_heap: u64,
    ) -> Result<Space, CaseError> {
        let header = image.header();
        let flags = if word == WordSize::Bits64 { header.xloadflags.unwrap_or(0) } else { 0 };
        let mut available = vec![Protocol::Bits32];
        if flags & 1 != 0 {
            available.push(Protocol::Bits64);
        }
        if let Protocols::Only(wanted) = protocols {
            available.retain(|protocol| *protocol == wanted);
        }
        if available.is_empty() {
            return Err(wrong("xloadflags", "the image has no entry point for this protocol"));
        }
        let pref_address = header.pref_address.unwrap_or(MIB);
        let init_size = header.init_size.map_or(image.protected_mode().len() as u64, u64::from);
        if pref_address < MIB || pref_address.saturating_add(init_size) > LARGEST_KERNEL_END {
            let problem = format!(
                "{init_size:#x} bytes from pref_address {pref_address:#x} do not lie between 1 MiB and 2 GiB"
            );
            return Err(wrong("init_size", problem));
        }
        let kernel_alignment = header.kernel_alignment.map_or(PAGE, u64::from);
        if !kernel_alignment.is_power_of_two() || !(PAGE..=GIB).contains(&kernel_alignment) {
            let problem = format!("{kernel_alignment:#x} is no power of two from 0x1000 to 1 GiB");
            return Err(wrong("kernel_alignment", problem));
        }
        let least = header.min_alignment.map_or(kernel_alignment, |bits| 1 << bits.min(31));
        Ok(Space {
            above_4g: flags & 2 != 0 && available.contains(&Protocol::Bits64),
            protocols: available,
            pref_address,
            init_size,
            kernel_alignment,
            least_alignment: least.clamp(PAGE, kernel_alignment),
            budget: budget(image.payload()),
            serial: image.stub().serial,
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

/// Translated blocks that a run may take: more than ten times what distribution kernels needed per byte of
/// output (LZ4 0.5, zstd 2, xz 9 on x86_64 and 18 on i386), in proportion for the others.
fn budget(payload: &Payload) -> u64 {
    let per_byte = match payload.compression {
        Compression::Lz4 | Compression::Lzo => 16,
        Compression::Zstd | Compression::Gzip => 64,
        Compression::Xz | Compression::Lzma | Compression::Bzip2 => 240,
    };
    (u64::from(payload.output_len) * per_byte).max(LEAST_BUDGET)
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
                // With KASLR what is printed on a screen would change boot_params, and so the entropy.
                screen: !kaslr || !space.serial,
                timer,
                fill,
                budget: space.budget,
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
            let last = highest.saturating_sub(space.kernel_alignment).max(first);
            let base = among(first, last, space.kernel_alignment);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::draw;
    use crate::case::place;
    use crate::image::fixture::{Fixture, kernel};

    fn space(bits64: bool) -> (Image, WordSize, Space) {
        let mut file = Fixture::new(crate::image::Compression::Gzip, &kernel(bits64, &[0, 0, 0]));
        file.init_size = 48 << 20;
        let mut bytes = file.build();
        let (word, highest) = match bits64 {
            true => (WordSize::Bits64, 0x3fff_ffff_ffff),
            false => (WordSize::Bits32, 0x37ff_ffff),
        };
        if !bits64 {
            bytes[0x230..0x234].copy_from_slice(&0x100_0000u32.to_le_bytes());
            bytes[0x235] = 13;
            bytes[0x236] = 4;
        }
        let image = Image::parse(bytes).unwrap();
        let space = Space::new(&image, word, Protocols::All, highest).unwrap();
        (image, word, space)
    }

    #[test]
    fn every_case_keeps_the_loaders_side_of_the_contract() {
        for bits64 in [true, false] {
            let (image, word, space) = space(bits64);
            for number in 0..400 {
                let case = draw(&space, 99, number).current();
                place(&image, word, &case)
                    .unwrap_or_else(|e| panic!("case {number}: {e}: {case:?}"));
            }
        }
    }

    #[test]
    fn sixteen_cases_meet_both_protocols_kaslr_and_high_memory() {
        let (_, _, space) = space(true);
        let cases: Vec<Case> = (0..16).map(|number| draw(&space, 1, number).current()).collect();
        let count = |test: &dyn Fn(&Case) -> bool| cases.iter().filter(|case| test(case)).count();
        assert_eq!(count(&Case::asks_for_kaslr), 8);
        for protocol in [Protocol::Bits32, Protocol::Bits64] {
            assert!(count(&|case| case.protocol == protocol) >= 6);
            assert!(count(&|case| case.protocol == protocol && case.asks_for_kaslr()) >= 2);
        }
        assert!(count(&|case| case.load > FOUR_GIB) >= 2);
        assert!(count(&|case| case.load < space.pref_address) >= 2);
        assert!(count(&|case| !case.load.is_multiple_of(space.kernel_alignment)) >= 1);
    }

    #[test]
    fn i386_cases_mostly_lie_where_the_stub_accepts_them() {
        let (_, _, space) = space(false);
        let accepted = |number: &usize| {
            draw(&space, 1, *number).current().load + space.init_size <= space.accepted
        };
        assert!((0..90).filter(accepted).count() >= 60);
    }

    #[test]
    fn a_case_shrinks_to_the_simplest_of_its_kind() {
        let (_, _, space) = space(true);
        let aligned = space.places().iter().position(|place| *place == Place::Aligned).unwrap();
        let mut tree = draw(&space, 5, aligned);
        while tree.simplify() {}
        let case = tree.current();
        assert_eq!(case.load, space.pref_address);
        assert_eq!((case.timer, case.fill), (vec![0], 0));
    }

    #[test]
    fn implausible_headers_are_refused_by_field() {
        for (offset, bytes, field) in [
            (0x230, &[0u8, 0, 0, 0][..], "kernel_alignment"),
            (0x230, &[1, 0, 0x20, 0], "kernel_alignment"),
            (0x260, &[0xff, 0xff, 0xff, 0xff], "init_size"),
            (0x258, &[0, 0, 0, 0], "init_size"),
        ] {
            let payload = kernel(true, &[0, 0, 0]);
            let mut file = Fixture::new(crate::image::Compression::Gzip, &payload).build();
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            let image = Image::parse(file).unwrap();
            let error = Space::new(&image, WordSize::Bits64, Protocols::All, u64::MAX).unwrap_err();
            assert_eq!(error.field, field);
        }
    }
}
