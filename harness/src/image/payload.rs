// SPDX-License-Identifier: GPL-2.0-only
//! Where the compressed kernel lies in the image, and how it is compressed.

use std::fmt;
use std::ops::Range;

use memchr::memmem;

use super::error::{ImageError, first_bytes};
use super::header::SetupHeader;

/// The compressors that an x86 kernel can be built with (init/Kconfig, "Kernel compression mode").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Compression {
    /// CONFIG_KERNEL_GZIP.
    Gzip,
    /// CONFIG_KERNEL_BZIP2, since 2.6.30.
    Bzip2,
    /// CONFIG_KERNEL_LZMA, since 2.6.30: the "alone" container.
    Lzma,
    /// CONFIG_KERNEL_XZ, since 2.6.38: with the x86 BCJ filter.
    Xz,
    /// CONFIG_KERNEL_LZO, since 2.6.33: the lzop container.
    Lzo,
    /// CONFIG_KERNEL_LZ4, since 3.11: the legacy frame.
    Lz4,
    /// CONFIG_KERNEL_ZSTD, since 5.9.
    Zstd,
}

impl Compression {
    /// All of them, in the order in which the kernel got them.
    pub const ALL: [Compression; 7] = [
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Lzma,
        Compression::Xz,
        Compression::Lzo,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// The bytes that compressed data starts with.
    pub fn magic(self) -> &'static [u8] {
        match self {
            Compression::Gzip => b"\x1f\x8b\x08",
            Compression::Bzip2 => b"BZh",
            Compression::Lzma => b"\x5d\x00",
            Compression::Xz => b"\xfd7zXZ\0",
            Compression::Lzo => b"\x89LZO\0\r\n\x1a\n",
            Compression::Lz4 => b"\x02\x21\x4c\x18",
            Compression::Zstd => b"\x28\xb5\x2f\xfd",
        }
    }

    /// Recognises a compressor by its magic.
    pub fn detect(data: &[u8]) -> Option<Compression> {
        Compression::ALL.into_iter().find(|compression| data.starts_with(compression.magic()))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Lzma => "lzma",
            Compression::Xz => "xz",
            Compression::Lzo => "lzo",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        })
    }
}

/// The compressed kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How it is compressed, told from its magic.
    pub compression: Compression,
    /// Where it lies in [`Image::protected_mode`](super::Image::protected_mode), the appended length included.
    pub range: Range<usize>,
    /// Bytes that it decompresses to, from its last four bytes: the build appends a little-endian u32,
    /// which gzip's own ISIZE already is (arch/x86/boot/compressed/mkpiggy.c).
    pub output_len: u32,
}

/// Bytes of the appended output length.
pub(super) const LENGTH_BYTES: usize = 4;

/// Finds the payload: through the header since protocol 2.08, by its magic before.
pub(super) fn locate(header: &SetupHeader, protected_mode: &[u8]) -> Result<Payload, ImageError> {
    let range = match (header.payload_offset, header.payload_length) {
        (Some(offset), Some(length)) => from_header(offset, length, protected_mode.len())?,
        _ => by_magic(protected_mode).ok_or_else(|| ImageError::NoPayload {
            reason: format!(
                "protocol {} has no payload_offset, and no gzip data is found",
                header.version
            ),
        })?,
    };
    let data = protected_mode.get(range.clone()).unwrap_or_default();
    let compression = Compression::detect(data)
        .ok_or_else(|| ImageError::UnknownCompression { found: first_bytes(data) })?;
    let output_len =
        data.last_chunk::<LENGTH_BYTES>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Ok(Payload { compression, range, output_len })
}

fn from_header(offset: u32, length: u32, available: usize) -> Result<Range<usize>, ImageError> {
    let shortest = 2 * LENGTH_BYTES;
    if (length as usize) < shortest {
        return Err(ImageError::NoPayload {
            reason: format!("payload_length is {length} bytes, expected at least {shortest}"),
        });
    }
    let start = offset as usize;
    start
        .checked_add(length as usize)
        .filter(|&end| end <= available)
        .map(|end| start..end)
        .ok_or(ImageError::PayloadRange { offset, length, available })
}

/// Until protocol 2.08 (2.6.20 to 2.6.25) the linker script puts the payload's length, as a u32, in front of it
/// (arch/i386/boot/compressed/vmlinux.scr): the magic counts only where that length fits.
fn by_magic(protected_mode: &[u8]) -> Option<Range<usize>> {
    memmem::find_iter(protected_mode, Compression::Gzip.magic()).find_map(|start| {
        let before = protected_mode.get(..start)?.last_chunk::<4>()?;
        let length = u32::from_le_bytes(*before) as usize;
        let end = start.checked_add(length)?;
        // A gzip member without any data has 20 bytes.
        (length >= 20 && end <= protected_mode.len()).then_some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_magic_is_recognised() {
        for compression in Compression::ALL {
            assert_eq!(Compression::detect(compression.magic()), Some(compression));
        }
        assert_eq!(Compression::detect(b"\x7fELF"), None);
        assert_eq!(Compression::detect(b""), None);
    }

    #[test]
    fn a_magic_without_its_length_in_front_is_chance() {
        let mut code = vec![0x90; 64];
        code.extend(b"\x1f\x8b\x08");
        code.extend([0xff; 9]);
        code.extend(30u32.to_le_bytes());
        let start = code.len();
        code.extend(b"\x1f\x8b\x08");
        code.resize(start + 40, 1);
        assert_eq!(by_magic(&code), Some(start..start + 30));
        assert_eq!(by_magic(&code[..start + 20]), None);
    }

    #[test]
    fn ranges_stay_within_the_code() {
        assert_eq!(from_header(0x10, 0x20, 0x30).unwrap(), 0x10..0x30);
        assert!(matches!(from_header(0x10, 0x21, 0x30), Err(ImageError::PayloadRange { .. })));
        assert!(from_header(u32::MAX, u32::MAX, 0x30).is_err());
        assert!(matches!(from_header(0x10, 7, 0x30), Err(ImageError::NoPayload { .. })));
    }
}
