// SPDX-License-Identifier: GPL-2.0-only
//! Load addresses.

use super::{FOUR_GIB, GIB, MIB, Space};
use crate::machine::PAGE;

/// A stub refuses to have its heap behind (`extract_kernel()`, arch/x86/boot/compressed/misc.c).
const FOUR_LEVELS_END: u64 = 1 << 46;
/// More than any stub's heap and page tables take: bzip2's is the largest.
const LARGEST_HEAP: u64 = 6 * MIB;

/// Kinds of place for the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
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
    /// Near the top of the 46-bit physical address space; now and then as high as a stub accepts, or where it has to refuse.
    Top,
}

/// The kinds of place that the image allows.
pub fn places(space: &Space) -> Vec<Place> {
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
    if space.above_4g {
        places.insert(2, AboveFourGiB);
        places.insert(7, Top);
    }
    places
}

/// The last page-aligned address below `limit` at which image and kernel fit.
pub fn highest(space: &Space, limit: u64, alignment: u64) -> u64 {
    limit.saturating_sub(space.init_size + PAGE) & !(alignment - 1)
}

/// A load address of this kind; smaller draws are nearer to where the kernel was linked. Those that are not far away by
/// their nature leave room below `limit`.
pub fn load(
    space: &Space,
    place: Place,
    limit: u64,
    step: proptest::sample::Index,
    pages: u64,
) -> u64 {
    let among = |start: u64, end: u64, unit: u64| {
        let count = (end.saturating_sub(start) / unit + 1) as usize;
        start + step.index(count) as u64 * unit
    };
    let first = space.pref_address.next_multiple_of(space.kernel_alignment);
    let last = highest(space, limit, space.kernel_alignment);
    match place {
        Place::Preferred => space.pref_address,
        Place::OneMiB => MIB,
        Place::TwoMiB => 2 * MIB,
        Place::Aligned => among(first, last, space.kernel_alignment),
        Place::LeastAligned => among(
            space.pref_address.next_multiple_of(space.least_alignment),
            highest(space, limit, space.least_alignment),
            space.least_alignment,
        ),
        Place::Misaligned => {
            let last = last.saturating_sub(space.kernel_alignment).max(first);
            let base = among(first, last, space.kernel_alignment);
            base + (pages * PAGE) % space.kernel_alignment
        }
        Place::BelowPreferred => among(MIB, space.pref_address.max(2 * MIB) - PAGE, PAGE),
        Place::TwoGiB => {
            let lowest =
                (2 * GIB).saturating_sub(space.init_size).next_multiple_of(space.kernel_alignment);
            among(lowest, (2 * GIB).max(lowest), space.kernel_alignment)
        }
        Place::EndsAtFourGiB => highest(space, FOUR_GIB, space.kernel_alignment),
        Place::AboveFourGiB => {
            among(FOUR_GIB - space.kernel_alignment, 64 * GIB, space.kernel_alignment)
        }
        Place::Top => {
            let last = highest(space, FOUR_LEVELS_END, space.kernel_alignment);
            match pages % 8 {
                3 => last,
                // The heap that the stub looks at has its place in the last MiB that the kernel may use.
                5 => last + (LARGEST_HEAP + 2 * MIB).next_multiple_of(space.kernel_alignment),
                _ => among(1 << 44, highest(space, FOUR_LEVELS_END, 2 * MIB), 2 * MIB),
            }
        }
    }
}
