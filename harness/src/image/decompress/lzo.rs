// SPDX-License-Identifier: GPL-2.0-only
//! LZO in an lzop container, read as lib/decompress_unlzo.c does: checksums are skipped, not verified.

use super::output::{Output, Stop};
use crate::image::payload::Compression;

/// The longest block that the kernel accepts, in decoded bytes.
const BLOCK: usize = 256 << 10;
/// The lzop version from which on the header has a level and the upper half of the time stamp.
const VERSION_WITH_LEVEL: u16 = 0x0940;
const HEADER_HAS_FILTER: u32 = 0x800;

/// Decodes one lzop file up to its end mark.
pub(super) fn decode(stream: &[u8], output: &mut Output) -> Result<(), Stop> {
    let mut reader = Reader { rest: stream };
    header(&mut reader).ok_or_else(|| Stop::corrupt("incomplete lzop header"))?;
    let mut block = vec![0; BLOCK];
    loop {
        let ends_early = || Stop::corrupt("ends inside a block");
        let decoded_len = reader.be32().ok_or_else(ends_early)? as usize;
        if decoded_len == 0 {
            return Ok(());
        }
        let Some(decoded) = block.get_mut(..decoded_len) else {
            return Err(Stop::corrupt(format!(
                "a block of {decoded_len} bytes, at most {BLOCK} are allowed"
            )));
        };
        let stored_len = reader.be32().ok_or_else(ends_early)? as usize;
        if stored_len == 0 || stored_len > decoded_len {
            return Err(Stop::corrupt(format!(
                "a block of {decoded_len} bytes stored in {stored_len}"
            )));
        }
        let checksum_len = 4;
        reader.take(checksum_len).ok_or_else(ends_early)?;
        let stored = reader.take(stored_len).ok_or_else(ends_early)?;
        if stored_len == decoded_len {
            // lzop stores what does not shrink.
            output.push(stored)?;
            continue;
        }
        let len = lzokay::decompress::decompress(stored, decoded).map_err(Stop::corrupt)?;
        if len != decoded_len {
            return Err(Stop::corrupt(format!(
                "a block of {len} bytes where {decoded_len} are due"
            )));
        }
        output.push(decoded)?;
    }
}

/// Skips the header.
fn header(reader: &mut Reader<'_>) -> Option<()> {
    reader.rest = reader.rest.strip_prefix(Compression::Lzo.magic())?;
    let version = reader.be16()?;
    let with_level = version >= VERSION_WITH_LEVEL;
    // Library version, version needed to extract, method; level.
    reader.take(2 + 2 + 1)?;
    reader.take(if with_level { 1 } else { 0 })?;
    if reader.be32()? & HEADER_HAS_FILTER != 0 {
        reader.take(4)?;
    }
    // Mode, time stamp.
    reader.take(if with_level { 4 + 8 } else { 4 + 4 })?;
    let name_len = usize::from(*reader.take(1)?.first()?);
    // File name, header checksum.
    reader.take(name_len + 4)?;
    Some(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn be16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn be32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}
