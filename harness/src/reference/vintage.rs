// SPDX-License-Identifier: GPL-2.0-only
//! What stubs for i386 from 2.6.20 to 2.6.30 must do (arch/i386/boot/compressed/head.S and misc.c, since 2.6.24
//! arch/x86/boot/compressed/head_32.S and misc_32.c): they read no more of boot_params than what a screen needs.

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params as params;

use super::hand_over::{CURSOR, HandOver};
use super::placement::{Placement, refusal};
use super::{Link, Memory};
use crate::image::{SetupHeader, Vintage};
use crate::range::Range;

/// Lowmem that such a stub leaves to the kernel's own mappings, in bytes.
pub const RESERVE: u64 = 512 << 20;

/// The placement for the load address `load`: rounded up to the alignment that the stub was built with, wherever the
/// kernel was linked, and whatever the loader passes on.
pub fn place(vintage: Vintage, header: &SetupHeader, link: Link, load: u64) -> Placement {
    let mask = u64::from(header.kernel_alignment.unwrap_or(1).wrapping_sub(1));
    let output = load.wrapping_add(mask) & !mask & 0xffff_ffff;
    let window = Range::sized(output, vintage.size);
    let copy = output + vintage.copy;
    // The heap, by whose address the stub decides, begins where its bss ends.
    let heap = copy + vintage.end;
    let refusal = refusal(Range::new(heap, heap), link.highest(RESERVE));
    Placement { output, window, copy: Some(copy), refusal }
}

/// boot_params at the hand-off: as the loader left them at `address`, but for the cursor and the stub's first stack, which
/// still holds the pointer to them.
///
/// # Errors
///
/// There is no RAM.
pub fn hand_over(vintage: Vintage, memory: &dyn Memory, address: u64) -> Result<HandOver, String> {
    let mut bytes = vec![0; 4096];
    if !memory.read(address, &mut bytes) {
        return Err(format!("boot_params at {address:#x} is not RAM"));
    }
    let stack = vintage.scratch.offset();
    bytes[stack..stack + 4].copy_from_slice(&(address as u32).to_le_bytes());
    let screen = [
        offset_of!(params, screen_info.orig_video_mode),
        offset_of!(params, screen_info.orig_video_cols),
        offset_of!(params, screen_info.orig_video_lines),
    ];
    let writes = screen.into_iter().any(|field| bytes[field] != 0);
    let unknown = if writes { vec![CURSOR] } else { Vec::new() };
    Ok(HandOver { bytes, unknown, text: None, refusal: None })
}

#[cfg(test)]
mod tests {
    use super::super::placement::Refusal;
    use super::super::testing::Bytes;
    use super::*;
    use crate::image::fixture::Fixture;
    use crate::image::{Scratch, WordSize};

    const MIB: u64 = 1 << 20;
    const VINTAGE: Vintage =
        Vintage { end: 0x8_0000, copy: 4 * MIB, size: 5 * MIB, scratch: Scratch::Early };

    fn at(load: u64) -> Placement {
        let header = Fixture::with_payload(Vec::new()).build();
        let header = SetupHeader::parse(&header).unwrap();
        let link = Link { physical: 16 * MIB, map: 0xc000_0000, word: WordSize::Bits32 };
        place(VINTAGE, &header, link, load)
    }

    #[test]
    fn the_output_is_aligned_wherever_the_kernel_was_linked() {
        assert_eq!(at(MIB).output, 2 * MIB);
        assert_eq!(at(32 * MIB).output, 32 * MIB);
        assert_eq!(at(0xffff_f000).output, 0, "wraps");
        let placed = at(6 * MIB + 1);
        assert_eq!(placed.window, Range::sized(8 * MIB, 5 * MIB));
        assert_eq!(placed.copy, Some(12 * MIB));
    }

    #[test]
    fn a_heap_above_half_of_lowmem_is_refused() {
        let text = "Destination address too large";
        assert_eq!(at(506 * MIB).refusal, Refusal::Never);
        assert_eq!(at(508 * MIB).refusal, Refusal::Must(text));
    }

    #[test]
    fn boot_params_keep_all_but_the_stack_and_the_cursor() {
        let mut memory = Bytes::new(0x1_0000, 4096);
        let plain = hand_over(VINTAGE, &memory, 0x1_0000).unwrap();
        assert_eq!(plain.bytes[0x3c..0x40], 0x1_0000u32.to_le_bytes());
        assert_eq!(plain.bytes.iter().filter(|byte| **byte != 0).count(), 1);
        assert!(plain.unknown.is_empty());
        memory.put(0x1_0006, &[3]);
        assert_eq!(hand_over(VINTAGE, &memory, 0x1_0000).unwrap().unknown, vec![CURSOR]);
        assert!(hand_over(VINTAGE, &memory, 0x2_0000).is_err());
    }
}
