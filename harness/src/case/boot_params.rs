// SPDX-License-Identifier: GPL-2.0-only
//! The zero page that the loader hands over (Documentation/arch/x86/zero-page.rst).

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::{Case, MemoryEntry, MemoryKind};
use crate::image::SetupHeader;

/// Size of boot_params in bytes.
pub const SIZE: usize = 4096;
/// Entries that boot_params has room for (E820_MAX_ENTRIES_ZEROPAGE).
pub const MAX_E820_ENTRIES: usize = 128;
/// Bytes of one entry: start, size and type.
const E820_ENTRY: usize = 20;
/// `type_of_loader` of a loader without an assigned number (boot.rst).
const UNDEFINED_LOADER: u8 = 0xff;

/// Columns and lines of the text screen.
pub const SCREEN_COLUMNS: usize = 80;
pub const SCREEN_LINES: usize = 25;
/// The BIOS's number for that mode, in colour: the screen's memory is at 0xb8000.
const TEXT_MODE: u8 = 3;

/// Fills the page as boot.rst asks a 32- or 64-bit loader to: zeroes, the image's own setup header, and
/// the fields that are the loader's to write.
pub fn build(header: &SetupHeader, case: &Case, command_line: u32) -> Vec<u8> {
    let mut page = vec![0; SIZE];
    let mut put = |offset: usize, bytes: &[u8]| {
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(offset_of!(boot_params, hdr), header.raw());
    put(offset_of!(boot_params, hdr.type_of_loader), &[UNDEFINED_LOADER]);
    put(offset_of!(boot_params, hdr.code32_start), &(case.load as u32).to_le_bytes());
    put(offset_of!(boot_params, hdr.cmd_line_ptr), &command_line.to_le_bytes());
    if case.screen {
        put(offset_of!(boot_params, screen_info.orig_video_mode), &[TEXT_MODE]);
        put(offset_of!(boot_params, screen_info.orig_video_cols), &[SCREEN_COLUMNS as u8]);
        put(offset_of!(boot_params, screen_info.orig_video_lines), &[SCREEN_LINES as u8]);
    }
    if let Some(alignment) = case.kernel_alignment {
        put(offset_of!(boot_params, hdr.kernel_alignment), &(alignment as u32).to_le_bytes());
    }
    put(offset_of!(boot_params, e820_entries), &[case.memory.len() as u8]);
    for (i, entry) in case.memory.iter().enumerate() {
        put(offset_of!(boot_params, e820_table) + i * E820_ENTRY, &e820(entry));
    }
    page
}

fn e820(entry: &MemoryEntry) -> [u8; E820_ENTRY] {
    let kind: u32 = match entry.kind {
        MemoryKind::Usable => 1,
        MemoryKind::Reserved => 2,
        MemoryKind::Acpi => 3,
        MemoryKind::Nvs => 4,
        MemoryKind::Unusable => 5,
    };
    let mut bytes = [0; E820_ENTRY];
    bytes[..8].copy_from_slice(&entry.start.to_le_bytes());
    bytes[8..16].copy_from_slice(&(entry.end - entry.start).to_le_bytes());
    bytes[16..].copy_from_slice(&kind.to_le_bytes());
    bytes
}
