// SPDX-License-Identifier: GPL-2.0-only
//! Streams one file out of a package without unpacking the rest of it. What a package says is
//! checked, never used: no path of it is opened, no link followed, and nothing is believed of sizes.

mod deb;
mod tarball;
#[cfg(test)]
mod tests;
mod unpack;

use std::io::{self, Read, Write};

pub use deb::extract_deb;
pub use tarball::extract_crate;

use super::names::MemberPath;

/// No image is larger, and no kernel's ELF file with debug information: bytes. Debian's have 600 MB.
pub const IMAGE_LIMIT: u64 = 1 << 30;

/// No package unpacks to more: bytes. Debian's largest kernel packages unpack to under 1 GiB.
const UNPACKED_LIMIT: u64 = 4 << 30;

/// Why no image could be taken out of a package.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The package cannot be read, or one of its layers is damaged.
    #[error("{layer}: {source}")]
    Damaged {
        /// The layer: package, data member, image.
        layer: &'static str,
        /// What its reader says.
        source: io::Error,
    },
    /// The package has no data member in a form that is known here.
    #[error("no data.tar.xz, data.tar.zst or data.tar.gz in the package")]
    NoData,
    /// The image claims to be absurdly large, or is.
    #[error("`{path}` has {size} bytes or more, an image may have {IMAGE_LIMIT}")]
    TooLarge {
        /// The member's path in the package.
        path: String,
        /// The size that it claims, or that it has at least, in bytes.
        size: u64,
    },
    /// The package ends within the image.
    #[error("`{path}` ends after {got} of {size} bytes")]
    Truncated {
        /// The member's path in the package.
        path: String,
        /// The size that its header says, in bytes.
        size: u64,
        /// The bytes that were there.
        got: u64,
    },
    /// The image cannot be written.
    #[error("cannot write the image: {0}")]
    Write(io::Error),
}

impl ArchiveError {
    /// For `map_err` on a layer's reader.
    fn damaged(layer: &'static str) -> impl Fn(io::Error) -> ArchiveError {
        move |source| ArchiveError::Damaged { layer, source }
    }
}

/// Which file of a package is the image.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The first one that lies where Debian puts kernels: `boot/vmlinuz-*`,
    /// `usr/lib/modules/*/vmlinuz` or `usr/lib/modules/*/vmlinuz.unsigned` (also below `lib/modules`).
    Kernel,
    /// The first one that lies where Debian puts kernels with debug information: `usr/lib/debug/boot/vmlinux-*`.
    Vmlinux,
    /// The one at this path.
    File(&'a MemberPath),
}

impl Wanted<'_> {
    /// Whether a path in a package, without a leading `./`, is the one.
    pub fn matches(self, path: &str) -> bool {
        match self {
            Wanted::File(wanted) => path == wanted.as_str(),
            Wanted::Vmlinux => path
                .strip_prefix("usr/lib/debug/boot/vmlinux-")
                .is_some_and(|rest| !rest.contains('/')),
            Wanted::Kernel => match path.split('/').collect::<Vec<_>>().as_slice() {
                ["boot", file] => file.starts_with("vmlinuz-"),
                ["usr", "lib", "modules", _, file] | ["lib", "modules", _, file] => {
                    matches!(*file, "vmlinuz" | "vmlinuz.unsigned")
                }
                _ => false,
            },
        }
    }
}

/// The file that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path in the package, without a leading `./`.
    pub path: String,
    /// The image's size in bytes.
    pub size: u64,
}

/// Ends with an error, not as if all were well, where a stream has more than its share of bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Limited<R> {
    fn new(inner: R, limit: u64) -> Limited<R> {
        Limited { inner, left: limit }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other("unpacks to more bytes than any package of a kernel has")
        })?;
        Ok(read)
    }
}

/// Like [`io::copy`], but tells a failing reader from a failing writer, and stops at the limit of
/// an image. `path` is what the error calls it.
fn copy(from: &mut impl Read, to: &mut impl Write, path: &str) -> Result<u64, ArchiveError> {
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(ArchiveError::Damaged { layer: "image", source }),
        };
        copied += read as u64;
        if copied > IMAGE_LIMIT {
            return Err(ArchiveError::TooLarge { path: path.to_owned(), size: copied });
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).map_err(ArchiveError::Write)?;
    }
}
