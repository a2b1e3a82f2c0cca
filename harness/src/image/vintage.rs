// SPDX-License-Identifier: GPL-2.0-only
//! Stubs for i386 from 2.6.20 to 2.6.30 (boot protocols 2.05 to 2.09): the first that relocate their kernel.
//!
//! Their header says neither how much memory they use nor where the kernel was linked, because they compute the first by a
//! fixed rule and were built for the second (arch/i386/boot/compressed/head.S, since 2.6.24 arch/x86/boot/compressed/head_32.S).

use super::Image;
use super::payload::{Compression, Payload};
use super::startup::{Scratch, Startup};

/// The first boot protocol whose header has `pref_address` and `init_size`.
const SINCE_INIT_SIZE: u16 = 0x020a;
/// The first boot protocol whose payload is an ELF file, not a flat binary.
pub(super) const SINCE_ELF: u16 = 0x0208;
/// No i386 kernel has been so long: half of what fits into its lowmem, in bytes.
pub(super) const MAX_OUTPUT: u64 = 256 << 20;
/// What places and sizes are rounded up to.
const PAGE: u64 = 4096;
/// Room that in-place decompression of gzip needs besides one byte in 4096: a block, header and trailer.
const SLACK: u64 = 32768 + 18;
/// The heap behind the stub's copy, as large as it ever was (asm/boot.h, `BOOT_HEAP_SIZE`).
const HEAP: u64 = 0x4000;
/// The same for bzip2 (2.6.30).
const HEAP_BZIP2: u64 = 0x40_0000;

/// What such a stub was built to do. Offsets and sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vintage {
    /// Size of the stub in memory, bss included (`_end`).
    pub end: u64,
    /// Where it copies itself, counted from the kernel's first byte.
    pub copy: u64,
    /// From the kernel's first byte to behind the heap of the copy, in whole pages.
    pub size: u64,
    /// The four bytes of boot_params that serve as its first stack.
    pub scratch: Scratch,
}

impl Vintage {
    /// The stub with this start-up code and this payload; `None` if the code is another.
    pub(super) fn new(startup: Startup, payload: &Payload) -> Option<Vintage> {
        let end = startup.copied?;
        let scratch = startup.first_stack?;
        let output = u64::from(payload.output_len);
        let copy = (output + (output >> 12) + SLACK)
            .checked_sub(payload.range.len() as u64)?
            .next_multiple_of(PAGE);
        let heap = if payload.compression == Compression::Bzip2 { HEAP_BZIP2 } else { HEAP };
        let size = (copy + end + heap).next_multiple_of(PAGE);
        Some(Vintage { end, copy, size, scratch })
    }
}

impl Image {
    /// What the stub was built to do where the header does not say it: i386, 2.6.20 to 2.6.30.
    pub fn vintage(&self) -> Option<Vintage> {
        let old = self.header().version.0 < SINCE_INIT_SIZE;
        old.then(|| Vintage::new(self.startup(), self.payload())).flatten()
    }

    /// Size of the stub in memory, bss included, in bytes, if its start-up code tells.
    pub fn stub_size(&self) -> Option<u64> {
        self.vintage().map(|vintage| vintage.end).or(self.startup().end)
    }

    /// Memory that the stub uses from the kernel's run-time start on, in bytes: `init_size`, or what a stub uses that
    /// was built before there was such a field.
    pub fn init_size(&self) -> u64 {
        let unsaid =
            || self.vintage().map_or(self.protected_mode().len() as u64, |vintage| vintage.size);
        self.header().init_size.map_or_else(unsaid, u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vintage(output_len: u32, input_len: usize) -> Option<Vintage> {
        let startup = Startup {
            copied: Some(0x5_0123),
            first_stack: Some(Scratch::Early),
            ..Startup::default()
        };
        let payload =
            Payload { compression: Compression::Gzip, range: 0x100..0x100 + input_len, output_len };
        Vintage::new(startup, &payload)
    }

    #[test]
    fn the_copy_lies_where_decompression_in_place_is_safe() {
        let known = vintage(0x40_0000, 0x18_0000).unwrap();
        assert_eq!(known.copy, 0x28_9000, "0x400000 + 0x400 + 0x8012 - 0x180000, rounded up");
        assert_eq!(known.size, 0x28_9000 + 0x5_1000 + 0x4000);
        assert_eq!(vintage(0x1000, 0x10_0000), None, "no compressor makes it that much longer");
    }
}
