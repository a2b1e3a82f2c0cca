// SPDX-License-Identifier: GPL-2.0-only
//! Damages real bzImages: edits the kernel inside and packs it again, or patches the stub's code.

use relocheck::image::{Image, WordSize};
use relocheck::mutate::rebuild::write_stub;

/// Why a stub cannot be patched.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("the pattern occurs {found} times in the stub, expected once")]
    Pattern { found: usize },
    #[error("{found} new bytes at offset {offset} of a pattern of {length}")]
    Patch { found: usize, offset: usize, length: usize },
}

/// Overwrites bytes of the stub's code, at `offset` within the only place where `pattern` matches; `None` matches any byte.
pub fn patch_stub(
    image: &Image,
    pattern: &[Option<u8>],
    offset: usize,
    replacement: &[u8],
) -> Result<Vec<u8>, PatchError> {
    let length = pattern.len();
    if length == 0 || offset + replacement.len() > length {
        return Err(PatchError::Patch { found: replacement.len(), offset, length });
    }
    let place = find_in_stub(image, pattern)?;
    let mut file = image.file().to_vec();
    write_stub(image, &mut file, place + offset, replacement);
    Ok(file)
}

/// The offset in the protected-mode part of the only place outside the payload where `pattern` matches.
pub fn find_in_stub(image: &Image, pattern: &[Option<u8>]) -> Result<usize, PatchError> {
    let length = pattern.len();
    let payload = &image.payload().range;
    let matches = |window: &[u8]| {
        window.iter().zip(pattern).all(|(byte, wanted)| wanted.is_none_or(|wanted| wanted == *byte))
    };
    let places: Vec<usize> = image
        .protected_mode()
        .windows(length)
        .enumerate()
        .filter(|(at, _)| at + length <= payload.start || *at >= payload.end)
        .filter(|(_, window)| matches(window))
        .map(|(at, _)| at)
        .collect();
    match places[..] {
        [place] => Ok(place),
        _ => Err(PatchError::Pattern { found: places.len() }),
    }
}

/// Clears the names of a kernel's sections, which nobody reads: what comes out of packing it is a little smaller, whatever else
/// is edited.
pub fn make_room(payload: &mut [u8], word: WordSize) {
    let number = |at: usize, size: usize| {
        payload[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (headers, size, names, fields) = match word {
        WordSize::Bits64 => (number(0x28, 8), 64, number(0x3e, 2), (0x18, 0x20, 8)),
        WordSize::Bits32 => (number(0x20, 4), 40, number(0x32, 2), (0x10, 0x14, 4)),
    };
    let header = headers + names * size;
    let (start, length) =
        (number(header + fields.0, fields.2), number(header + fields.1, fields.2));
    payload[start..start + length].fill(0);
}

/// Reads a pattern for [`patch_stub`] such as "48 89 ?? 24".
pub fn pattern(text: &str) -> Vec<Option<u8>> {
    text.split_whitespace()
        .map(|byte| match byte {
            "??" => None,
            hex => Some(u8::from_str_radix(hex, 16).expect("a pattern is hex bytes and ??")),
        })
        .collect()
}
