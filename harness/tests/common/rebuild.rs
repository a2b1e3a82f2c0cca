// SPDX-License-Identifier: GPL-2.0-only
//! Damages real bzImages: edits the kernel inside and packs it again, or patches the stub's code.
//!
//! The stub's layout is fixed at link time (payload offset, input_len, output_len), so nothing may move: the new payload
//! takes the place of the old one, padded with zeros that every decompressor of the kernel ignores (of LZ4's, those that stop at a block of length zero), and
//! its output length stands where the old one stood.

use relocheck::image::{Compression, Image};

use super::compress::{self, Effort};

/// The stub decompresses in place and relies on the length that its payload had when it was linked: it may be longer than
/// what is read of it by no more than the least margin that any format has (arch/x86/boot/header.S, `z_extra_bytes`).
const MOST_PADDING: usize = 32 << 10;

/// Why an image cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the image's kernel: {0}")]
    Image(#[from] relocheck::image::ImageError),
    #[error("{compression}: {source}")]
    Compress { compression: Compression, source: std::io::Error },
    #[error(
        "the kernel compresses to {found} bytes of {compression}, the image has room for {room}"
    )]
    TooLarge { compression: Compression, found: usize, room: usize },
    #[error(
        "the kernel compresses to {found} bytes of {compression}: too few for {room}, in-place decompression could fail"
    )]
    TooSmall { compression: Compression, found: usize, room: usize },
    #[error("the edited kernel has {found} bytes, the stub was linked for {expected}")]
    Length { found: usize, expected: usize },
    #[error("the pattern occurs {found} times in the stub, expected once")]
    Pattern { found: usize },
    #[error("{found} new bytes at offset {offset} of a pattern of {length}")]
    Patch { found: usize, offset: usize, length: usize },
}

/// Edits the decompressed payload (ELF file and table) in place and packs it in the image's own format, such that the
/// image's own stub can decompress it.
///
/// zstd takes most of a minute for a kernel of 60 MB, xz half of one.
pub fn edit_kernel(
    image: &Image,
    edit: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<u8>, RebuildError> {
    let mut kernel = image.kernel()?.payload;
    edit(&mut kernel);
    let compression = image.payload().compression;
    let (stream, room) = fitting_stream(image, compression, &kernel)?;
    if room - stream.len() > MOST_PADDING {
        return Err(RebuildError::TooSmall { compression, found: stream.len(), room });
    }
    Ok(with_stream(image, stream, room, &kernel))
}

/// Puts `kernel`, compressed in a format of choice, in the place of the image's payload, for tests of the parser:
/// the image's own stub can only decompress its own format.
pub fn replace_kernel(
    image: &Image,
    compression: Compression,
    kernel: &[u8],
) -> Result<Vec<u8>, RebuildError> {
    let (stream, room) = fitting_stream(image, compression, kernel)?;
    Ok(with_stream(image, stream, room, kernel))
}

/// Compresses `kernel` as the build does, or harder if it does not fit; also returns the room there is.
fn fitting_stream(
    image: &Image,
    compression: Compression,
    kernel: &[u8],
) -> Result<(Vec<u8>, usize), RebuildError> {
    let expected = image.payload().output_len as usize;
    if kernel.len() != expected {
        return Err(RebuildError::Length { found: kernel.len(), expected });
    }
    // A gzip stream brings the length itself, as its last field.
    let appended = if compression == Compression::Gzip { 0 } else { 4 };
    let room = image.payload().range.len() - appended;
    let mut found = usize::MAX;
    for effort in [Effort::Build, Effort::Most] {
        let stream = compress::stream(compression, kernel, effort)
            .map_err(|source| RebuildError::Compress { compression, source })?;
        // Padding of one to three bytes leaves no place for the length behind a gzip stream.
        if stream.len() == room || stream.len() + 4 <= room + appended {
            return Ok((stream, room));
        }
        found = found.min(stream.len());
    }
    Err(RebuildError::TooLarge { compression, found, room })
}

/// Writes the stream, padding and the output length over the payload.
fn with_stream(image: &Image, stream: Vec<u8>, room: usize, kernel: &[u8]) -> Vec<u8> {
    let place = image.payload().range.clone();
    let length = compress::output_len(kernel).to_le_bytes();
    let mut payload = stream;
    if payload.len() < room || room < place.len() {
        payload.resize(place.len() - length.len(), 0);
        payload.extend(length);
    }
    let start = image.header().setup_size() + place.start;
    let mut file = image.file().to_vec();
    file[start..start + payload.len()].copy_from_slice(&payload);
    file
}

/// Overwrites bytes of the stub's code, at `offset` within the only place where `pattern` matches; `None` matches any byte.
pub fn patch_stub(
    image: &Image,
    pattern: &[Option<u8>],
    offset: usize,
    replacement: &[u8],
) -> Result<Vec<u8>, RebuildError> {
    let length = pattern.len();
    if length == 0 || offset + replacement.len() > length {
        return Err(RebuildError::Patch { found: replacement.len(), offset, length });
    }
    let place = find_in_stub(image, pattern)?;
    let mut file = image.file().to_vec();
    write_stub(image, &mut file, place + offset, replacement);
    Ok(file)
}

/// The offset in the protected-mode part of the only place outside the payload where `pattern` matches.
pub fn find_in_stub(image: &Image, pattern: &[Option<u8>]) -> Result<usize, RebuildError> {
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
        _ => Err(RebuildError::Pattern { found: places.len() }),
    }
}

/// Overwrites `file`, which began as a copy of the image's, at the offset `at` of its protected-mode part.
pub fn write_stub(image: &Image, file: &mut [u8], at: usize, bytes: &[u8]) {
    let start = image.header().setup_size() + at;
    file[start..start + bytes.len()].copy_from_slice(bytes);
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
