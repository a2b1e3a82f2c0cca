// SPDX-License-Identifier: GPL-2.0-only
//! The moves of `parse_elf()` (arch/x86/boot/compressed/misc.c), simulated on one buffer.

use super::ReferenceError;
use crate::image::{Image, Kernel, Segment, WordSize};

/// Where the kernel was linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// LOAD_PHYSICAL_ADDR: the physical address of output offset 0.
    pub physical: u64,
    /// The difference between link-time virtual and physical addresses: PAGE_OFFSET on i386,
    /// `__START_KERNEL_map` on x86_64.
    pub map: u64,
    /// Word size.
    pub word: WordSize,
}

impl Link {
    /// Reads the link addresses from the first segment, which starts at LOAD_PHYSICAL_ADDR
    /// (arch/x86/kernel/vmlinux.lds.S). The header's `pref_address` should be the same, but nothing that the stub does
    /// depends on it; where there is none, the stub must be one that is known.
    ///
    /// # Errors
    ///
    /// No `pref_address` (boot protocol before 2.10) but not one of the known stubs for i386, a kernel without segments, or
    /// one linked above 4 GiB.
    pub fn new(image: &Image, kernel: &Kernel) -> Result<Link, ReferenceError> {
        let known = image.header().pref_address.is_some()
            || kernel.word == WordSize::Bits32 && image.vintage().is_some();
        if !known {
            return Err(ReferenceError::MissingField("pref_address"));
        }
        let first = kernel.segments.first().ok_or(ReferenceError::NoSegments)?;
        let physical = first.paddr;
        if physical >= 1 << 32 {
            return Err(ReferenceError::LinkAddress(physical));
        }
        let map = match kernel.word {
            WordSize::Bits32 => first.vaddr.wrapping_sub(first.paddr) & 0xffff_ffff,
            // The only map that x86_64 has ever had (asm/page_64_types.h).
            WordSize::Bits64 => 0xffff_ffff_8000_0000,
        };
        Ok(Link { physical, map, word: kernel.word })
    }

    /// The highest physical address that has a virtual one, when i386 reserves so many bytes for other mappings
    /// (arch/x86/include/asm/pgtable_32_types.h, `MAXMEM`).
    pub(super) fn highest(self, reserve: u64) -> u64 {
        self.map.wrapping_neg().wrapping_sub(reserve).wrapping_sub(1) & 0x7fff_ffff
    }

    /// The offset in the output of the field that the table entry `entry` names.
    pub fn field_offset(self, entry: u32) -> u64 {
        match self.word {
            WordSize::Bits32 => {
                u64::from(entry.wrapping_sub(self.map as u32).wrapping_sub(self.physical as u32))
            }
            WordSize::Bits64 => i64::from(entry as i32)
                .wrapping_sub_unsigned(self.map)
                .wrapping_sub_unsigned(self.physical) as u64,
        }
    }
}

/// The output buffer after decompression and `parse_elf()`: every PT_LOAD moved from its file offset to its
/// physical address, in table order, on one buffer. What no segment covers keeps the bytes of the payload
/// that were decompressed there. Nothing is zeroed.
///
/// # Errors
///
/// A segment whose destination is not within the output.
pub fn moved(
    payload: Vec<u8>,
    segments: &[Segment],
    link: Link,
) -> Result<Vec<u8>, ReferenceError> {
    check_moves(payload.len(), segments, link)?;
    let mut buffer = payload;
    for segment in segments {
        let source = segment.offset as usize..(segment.offset + segment.filesz) as usize;
        buffer.copy_within(source, segment.paddr.wrapping_sub(link.physical) as usize);
    }
    Ok(buffer)
}

/// Whether [`moved`] can move the segments of a payload of `len` bytes.
///
/// # Errors
///
/// A segment whose destination is not within the output.
pub fn check_moves(len: usize, segments: &[Segment], link: Link) -> Result<(), ReferenceError> {
    for (index, segment) in segments.iter().enumerate() {
        let start = segment.paddr.wrapping_sub(link.physical);
        let end = start.wrapping_add(segment.filesz);
        let source_end = segment.offset.saturating_add(segment.filesz);
        if start > end || end > len as u64 || source_end > len as u64 {
            return Err(ReferenceError::SegmentOutside { index, start, end, len });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link = Link { physical: 0x100_0000, map: 0xc000_0000, word: WordSize::Bits32 };

    /// Moves segments given as offset, physical address and size, out of the bytes 0 to 255.
    fn moved_bytes(segments: &[(u64, u64, u64)]) -> Result<Vec<u8>, ReferenceError> {
        let segments: Vec<Segment> = segments
            .iter()
            .map(|&(offset, paddr, filesz)| Segment {
                offset,
                paddr,
                vaddr: paddr + 0xc000_0000,
                filesz,
                memsz: filesz,
                align: 0x1000,
                flags: 7,
            })
            .collect();
        moved((0..=255).collect(), &segments, LINK)
    }

    #[test]
    fn later_segments_see_what_earlier_ones_left() {
        let buffer = moved_bytes(&[(0x10, 0x100_0000, 0x20), (0x18, 0x100_0040, 8)]).unwrap();
        assert_eq!(buffer[0..0x20], (0x10..0x30).collect::<Vec<u8>>()[..]);
        assert_eq!(
            buffer[0x40..0x48],
            (0x28..0x30).collect::<Vec<u8>>()[..],
            "already overwritten"
        );
    }

    #[test]
    fn gaps_keep_the_payload() {
        let buffer = moved_bytes(&[(0x80, 0x100_0000, 4)]).unwrap();
        assert_eq!(buffer[..4], [0x80, 0x81, 0x82, 0x83]);
        assert_eq!(buffer[4..], (4..=255).collect::<Vec<u8>>()[..]);
    }

    #[test]
    fn overlapping_moves_keep_their_bytes() {
        let buffer = moved_bytes(&[(8, 0x100_0004, 0x40)]).unwrap();
        assert_eq!(buffer[4..0x44], (8..0x48).collect::<Vec<u8>>()[..]);
    }

    #[test]
    fn destinations_outside_are_refused() {
        for paddr in [0x0ff_fffc, 0x100_00fd] {
            let error = moved_bytes(&[(0, paddr, 4)]).unwrap_err();
            assert!(matches!(error, ReferenceError::SegmentOutside { index: 0, .. }), "{error}");
        }
    }

    #[test]
    fn fields_are_found_from_either_map() {
        assert_eq!(LINK.field_offset(0xc100_0010), 0x10);
        let wide = Link { map: 0xffff_ffff_8000_0000, word: WordSize::Bits64, ..LINK };
        assert_eq!(wide.field_offset(0x8100_0010), 0x10);
        assert_eq!(wide.field_offset(0x80ff_ffff), u64::MAX, "below the kernel");
        assert!(wide.field_offset(0x100_0010) > 1 << 30, "a positive address is far outside");
    }

    #[test]
    fn a_segment_may_end_where_the_output_does() {
        let buffer = moved_bytes(&[(0, 0x100_00fc, 4)]).unwrap();
        assert_eq!(buffer[0xfc..], [0, 1, 2, 3]);
        let buffer = moved_bytes(&[(0xfc, 0x100_0000, 4)]).unwrap();
        assert_eq!(buffer[..4], [0xfc, 0xfd, 0xfe, 0xff]);
        assert!(moved_bytes(&[(0xfd, 0x100_0000, 4)]).is_err(), "not in the payload");
        assert!(moved_bytes(&[(0x10, 0x100_0100, 0)]).is_ok(), "an empty one");
    }
}
