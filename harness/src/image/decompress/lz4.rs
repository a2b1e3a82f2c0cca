// SPDX-License-Identifier: GPL-2.0-only
//! LZ4 in its legacy frame, read block by block as lib/decompress_unlz4.c does.

use super::output::{Output, Stop};
use crate::image::payload::Compression;

/// Every block but the last decodes to this many bytes (LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE).
const BLOCK: usize = 8 << 20;

/// Decodes one legacy frame; ends at the end of the data or at a block of length zero.
pub(super) fn decode(stream: &[u8], output: &mut Output) -> Result<(), Stop> {
    let magic = Compression::Lz4.magic();
    let mut rest = stream.strip_prefix(magic).ok_or_else(|| Stop::corrupt("no frame magic"))?;
    let mut block = Vec::new();
    loop {
        // A frame may follow a frame without anything in between.
        if let Some(after) = rest.strip_prefix(magic) {
            rest = after;
            continue;
        }
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Ok(()) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 {
            return Ok(());
        }
        if output.remaining() == 0 {
            return Err(Stop::Overflow);
        }
        if length > lz4_flex::block::get_maximum_output_size(BLOCK) {
            return Err(Stop::corrupt(format!(
                "a block of {length} bytes, longer than a block of 8 MiB can be"
            )));
        }
        let Some((data, after)) = after.split_at_checked(length) else {
            return Err(Stop::corrupt("ends inside a block"));
        };
        block.resize(BLOCK, 0);
        let decoded = lz4_flex::block::decompress_into(data, &mut block).map_err(Stop::corrupt)?;
        // The stub decodes as many bytes as a block must have, whatever the block itself says.
        let expected = output.remaining().min(BLOCK as u64);
        if decoded as u64 != expected {
            return Err(Stop::corrupt(format!(
                "a block of {decoded} bytes where {expected} are due"
            )));
        }
        output.push(block.get(..decoded).unwrap_or_default())?;
        rest = after;
    }
}
