// SPDX-License-Identifier: GPL-2.0-only
//! Puts another kernel into an image, such that the image's own stub can decompress it.
//!
//! The stub's layout is fixed at link time, so nothing may move: the new payload takes the place of the old one, padded with
//! zeros that every decompressor of the kernel ignores (of LZ4's, those that stop at a block of length zero), and its output
//! length stands where the old one stood. A kernel of another length is one that the stub was linked for, too, once the
//! length is changed wherever the stub has it.

use memchr::memmem;

use super::compress::{self, Effort};
use crate::image::{Compression, Image, ImageError};

/// The stub decompresses in place and relies on the length that its payload had when it was linked: it may be longer than
/// what is read of it by no more than the least margin that a format has had, in bytes (arch/x86/boot/header.S,
/// `z_extra_bytes`).
fn most_padding(compression: Compression) -> usize {
    match compression {
        Compression::Gzip => 32 << 10,
        _ => 64 << 10,
    }
}

/// In more places than this the stub does not have the length of its output: as a constant of its own and, up to 5.19, as an
/// operand of its start-up code.
const MOST_LENGTHS: usize = 2;

/// Why an image cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is no kernel in it.
    #[error("the image's kernel: {0}")]
    Image(#[from] ImageError),
    /// The encoder failed.
    #[error("{compression}: {source}")]
    Compress {
        /// The format.
        compression: Compression,
        /// What it says.
        source: std::io::Error,
    },
    /// The new payload does not fit into the place of the old one.
    #[error(
        "the kernel compresses to {found} bytes of {compression}, the image has room for {room}"
    )]
    TooLarge {
        /// The format.
        compression: Compression,
        /// Bytes of the new payload.
        found: usize,
        /// Bytes of the old one.
        room: usize,
    },
    /// The new payload is so short that decompression in place could overwrite what is not read yet.
    #[error(
        "the kernel compresses to {found} bytes of {compression}: too few for {room}, in-place decompression could fail"
    )]
    TooSmall {
        /// The format.
        compression: Compression,
        /// Bytes of the new payload.
        found: usize,
        /// Bytes of the old one.
        room: usize,
    },
    /// The new kernel has another length, and where the stub has the old one is not known.
    #[error(
        "the edited kernel has {found} bytes, the stub was linked for {expected}, which it has in {places} places"
    )]
    Length {
        /// Bytes of the new kernel.
        found: usize,
        /// Bytes of the old one.
        expected: usize,
        /// So often the old length stands in the stub.
        places: usize,
    },
}

/// Edits the decompressed payload (ELF file and table) and packs it as [`pack`] does.
///
/// # Errors
/// As for [`pack`].
pub fn edit_kernel(
    image: &Image,
    edit: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<u8>, RebuildError> {
    let mut kernel = image.kernel()?.payload;
    edit(&mut kernel);
    pack(image, &kernel)
}

/// The image's file with `kernel` as its decompressed payload, in the image's own format.
///
/// zstd takes most of a minute for a kernel of 60 MB, xz half of one.
///
/// # Errors
/// The kernel cannot be compressed to a payload that fits.
pub fn pack(image: &Image, kernel: &[u8]) -> Result<Vec<u8>, RebuildError> {
    let compression = image.payload().compression;
    let lengths = lengths(image, kernel.len())?;
    let (stream, room) = fitting_stream(image, compression, kernel)?;
    if room - stream.len() > most_padding(compression) {
        return Err(RebuildError::TooSmall { compression, found: stream.len(), room });
    }
    let mut file = with_stream(image, stream, room, kernel);
    for place in lengths {
        write_stub(image, &mut file, place, &compress::output_len(kernel).to_le_bytes());
    }
    Ok(file)
}

/// Where the stub has the length of its output, if it has to have another.
fn lengths(image: &Image, found: usize) -> Result<Vec<usize>, RebuildError> {
    let expected = image.payload().output_len;
    if found == expected as usize {
        return Ok(Vec::new());
    }
    let payload = &image.payload().range;
    let places: Vec<usize> = memmem::find_iter(image.protected_mode(), &expected.to_le_bytes())
        .filter(|at| at + 4 <= payload.start || *at >= payload.end)
        .collect();
    match places.len() {
        1..=MOST_LENGTHS => Ok(places),
        places => Err(RebuildError::Length { found, expected: expected as usize, places }),
    }
}

/// Compresses `kernel` as the build does, or harder if it does not fit; also returns the room there is.
fn fitting_stream(
    image: &Image,
    compression: Compression,
    kernel: &[u8],
) -> Result<(Vec<u8>, usize), RebuildError> {
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

/// Overwrites `file`, which began as a copy of the image's, at the offset `at` of its protected-mode part.
pub fn write_stub(image: &Image, file: &mut [u8], at: usize, bytes: &[u8]) {
    let start = image.header().setup_size() + at;
    file[start..start + bytes.len()].copy_from_slice(bytes);
}
