// SPDX-License-Identifier: GPL-2.0-only
//! The page of boot_params, and what a stub makes of one that the loader did not clear
//! (`sanitize_boot_params()`, arch/x86/include/asm/bootparam_utils.h).

use std::mem::{offset_of, size_of};

use linux_raw_sys::bootparam::{self, boot_params};

/// Size of boot_params in bytes.
pub const SIZE: usize = 4096;

/// boot_params at some moment of the stub's run, and what was printed up to then, which has moved the cursor in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    bytes: Box<[u8; SIZE]>,
    said: String,
}

impl Page {
    /// The page with these bytes.
    pub fn new(bytes: Box<[u8; SIZE]>) -> Page {
        Page { bytes, said: String::new() }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8; SIZE] {
        &self.bytes
    }

    /// What was printed.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Notes that `text` is printed.
    pub fn say(&mut self, text: &str) {
        self.said.push_str(text);
    }

    fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.bytes[offset..offset + N].try_into().expect("N bytes")
    }

    /// The byte at `offset`.
    pub fn u8(&self, offset: usize) -> u8 {
        self.bytes[offset]
    }

    /// The four bytes at `offset`.
    pub fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    /// The eight bytes at `offset`.
    pub fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }

    /// A number whose halves lie in two fields.
    pub fn halves(&self, low: usize, high: usize) -> u64 {
        u64::from(self.u32(high)) << 32 | u64::from(self.u32(low))
    }

    /// Changes the byte at `offset`.
    pub fn put_u8(&mut self, offset: usize, value: u8) {
        self.bytes[offset] = value;
    }

    /// Changes the four bytes at `offset`.
    pub fn put_u32(&mut self, offset: usize, value: u32) {
        self.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Changes the eight bytes at `offset`.
    pub fn put_u64(&mut self, offset: usize, value: u64) {
        self.bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// `efi_loader_signature`.
    pub fn efi_signature(&self) -> [u8; 4] {
        self.array(offset_of!(boot_params, efi_info.efi_loader_signature))
    }

    /// Whether EFI booted: the signature is that of a 32-bit or 64-bit EFI loader.
    pub fn booted_by_efi(&self) -> bool {
        matches!(&self.efi_signature(), b"EL32" | b"EL64")
    }

    /// Clears what a loader that left the sentinel set cannot be trusted to have set up. `keeps_cc_blob`: since 5.19
    /// `cc_blob_address` is kept.
    pub fn sanitize(&mut self, keeps_cc_blob: bool) {
        if self.u8(offset_of!(boot_params, sentinel)) == 0 {
            return;
        }
        let kept = [
            (offset_of!(boot_params, screen_info), size_of::<bootparam::screen_info>()),
            (offset_of!(boot_params, apm_bios_info), size_of::<bootparam::apm_bios_info>()),
            (offset_of!(boot_params, tboot_addr), 8),
            (offset_of!(boot_params, ist_info), size_of::<bootparam::ist_info>()),
            (offset_of!(boot_params, hd0_info), 16),
            (offset_of!(boot_params, hd1_info), 16),
            (offset_of!(boot_params, sys_desc_table), size_of::<bootparam::sys_desc_table>()),
            (offset_of!(boot_params, olpc_ofw_header), size_of::<bootparam::olpc_ofw_header>()),
            (offset_of!(boot_params, efi_info), size_of::<bootparam::efi_info>()),
            (offset_of!(boot_params, alt_mem_k), 4),
            (offset_of!(boot_params, scratch), 4),
            (offset_of!(boot_params, e820_entries), 1),
            (offset_of!(boot_params, eddbuf_entries), 1),
            (offset_of!(boot_params, edd_mbr_sig_buf_entries), 1),
            (offset_of!(boot_params, edd_mbr_sig_buffer), 16 * 4),
            (offset_of!(boot_params, secure_boot), 1),
            (offset_of!(boot_params, hdr), size_of::<bootparam::setup_header>()),
            (offset_of!(boot_params, e820_table), 128 * 20),
            (offset_of!(boot_params, eddbuf), 6 * size_of::<bootparam::edd_info>()),
            (offset_of!(boot_params, cc_blob_address), if keeps_cc_blob { 4 } else { 0 }),
        ];
        let mut clean = Box::new([0; SIZE]);
        for (start, len) in kept {
            clean[start..start + len].copy_from_slice(&self.bytes[start..start + len]);
        }
        self.bytes = clean;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First and last byte of what is kept, by zero-page.rst.
    const KEPT: [(usize, usize); 13] = [
        (0x000, 0x053),
        (0x058, 0x06f),
        (0x080, 0x0af),
        (0x0b0, 0x0bf),
        (0x13c, 0x13f),
        (0x1c0, 0x1df),
        (0x1e0, 0x1e3),
        (0x1e4, 0x1e7),
        (0x1e8, 0x1ea),
        (0x1ec, 0x1ec),
        (0x1f1, 0x26f),
        (0x290, 0xccf),
        (0xd00, 0xeeb),
    ];

    #[test]
    fn a_set_sentinel_clears_all_but_the_fields_that_loaders_fill() {
        let mut page = Page::new(Box::new([0xff; SIZE]));
        page.sanitize(true);
        for (offset, byte) in page.bytes().iter().enumerate() {
            // The setup header ends where kernel_info_offset does.
            let kept = KEPT.iter().any(|(first, last)| (*first..=*last).contains(&offset))
                && !(0x1f1 + size_of::<bootparam::setup_header>()..0x290).contains(&offset);
            assert_eq!(*byte == 0xff, kept, "{offset:#x}");
        }
        assert_eq!(size_of::<bootparam::setup_header>(), 0x26c - 0x1f1);
    }

    #[test]
    fn a_clear_sentinel_and_older_stubs_differ() {
        let mut bytes = Box::new([0xff; SIZE]);
        bytes[0x1ef] = 0;
        let mut page = Page::new(bytes.clone());
        page.sanitize(true);
        assert_eq!(page.bytes(), &*bytes);
        bytes[0x1ef] = 1;
        let mut page = Page::new(bytes);
        page.sanitize(false);
        assert_eq!(page.u32(offset_of!(boot_params, cc_blob_address)), 0);
    }
}
