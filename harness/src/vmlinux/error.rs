// SPDX-License-Identifier: GPL-2.0-only
//! Why a `vmlinux` is refused.

use std::io;

/// What is wrong with a file, in one line. The file's name is not part of it.
#[derive(Debug, thiserror::Error)]
pub enum VmlinuxError {
    /// The operating system would not let the file be read.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A directory, a pipe, a device.
    #[error("is no regular file, expected a kernel's ELF file (vmlinux)")]
    NotRegular,
    /// A field of the ELF file that cannot be.
    #[error("ELF: {field}: {problem}")]
    Elf {
        /// The field.
        field: &'static str,
        /// What was found, what was expected.
        problem: String,
    },
    /// A part that leaves the file.
    #[error("ELF: {what}: {start:#x} + {size:#x} ends beyond the file's {available:#x} bytes")]
    Outside {
        /// The part.
        what: &'static str,
        /// Its offset.
        start: u64,
        /// Its size in bytes.
        size: u64,
        /// Bytes in the file.
        available: u64,
    },
    /// More of something than any kernel has.
    #[error("ELF: {place}: more {what} than any kernel has")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Where.
        place: String,
    },
}

impl VmlinuxError {
    /// For what goblin says.
    pub(super) fn elf(field: &'static str, error: &dyn std::fmt::Display) -> VmlinuxError {
        VmlinuxError::Elf { field, problem: error.to_string() }
    }
}
