// SPDX-License-Identifier: GPL-2.0-only
//! The zero page that the loader hands over (Documentation/arch/x86/zero-page.rst).

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::Case;
use super::memory::{MemoryEntry, listed};
use crate::image::SetupHeader;
use crate::range::Range;

/// Size of boot_params in bytes.
pub const SIZE: u64 = 4096;
/// Bytes of one e820 entry: start, size and type.
const E820_ENTRY: usize = 20;
/// What an image has at the sentinel's place, and so a loader that copies more than the setup header.
const SENTINEL: u8 = 0xff;
/// Bit of loadflags: KASLR has chosen where the kernel lies. The stub's to write.
const KASLR_FLAG: u8 = 2;

/// Columns of the text screen.
pub const SCREEN_COLUMNS: usize = 80;
/// Lines of the text screen.
pub const SCREEN_LINES: usize = 25;
/// The BIOS's numbers for that mode, in colour and without.
const TEXT_MODE: u8 = 3;
const MONOCHROME_MODE: u8 = 7;
/// Version of EFI's memory descriptors.
const DESCRIPTOR_VERSION: u32 = 1;

/// What every kernel throws away when the sentinel is set (`sanitize_boot_params()`, arch/x86/include/asm/
/// bootparam_utils.h); later kernels keep `cc_blob_address`, which lies between
/// and is a case's own field.
const THROWN_AWAY: [(usize, usize); 6] = [
    (0x070, 0x080),
    (0x0c0, 0x13c),
    (0x140, 0x1c0),
    (0x1ed, 0x1ef),
    (0x1f0, 0x1f1),
    (0xcd0, 0xd00),
];

/// What every kernel with such a clean-up keeps, and no stub looks at: BIOS and firmware data from `apm_bios_info` to
/// `eddbuf`, and `secure_boot`.
const KEPT: [(usize, usize); 9] = [
    (0x040, 0x054),
    (0x058, 0x060),
    (0x060, 0x070),
    (0x080, 0x0c0),
    (0x1e0, 0x1e4),
    (0x1e9, 0x1eb),
    (0x1ec, 0x1ed),
    (0x290, 0x2d0),
    (0xd00, 0xeec),
];

/// Fills the page as boot.rst asks a 32- or 64-bit loader to: zeroes, the image's own setup header, and
/// the fields that are the loader's to write. A case with a sentinel has a sloppier loader.
pub fn build(header: &SetupHeader, case: &Case) -> Vec<u8> {
    let mut page = Page(vec![0; SIZE as usize]);
    page.put(offset_of!(boot_params, hdr), header.raw());
    if let Some(seed) = case.sentinel {
        page.garbage(seed);
    }
    loader_fields(&mut page, case);
    objects(&mut page, case);
    if let Some(efi) = &case.efi {
        efi_info(&mut page, efi);
    }
    let entries: Vec<_> = listed(&case.memory).collect();
    page.put(offset_of!(boot_params, e820_entries), &[entries.len() as u8]);
    for (i, (entry, kind)) in entries.into_iter().enumerate() {
        page.put(offset_of!(boot_params, e820_table) + i * E820_ENTRY, &e820(entry, kind));
    }
    page.0
}

struct Page(Vec<u8>);

impl Page {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn put_u32(&mut self, offset: usize, value: u64) {
        self.put(offset, &(value as u32).to_le_bytes());
    }

    /// The lower half of `value` at `low`, the upper half at `high`.
    fn put_split(&mut self, low: usize, high: usize, value: u64) {
        self.put_u32(low, value);
        if value >> 32 != 0 {
            self.put_u32(high, value >> 32);
        }
    }

    fn garbage(&mut self, seed: u64) {
        let mut state = seed;
        for (start, end) in THROWN_AWAY.into_iter().chain(KEPT) {
            for byte in &mut self.0[start..end] {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (state >> 56) as u8 | 1;
            }
        }
        self.put(offset_of!(boot_params, sentinel), &[SENTINEL]);
    }
}

