// SPDX-License-Identifier: GPL-2.0-only
//! Why a file is refused: one variant per step of reading it.

use std::io;

use super::header::ProtocolVersion;
use super::payload::Compression;
use crate::exit::Exit;

/// What is wrong with an image, in one line that names the field, what was found and what was expected.
///
/// The file's name is not part of it: whoever opened the file knows it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The operating system would not let the file be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A directory, a pipe, a device or a socket.
    #[error("is {found}, expected a regular file")]
    NotRegular {
        /// The kind of file, with its article.
        found: &'static str,
    },
    /// The file exceeds [`MAX_FILE`](super::MAX_FILE).
    #[error("file size: {found} bytes, at most {limit} are read")]
    TooLarge {
        /// Bytes in the file.
        found: u64,
        /// Bytes that relocheck is willing to read.
        limit: u64,
    },
    /// The file ends inside the setup header or the setup code.
    #[error("file size: {found} bytes, {part} needs at least {needed}")]
    TooShort {
        /// Bytes in the file.
        found: usize,
        /// What does not fit.
        part: &'static str,
        /// Bytes that it takes.
        needed: usize,
    },
    /// No "HdrS" at 0x202.
    #[error("not a bzImage: {found}, expected the signature \"HdrS\" at 0x202")]
    Signature {
        /// What the file seems to be, or the four bytes found.
        found: String,
    },
    /// No 0xaa55 at 0x1fe.
    #[error("boot_flag: {found:#06x} at 0x1fe, expected 0xaa55")]
    BootFlag {
        /// The word found.
        found: u16,
    },
    /// A boot protocol version that never existed.
    #[error("version: {found} at 0x206, expected a boot protocol from 2.00 on")]
    Version {
        /// The version found.
        found: ProtocolVersion,
    },
    /// The jump at 0x200 ends the setup header before the fields that its version promises.
    #[error(
        "setup header: ends at {found:#x}, but protocol {version} has fields up to {needed:#x}"
    )]
    HeaderEnd {
        /// File offset of the header's end, from the jump at 0x200.
        found: usize,
        /// File offset of the end of the last field.
        needed: usize,
        /// The version that promises it.
        version: ProtocolVersion,
    },
    /// The file ends before the protected-mode part does.
    #[error(
        "truncated: syssize promises {promised} bytes of protected-mode code, the file holds {found}"
    )]
    Truncated {
        /// Bytes that syssize promises.
        promised: u64,
        /// Bytes from the end of the setup code to the end of the file.
        found: u64,
    },
    /// Not a kernel that can be moved.
    #[error("not relocatable: {reason}")]
    NotRelocatable {
        /// The field that says so.
        reason: String,
    },
    /// The header gives no payload, and none is found without its help.
    #[error("payload: {reason}")]
    NoPayload {
        /// Where it was looked for.
        reason: String,
    },
    /// payload_offset and payload_length leave the protected-mode part.
    #[error(
        "payload: payload_offset {offset:#x} + payload_length {length:#x} end beyond \
         the {available:#x} bytes of protected-mode code"
    )]
    PayloadRange {
        /// The field payload_offset.
        offset: u32,
        /// The field payload_length.
        length: u32,
        /// Bytes of protected-mode code.
        available: usize,
    },
    /// None of the seven compressors that x86 kernels use.
    #[error(
        "payload: starts with {found}, expected the magic of gzip, bzip2, lzma, xz, lzo, lz4 or zstd"
    )]
    UnknownCompression {
        /// The first bytes, in hex.
        found: String,
    },
    /// The appended length claims too much.
    #[error("payload: claims {claimed} bytes of output, {limit_name} allows at most {limit}")]
    OutputClaim {
        /// Bytes that the payload says it becomes.
        claimed: u64,
        /// Bytes allowed.
        limit: u64,
        /// What sets the limit.
        limit_name: &'static str,
    },
    /// A frame header of the compressor contradicts the appended length.
    #[error(
        "payload: the {compression} header says {found} bytes of output, expected {expected}, the appended length"
    )]
    ContentSize {
        /// The compressor.
        compression: Compression,
        /// Bytes according to the frame header.
        found: u64,
        /// Bytes according to the appended length.
        expected: u64,
    },
    /// The compressed data cannot be decoded.
    #[error("payload: {compression} data: {reason}")]
    Corrupt {
        /// The compressor.
        compression: Compression,
        /// What its decoder says.
        reason: String,
    },
    /// The data decodes to another length than the kernel appended.
    #[error(
        "payload: {compression} data decodes to {found}, expected {expected}, the appended length"
    )]
    OutputLength {
        /// The compressor.
        compression: Compression,
        /// How much came out.
        found: String,
        /// Bytes according to the appended length.
        expected: u64,
    },
    /// The decompressed payload is no ELF file: x86_64 kernels before 2.6.26, other systems.
    #[error("payload: decompresses to {found}, expected an ELF file (Linux since 2.6.26)")]
    NotElf {
        /// The first bytes, in hex.
        found: String,
    },
    /// A flat kernel (i386 before 2.6.26) that does not tell where it was linked.
    #[error("payload: a flat kernel, not an ELF file, and {reason}")]
    FlatKernel {
        /// What is missing.
        reason: String,
    },
    /// The payload's ELF header or program headers cannot be used.
    #[error("payload ELF: {field}: {problem}")]
    Elf {
        /// The ELF field.
        field: &'static str,
        /// What was found, what was expected.
        problem: String,
    },
}

impl ImageError {
    /// The exit code that this error ends a command with: 2 for files that are malformed or no bzImage,
    /// 125 for well-formed images about which relocheck has nothing to say.
    pub fn exit(&self) -> Exit {
        match self {
            ImageError::NotRelocatable { .. }
            | ImageError::NotElf { .. }
            | ImageError::FlatKernel { .. } => Exit::CannotJudge,
            _ => Exit::Usage,
        }
    }
}

/// The first bytes of `data` as the messages above show them.
pub(super) fn first_bytes(data: &[u8]) -> String {
    if data.is_empty() {
        return "nothing".to_owned();
    }
    data.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
