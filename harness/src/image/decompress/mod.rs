// SPDX-License-Identifier: GPL-2.0-only
//! Decompression of the payload, with one cap over all formats.
//!
//! A payload says itself how long its output is. That claim is checked before anything is decoded, is never
//! allocated ahead, and is never exceeded: decoding stops one chunk after the claim at the latest.

mod lz4;
mod lzo;
mod output;
mod stream;

use self::output::{Output, Stop};
use super::error::ImageError;
use super::kernel::{ELF_HEADER_MAX, elf_header};
use super::payload::{Compression, LENGTH_BYTES};

/// No x86 kernel can be longer: its virtual window is 1 GiB (KERNEL_IMAGE_SIZE).
const MAX_OUTPUT: u64 = 1 << 30;
/// Claims above this are counted before they are stored. Stored output and a decoder's window of the same size
/// have to fit into 200 MiB together.
const COUNT_FIRST: u64 = 64 << 20;

/// Decompresses a payload of which `data` is everything, the appended length included, to exactly `claim` bytes.
///
/// # Errors
///
/// A claim above 1 GiB or above `init_size`; data that is damaged, or that decodes to more or less than the claim; output
/// that does not start with the ELF header of an x86 kernel, which is told from its first bytes.
pub(super) fn payload(
    compression: Compression,
    data: &[u8],
    claim: u64,
    init_size: Option<u32>,
) -> Result<Vec<u8>, ImageError> {
    let limits = [(MAX_OUTPUT, "relocheck"), (init_size.map_or(u64::MAX, u64::from), "init_size")];
    if let Some((limit, limit_name)) = limits.into_iter().find(|(limit, _)| claim > *limit) {
        return Err(ImageError::OutputClaim { claimed: claim, limit, limit_name });
    }
    // gzip's own trailer is the appended length.
    let stream = match compression {
        Compression::Gzip => data,
        _ => data.get(..data.len().saturating_sub(LENGTH_BYTES)).unwrap_or_default(),
    };
    if let Some(found) = stream::content_size(compression, stream).filter(|&found| found != claim) {
        return Err(ImageError::ContentSize { compression, found, expected: claim });
    }

    // A bomb of zeros is found out here, at the cost of one chunk.
    let head = run(compression, stream, Output::head(claim, ELF_HEADER_MAX))?;
    elf_header(&head)?;
    if claim > COUNT_FIRST {
        run(compression, stream, Output::count(claim))?;
    }
    run(compression, stream, Output::store(claim))
}

/// Decodes `stream` into `output` and returns what it kept.
fn run(compression: Compression, stream: &[u8], mut output: Output) -> Result<Vec<u8>, ImageError> {
    let result = match compression {
        Compression::Lz4 => lz4::decode(stream, &mut output),
        Compression::Lzo => lzo::decode(stream, &mut output),
        _ => stream::decode(compression, stream, &mut output),
    };
    let wrong_length =
        |found| ImageError::OutputLength { compression, found, expected: output.claim() };
    match result {
        Ok(()) if output.is_complete() => Ok(output.into_kept()),
        Ok(()) => Err(wrong_length(format!("{} bytes", output.written()))),
        Err(Stop::Satisfied) => Ok(output.into_kept()),
        Err(Stop::Overflow) => Err(wrong_length("more".to_owned())),
        Err(Stop::Corrupt(reason)) => Err(ImageError::Corrupt { compression, reason }),
    }
}
