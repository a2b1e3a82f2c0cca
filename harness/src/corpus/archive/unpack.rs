// SPDX-License-Identifier: GPL-2.0-only
//! The compressions of packages, each with a bound on the memory that a stream may ask for.

use std::io::{self, Read};

use liblzma::stream::{CONCATENATED, Stream};

/// Memory that an xz stream may ask for, in bytes: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Base-2 logarithm of the largest window that a zstd stream may ask for.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The unpacked form of a file, told by the ending of its name; `None` for other endings.
///
/// # Errors
/// The decompressor cannot be set up.
pub fn unpack<'a>(name: &[u8], packed: impl Read + 'a) -> io::Result<Option<Box<dyn Read + 'a>>> {
    let ending = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    Ok(Some(match ending {
        b"xz" => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
            Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
        }
        b"zst" => {
            let mut decoder = zstd::stream::read::Decoder::new(packed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        b"gz" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        _ => return Ok(None),
    }))
}
