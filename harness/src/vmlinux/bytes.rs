// SPDX-License-Identifier: GPL-2.0-only
//! A file that is read where it is needed, or one in memory.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::VmlinuxError;

/// Where the bytes of a file come from.
pub enum Bytes {
    /// A file of so many bytes.
    File {
        /// Open for reading.
        file: File,
        /// Its length in bytes.
        len: u64,
    },
    /// A file in memory.
    Memory(Vec<u8>),
}

impl Bytes {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Bytes::File { len, .. } => *len,
            Bytes::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// So many bytes from `start` on. Nothing is allocated for bytes that are not there.
    ///
    /// # Errors
    /// They are not in the file; `what` is what they are.
    pub fn read(&self, start: u64, size: u64, what: &'static str) -> Result<Vec<u8>, VmlinuxError> {
        let end = start.checked_add(size).filter(|&end| end <= self.len());
        let (Some(end), Ok(size)) = (end, usize::try_from(size)) else {
            return Err(VmlinuxError::Outside { what, start, size, available: self.len() });
        };
        match self {
            Bytes::Memory(bytes) => {
                Ok(bytes.get(start as usize..end as usize).unwrap_or_default().to_vec())
            }
            Bytes::File { file, .. } => {
                let mut bytes = vec![0; size];
                file.read_exact_at(&mut bytes, start).map_err(VmlinuxError::Read)?;
                Ok(bytes)
            }
        }
    }
}
