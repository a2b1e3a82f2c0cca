// SPDX-License-Identifier: GPL-2.0-only
//! Where the stub must put the kernel when KASLR does not choose, and when it must refuse
//! (arch/x86/boot/compressed/head_32.S, head_64.S and `extract_kernel()`).

use super::{Link, Passed, vintage};
use crate::image::{Image, WordSize};
use crate::range::Range;

/// The stub's plan for one load address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Physical address of the kernel's first byte.
    pub output: u64,
    /// What the kernel may use before it reads the memory map: `init_size` bytes from `output`.
    pub window: Range,
    /// Where the stub's copy of itself begins, if its size is known.
    pub copy: Option<u64>,
    /// Whether the stub has to stop instead.
    pub refusal: Refusal,
}

/// Whether a stub must stop with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It must go on.
    Never,
    /// It may do either: what it compares lies in the stub's bss, whose place is not known exactly.
    May(&'static str),
    /// It must stop with this text.
    Must(&'static str),
}

/// The text of a stub whose heap lies too high.
pub(super) const TOO_LARGE: &str = "Destination address too large";

/// The placement for the load address `load`, with what the loader passes on in boot_params (4.7 and later; `init_size` of
/// no effect on the output before).
pub fn place(image: &Image, link: Link, load: u64, passed: Passed) -> Placement {
    if let Some(known) = image.vintage() {
        return vintage::place(known, image.header(), link, load);
    }
    let output = output(link, load, passed.kernel_alignment);
    let window = Range::sized(output, passed.init_size.into());
    let copy = image.startup().end.and_then(|end| window.end.checked_sub(end));
    let copy = copy.filter(|copy| *copy >= output);
    // The heap lies in the bss of the stub's copy: behind what the file has of the stub.
    let heap = Range::new(
        copy.map_or(output, |copy| copy.saturating_add(image.protected_mode().len() as u64))
            .min(window.end),
        window.end,
    );
    Placement { output, window, copy, refusal: refusal(heap, highest_heap(image, link)) }
}

/// The load address rounded up, but not below where the kernel was linked. i386 computes in 32 bits. An alignment that is
/// no power of two gives what the same instructions give.
fn output(link: Link, load: u64, alignment: u32) -> u64 {
    let mask = u64::from(alignment.wrapping_sub(1));
    let aligned = load.wrapping_add(mask) & !mask;
    let aligned = match link.word {
        WordSize::Bits32 => aligned & 0xffff_ffff,
        WordSize::Bits64 => aligned,
    };
    aligned.max(link.physical)
}

/// The virtual base that a kernel at `output` is relocated for when KASLR does not choose. Stubs from 3.14
/// to 3.18 moved x86_64 kernels as far virtually as physically; before there was no table, since then they
/// stay where they were linked.
pub fn unrandomized_virt(image: &Image, link: Link, output: u64) -> u64 {
    let moves = image
        .release()
        .is_some_and(|release| ((3, 14)..(3, 19)).contains(&(release.major, release.minor)));
    match link.word {
        WordSize::Bits64 if !moves => link.physical,
        _ => output,
    }
}

/// The highest address that the stub's heap may have: behind it the stub refuses to go on.
pub fn highest_heap(image: &Image, link: Link) -> u64 {
    const VMALLOC_RESERVE: u64 = 128 << 20;
    match link.word {
        WordSize::Bits64 => 0x3fff_ffff_ffff,
        WordSize::Bits32 if image.vintage().is_some() => link.highest(vintage::RESERVE),
        WordSize::Bits32 => link.highest(VMALLOC_RESERVE),
    }
}

/// What a stub must do whose heap begins somewhere in `heap`.
pub(super) fn refusal(heap: Range, highest: u64) -> Refusal {
    if heap.start > highest {
        Refusal::Must(TOO_LARGE)
    } else if heap.end > highest {
        Refusal::May(TOO_LARGE)
    } else {
        Refusal::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Compression;
    use crate::image::fixture::{Fixture, kernel};

    #[test]
    fn the_output_is_aligned_and_not_below_the_link_address() {
        let wide = Link { physical: 0x100_0000, map: 0, word: WordSize::Bits64 };
        let narrow = Link { word: WordSize::Bits32, ..wide };
        assert_eq!(output(wide, 0x10_0000, 0x20_0000), 0x100_0000);
        assert_eq!(output(wide, 0x123_4000, 0x20_0000), 0x140_0000);
        assert_eq!(output(wide, 0x140_0000, 0x20_0000), 0x140_0000);
        assert_eq!(output(wide, 0xffff_f000, 0x20_0000), 0x1_0000_0000);
        assert_eq!(output(narrow, 0xffff_f000, 0x20_0000), 0x100_0000, "wraps");
    }

    #[test]
    fn an_i386_heap_above_lowmem_is_refused() {
        let link = Link { physical: 0x100_0000, map: 0xc000_0000, word: WordSize::Bits32 };
        let at = |start| refusal(Range::sized(start, 0x1000), link.highest(128 << 20));
        assert_eq!(at(0x37ff_e000), Refusal::Never);
        assert_eq!(at(0x37ff_f800), Refusal::May(TOO_LARGE));
        assert_eq!(at(0x3800_0000), Refusal::Must(TOO_LARGE));
    }

    #[test]
    fn an_x86_64_heap_above_46_bits_is_refused() {
        let image = Fixture::new(Compression::Gzip, &kernel(true, &[0, 0, 0])).build();
        let image = Image::parse(image).unwrap();
        let link =
            Link { physical: 0x100_0000, map: 0xffff_ffff_8000_0000, word: WordSize::Bits64 };
        let at = |start| refusal(Range::sized(start, 0x1000), highest_heap(&image, link));
        assert_eq!(at(1 << 45), Refusal::Never);
        assert_eq!(at(1 << 46), Refusal::Must(TOO_LARGE));
        let narrow = Link { map: 0xc000_0000, word: WordSize::Bits32, ..link };
        assert_eq!(highest_heap(&image, narrow), (896 << 20) - 1);
    }

    #[test]
    fn the_first_relocatable_stubs_leave_512_mib_of_lowmem() {
        let mut fixture = Fixture::new(Compression::Gzip, &kernel(false, &[0, 0xc100_0008]));
        fixture.version = 0x209;
        let mut file = fixture.build();
        // `lea 0x40(%esi), %esp; call 1f; 1:`, `lea _end(%ebp), %esi; lea _end(%ebx), %edi`
        let code = b"\x8d\x66\x40\xe8\0\0\0\0\x8d\xb5\0\0\x04\0\x8d\xbb\0\0\x04\0";
        file[crate::image::fixture::SETUP_SIZE..][..code.len()].copy_from_slice(code);
        let image = Image::parse(file).unwrap();
        let link = Link { physical: 0x100_0000, map: 0xc000_0000, word: WordSize::Bits32 };
        assert_eq!(highest_heap(&image, link), (512 << 20) - 1);
    }

    #[test]
    fn a_heap_may_begin_at_the_highest_address() {
        let heap = |start, end| refusal(Range::new(start, end), 0x1000);
        assert_eq!(heap(0x800, 0x1000), Refusal::Never);
        assert_eq!(heap(0x1000, 0x1000), Refusal::Never);
        assert_eq!(heap(0x1000, 0x1001), Refusal::May(TOO_LARGE));
        assert_eq!(heap(0x1001, 0x1001), Refusal::Must(TOO_LARGE));
    }

    /// A kernel linked for 16 MiB in an image of this release.
    fn image(release: &str) -> (Image, Link) {
        let mut fixture = Fixture::new(Compression::Gzip, &kernel(true, &[0, 0, 0]));
        fixture.kernel_version = format!("{release} (builder@host) #1 SMP");
        let mut file = fixture.build();
        // `add BP_init_size(%esi), %ebx; sub $0x40000, %ebx`
        let code = b"\x03\x9e\x60\x02\x00\x00\x81\xeb\x00\x00\x04\x00";
        file[crate::image::fixture::SETUP_SIZE..][..code.len()].copy_from_slice(code);
        let map = 0xffff_ffff_8000_0000;
        let link = Link { physical: 0x100_0000, map, word: WordSize::Bits64 };
        (Image::parse(file).unwrap(), link)
    }

    #[test]
    fn virtual_addresses_moved_along_from_3_14_to_3_18() {
        for (release, moves) in [
            ("3.13.11", false),
            ("3.14.0", true),
            ("3.18.140", true),
            ("3.19.0", false),
            ("6.1.0", false),
        ] {
            let (image, link) = image(release);
            let expected = if moves { 0x500_0000 } else { 0x100_0000 };
            assert_eq!(unrandomized_virt(&image, link, 0x500_0000), expected, "{release}");
            let narrow = Link { word: WordSize::Bits32, ..link };
            assert_eq!(unrandomized_virt(&image, narrow, 0x500_0000), 0x500_0000, "i386");
        }
    }

    #[test]
    fn the_stub_copies_itself_to_the_end_of_the_window() {
        let (image, link) = image("6.1.0");
        let placed = |init_size, load| {
            place(&image, link, load, Passed { kernel_alignment: 0x20_0000, init_size })
        };
        let placement = placed(0x80_0000, 0x123_4000);
        assert_eq!(placement.window, Range::new(0x140_0000, 0x1c0_0000));
        assert_eq!(placement.copy, Some(0x1bc_0000));
        assert_eq!(placed(0x4_0000, 0x140_0000).copy, Some(0x140_0000), "it just fits");
        assert_eq!(placed(0x3_ffff, 0x140_0000).copy, None);
        // The heap lies behind what the file has of the stub, in the last 256 KiB of the window.
        let limit = 1 << 46;
        let file = image.protected_mode().len() as u64;
        assert!(file > 0x200 && file < 0x1000, "{file:#x}");
        let at = |output: u64| placed(0x80_0000, output).refusal;
        assert_eq!(at(limit - 0x80_0000 - 0x20_0000), Refusal::Never);
        assert_eq!(at(limit - 0x80_0000), Refusal::May(TOO_LARGE));
        assert_eq!(at(limit - 0x60_0000), Refusal::Must(TOO_LARGE));
    }
}
