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
