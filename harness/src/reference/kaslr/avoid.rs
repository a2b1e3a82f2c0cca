// SPDX-License-Identifier: GPL-2.0-only
//! What KASLR must not put the kernel on (`mem_avoid_init()`, `mem_avoid_overlap()`,
//! arch/x86/boot/compressed/kaslr.c).

use std::mem::offset_of;

use linux_raw_sys::bootparam::{SETUP_INDIRECT, boot_params};

use super::super::firmware::setup_data::{self, Node};
use super::super::guest::Guest;
use super::super::options::CommandLine;
use super::super::page::SIZE;
use super::limits::LONGEST;
use super::span::Span;

/// The forbidden spans in the order in which the stub asks about them.
///
/// # Errors
///
/// A node of setup_data is not in RAM.
pub fn spans(
    guest: &Guest,
    own: Span,
    command_line: &CommandLine,
    regions: &[Span],
    nodes: &[Node],
) -> Result<Vec<Span>, String> {
    let initrd = Span {
        start: guest.page.halves(
            offset_of!(boot_params, hdr.ramdisk_image),
            offset_of!(boot_params, ext_ramdisk_image),
        ),
        size: guest.page.halves(
            offset_of!(boot_params, hdr.ramdisk_size),
            offset_of!(boot_params, ext_ramdisk_size),
        ),
    };
    let line = Span {
        start: command_line.address,
        size: command_line.bytes.len().min(LONGEST) as u64 + 1,
    };
    let params = Span { start: guest.params_at, size: SIZE as u64 };
    let mut spans = vec![own, initrd, line, params];
    spans.extend(regions);
    for node in nodes {
        let size = guest.long(u64::from(node.len) + setup_data::HEAD);
        spans.push(Span { start: node.address, size });
        if node.kind == SETUP_INDIRECT {
            spans.extend(indirect(guest, *node)?);
        }
    }
    Ok(spans)
}

/// What an indirect node stands for, unless that is another indirect node.
fn indirect(guest: &Guest, node: Node) -> Result<Option<Span>, String> {
    let what = "an indirect setup_data";
    let field = |offset: u64| guest.long(node.data().wrapping_add(offset));
    let kind = guest.u32(field(0), what)?;
    let span = Span { start: guest.u64(field(16), what)?, size: guest.u64(field(8), what)? };
    Ok((kind != SETUP_INDIRECT).then_some(span))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Bytes, PARAMS, guest};
    use super::*;
    use crate::image::WordSize;

    fn memory() -> Bytes {
        let mut memory = Bytes::new(0, 0x2_0000);
        memory.put(PARAMS + 0x228, &0x1_8000u32.to_le_bytes());
        memory.put(0x1_8000, b"four");
        memory.put(PARAMS + 0x218, &0x3000_0000u32.to_le_bytes());
        memory.put(PARAMS + 0x21c, &0x80_0000u32.to_le_bytes());
        memory.put(PARAMS + 0xc0, &1u32.to_le_bytes());
        memory.put(PARAMS + 0xc4, &2u32.to_le_bytes());
        memory
    }

    fn avoided(memory: &Bytes, word: WordSize) -> Vec<(u64, u64)> {
        let guest = guest(memory, word);
        let line = CommandLine::read(&guest).unwrap().unwrap();
        let own = Span { start: 0x100_0000, size: 0x10_0000 };
        let region = Span { start: 5, size: 6 };
        let nodes = setup_data::nodes(&guest).unwrap();
        let spans = spans(&guest, own, &line, &[region], &nodes).unwrap();
        spans.iter().map(|span| (span.start, span.size)).collect()
    }

    #[test]
    fn own_place_initrd_command_line_boot_params_and_regions_in_this_order() {
        let expected = [
            (0x100_0000, 0x10_0000),
            (0x1_3000_0000, 0x2_0080_0000),
            (0x1_8000, 5),
            (PARAMS, 4096),
            (5, 6),
        ];
        assert_eq!(avoided(&memory(), WordSize::Bits64), expected);
    }

    #[test]
    fn setup_data_and_what_it_points_to() {
        let mut memory = memory();
        let mut node = |at: u64, next: u64, kind: u32, len: u32, data: &[u64]| {
            memory.put(at, &next.to_le_bytes());
            memory.put(at + 8, &kind.to_le_bytes());
            memory.put(at + 12, &len.to_le_bytes());
            for (i, word) in data.iter().enumerate() {
                memory.put(at + 16 + i as u64 * 8, &word.to_le_bytes());
            }
        };
        node(0x1_9000, 0x1_a000, 9, 0xffff_fff8, &[]);
        node(0x1_a000, 0x1_b000, 0x8000_0000, 24, &[3, 0x77, 0x4000_0000]);
        node(0x1_b000, 0, 0x8000_0000, 24, &[0x8000_0000, 0x88, 0x5000_0000]);
        memory.put(PARAMS + 0x250, &0x1_9000u64.to_le_bytes());
        let expected =
            [(0x1_9000, 0x1_0000_0008), (0x1_a000, 40), (0x4000_0000, 0x77), (0x1_b000, 40)];
        assert_eq!(avoided(&memory, WordSize::Bits64)[5..], expected);
        assert_eq!(avoided(&memory, WordSize::Bits32)[5], (0x1_9000, 8), "32 bits wrap");
    }
}
