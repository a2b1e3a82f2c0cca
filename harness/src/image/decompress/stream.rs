// SPDX-License-Identifier: GPL-2.0-only
//! The formats that libraries decode as streams: gzip, bzip2, lzma, xz, zstd.
//!
//! Each decodes one stream and ignores what follows, as the stub does: the build appends a length, and a payload that
//! was recompressed is padded.

use std::io::{ErrorKind, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use super::output::{Output, Stop};
use crate::image::payload::Compression;

/// Bytes decoded at a time.
const CHUNK: usize = 64 << 10;
/// What liblzma may allocate: a dictionary of 128 MiB, the largest that kernel builds use (scripts/xz_wrap.sh), and
/// its own state.
const LZMA_MEMORY: u64 = (128 << 20) + (16 << 20);
/// The largest zstd window: 128 MiB, as in lib/decompress_unzstd.c.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The field "uncompressed size" of an lzma header when it is not known.
const LZMA_SIZE_UNKNOWN: u64 = u64::MAX;

/// Bytes of output according to the compressor's own frame header, where it has such a field and fills it.
pub(super) fn content_size(compression: Compression, stream: &[u8]) -> Option<u64> {
    match compression {
        Compression::Lzma => {
            let field = stream.get(5..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*field)).filter(|&size| size != LZMA_SIZE_UNKNOWN)
        }
        Compression::Zstd => zstd::zstd_safe::get_frame_content_size(stream).ok().flatten(),
        _ => None,
    }
}

/// Decodes one stream.
pub(super) fn decode(
    compression: Compression,
    stream: &[u8],
    output: &mut Output,
) -> Result<(), Stop> {
    match compression {
        Compression::Gzip => copy(GzDecoder::new(stream), output),
        Compression::Bzip2 => copy(BzDecoder::new(stream), output),
        Compression::Lzma => {
            let decoder = Stream::new_lzma_decoder(LZMA_MEMORY).map_err(Stop::corrupt)?;
            copy(XzDecoder::new_stream(stream, decoder), output)
        }
        Compression::Xz => {
            let decoder = Stream::new_stream_decoder(LZMA_MEMORY, 0).map_err(Stop::corrupt)?;
            copy(XzDecoder::new_stream(stream, decoder), output)
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)
                .map_err(Stop::corrupt)?
                .single_frame();
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Stop::corrupt)?;
            copy(decoder, output)
        }
        Compression::Lz4 | Compression::Lzo => Err(Stop::corrupt("not a stream format")),
    }
}

fn copy(mut decoder: impl Read, output: &mut Output) -> Result<(), Stop> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match decoder.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(len) => output.push(chunk.get(..len).unwrap_or_default())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(Stop::corrupt("ends too early"));
            }
            Err(error) => return Err(Stop::corrupt(error)),
        }
    }
}
