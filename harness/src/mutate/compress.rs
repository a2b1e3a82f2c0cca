// SPDX-License-Identifier: GPL-2.0-only
//! Compression as the kernel build does it.

use std::io::{self, Read, Write};

use crate::image::Compression;
use liblzma::bufread::XzEncoder;
use liblzma::stream::{Check, Filters, LzmaOptions, PRESET_EXTREME, Stream};

/// Decoded bytes of a legacy LZ4 block.
const LZ4_BLOCK: usize = 8 << 20;
/// Decoded bytes of an lzop block.
const LZO_BLOCK: usize = 256 << 10;

/// How hard an encoder tries, where the kernel build leaves room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// As the build (scripts/Makefile.lib, scripts/xz_wrap.sh): an unchanged kernel comes out as it was.
    Build,
    /// As small as the encoder can.
    Most,
}

/// A payload as it stands in a bzImage: the compressed data, then (but for gzip, which ends with it) its output length.
///
/// # Errors
/// The encoder's own.
pub fn payload(compression: Compression, data: &[u8]) -> io::Result<Vec<u8>> {
    let mut payload = stream(compression, data, Effort::Build)?;
    if compression != Compression::Gzip {
        payload.extend(output_len(data).to_le_bytes());
    }
    Ok(payload)
}

/// The length that ends a payload: no kernel is longer than 1 GiB.
pub fn output_len(data: &[u8]) -> u32 {
    data.len() as u32
}

/// The compressed data alone.
///
/// # Errors
/// The encoder's own.
pub fn stream(compression: Compression, data: &[u8], effort: Effort) -> io::Result<Vec<u8>> {
    match compression {
        Compression::Gzip => {
            read(flate2::bufread::GzEncoder::new(data, flate2::Compression::best()))
        }
        Compression::Bzip2 => {
            read(bzip2::bufread::BzEncoder::new(data, bzip2::Compression::best()))
        }
        Compression::Lzma => {
            let stream = Stream::new_lzma_encoder(&lzma_options(data, effort, 9)?)?;
            read(XzEncoder::new_stream(data, stream))
        }
        Compression::Xz => {
            let mut filters = Filters::new();
            filters.x86().lzma2(&lzma_options(data, effort, 6)?);
            let stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
            read(XzEncoder::new_stream(data, stream))
        }
        Compression::Lzo => lzop(data),
        Compression::Lz4 => lz4_legacy(data, effort),
        Compression::Zstd => zstd(data),
    }
}

fn read(mut encoder: impl Read) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    encoder.read_to_end(&mut compressed)?;
    Ok(compressed)
}

fn lzma_options(data: &[u8], effort: Effort, build_preset: u32) -> io::Result<LzmaOptions> {
    let (preset, dictionary) = match effort {
        Effort::Build => (build_preset, 32 << 20),
        Effort::Most => (9 | PRESET_EXTREME, 64 << 20),
    };
    let mut options = LzmaOptions::new_preset(preset)?;
    // Not much larger than the data: the encoder allocates several times as much.
    options.dict_size(output_len(data).next_power_of_two().clamp(4096, dictionary));
    Ok(options)
}

fn zstd(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 22)?;
    // The build compresses a pipe: no size in the frame. The encoder still needs it to choose small tables.
    encoder.set_pledged_src_size(Some(data.len() as u64))?;
    encoder.include_contentsize(false)?;
    encoder.write_all(data)?;
    encoder.finish()
}

fn lz4_legacy(data: &[u8], effort: Effort) -> io::Result<Vec<u8>> {
    let level = match effort {
        Effort::Build => 9,
        Effort::Most => 12,
    };
    let mode = lz4::block::CompressionMode::HIGHCOMPRESSION(level);
    let mut compressed = Compression::Lz4.magic().to_vec();
    for block in data.chunks(LZ4_BLOCK) {
        let block = lz4::block::compress(block, Some(mode), false)?;
        compressed.extend(output_len(&block).to_le_bytes());
        compressed.extend(block);
    }
    Ok(compressed)
}

fn lzop(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Compression::Lzo.magic().to_vec();
    // Versions 1.03 and 2.x, needed 0.94, method and level as by `lzop -9`; no flags, mode or time stamp; no name.
    compressed.extend([0x10, 0x30, 0x20, 0xa0, 0x09, 0x40, 3, 9]);
    compressed.extend([0; 4 + 4 + 8 + 1]);
    let checksum = [0; 4];
    compressed.extend(checksum);
    for block in data.chunks(LZO_BLOCK) {
        let packed = lzokay::compress::compress(block)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let stored = if packed.len() < block.len() { &packed } else { block };
        compressed.extend(output_len(block).to_be_bytes());
        compressed.extend(output_len(stored).to_be_bytes());
        compressed.extend(checksum);
        compressed.extend(stored);
    }
    compressed.extend([0; 4]);
    Ok(compressed)
}