fn loader_fields(page: &mut Page, case: &Case) {
    page.put(offset_of!(boot_params, hdr.type_of_loader), &[case.loader.type_of_loader()]);
    page.put_u32(offset_of!(boot_params, hdr.code32_start), case.load);
    if case.screen {
        let devices = &case.devices;
        let mode = if devices.monochrome { MONOCHROME_MODE } else { TEXT_MODE };
        page.put(offset_of!(boot_params, screen_info.orig_x), &[devices.cursor_column]);
        page.put(offset_of!(boot_params, screen_info.orig_y), &[devices.cursor_line]);
        page.put(offset_of!(boot_params, screen_info.orig_video_mode), &[mode]);
        page.put(offset_of!(boot_params, screen_info.orig_video_cols), &[SCREEN_COLUMNS as u8]);
        page.put(offset_of!(boot_params, screen_info.orig_video_lines), &[SCREEN_LINES as u8]);
    }
    if let Some(alignment) = case.kernel_alignment {
        page.put_u32(offset_of!(boot_params, hdr.kernel_alignment), alignment);
    }
    if let Some(init_size) = case.init_size {
        page.put_u32(offset_of!(boot_params, hdr.init_size), init_size);
    }
    if let Some(address) = case.cc_blob_address {
        page.put_u32(offset_of!(boot_params, cc_blob_address), address);
    }
    if case.stale_kaslr_flag {
        page.0[offset_of!(boot_params, hdr.loadflags)] |= KASLR_FLAG;
    }
}

fn objects(page: &mut Page, case: &Case) {
    let command_line = case.command_line.as_ref().map_or(0, |_| case.places.command_line);
    page.put_split(
        offset_of!(boot_params, hdr.cmd_line_ptr),
        offset_of!(boot_params, ext_cmd_line_ptr),
        command_line,
    );
    let initrd = case.initrd.map_or(Range::new(0, 0), |initrd| initrd.range());
    page.put_split(
        offset_of!(boot_params, hdr.ramdisk_image),
        offset_of!(boot_params, ext_ramdisk_image),
        initrd.start,
    );
    page.put_split(
        offset_of!(boot_params, hdr.ramdisk_size),
        offset_of!(boot_params, ext_ramdisk_size),
        initrd.len(),
    );
    let first = case.setup_data.first().map_or(0, |node| node.address);
    page.put(offset_of!(boot_params, hdr.setup_data), &first.to_le_bytes());
    if let Some(rsdp) = case.acpi.as_ref().and_then(|acpi| acpi.named_in_boot_params()) {
        page.put(offset_of!(boot_params, acpi_rsdp_addr), &rsdp.to_le_bytes());
    }
}

fn efi_info(page: &mut Page, efi: &super::Efi) {
    let map = efi.map_bytes().len() as u64;
    page.put(offset_of!(boot_params, efi_info.efi_loader_signature), &efi.signature.bytes());
    page.put_split(
        offset_of!(boot_params, efi_info.efi_systab),
        offset_of!(boot_params, efi_info.efi_systab_hi),
        efi.tables,
    );
    page.put_u32(offset_of!(boot_params, efi_info.efi_memdesc_size), efi.descriptor_size.into());
    page.put_u32(offset_of!(boot_params, efi_info.efi_memdesc_version), DESCRIPTOR_VERSION.into());
    page.put_split(
        offset_of!(boot_params, efi_info.efi_memmap),
        offset_of!(boot_params, efi_info.efi_memmap_hi),
        efi.map,
    );
    page.put_u32(offset_of!(boot_params, efi_info.efi_memmap_size), map);
}

fn e820(entry: &MemoryEntry, kind: u32) -> [u8; E820_ENTRY] {
    let mut bytes = [0; E820_ENTRY];
    bytes[..8].copy_from_slice(&entry.start.to_le_bytes());
    bytes[8..16].copy_from_slice(&(entry.end - entry.start).to_le_bytes());
    bytes[16..].copy_from_slice(&kind.to_le_bytes());
    bytes
}
