// SPDX-License-Identifier: GPL-2.0-only
//! The image against the `vmlinux` that it was made from: its bytes, and its relocation table against the one that follows
//! from the ELF relocations. Before anything runs.
//!
//! This sees what a reference that applies the image's own table cannot see: an entry that is missing, and one that
//! names the wrong field of a segment.

mod entries;
mod origin;
mod place;
mod twice;

use super::{Finding, Subject};
use crate::exit::Exit;
use crate::reference::{DeriveError, Derived};
use crate::vmlinux::{Vmlinux, VmlinuxError};
pub use twice::{Twice, TwiceError, judge as judge_twice, same_layout};

/// What a comparison with `vmlinux` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Entries that both have.
    pub equal: usize,
    /// Of those, entries for fields in notes: tools before 6.10 made them.
    pub in_notes: usize,
    /// Absolute symbols about which their value decided, as no list knows them.
    pub unlisted: Vec<String>,
}

impl Compared {
    /// What people should know of it, one line each.
    pub fn remarks(&self) -> Vec<String> {
        let notes = (self.in_notes > 0).then(|| {
            format!("{} of the entries move notes, as tools before 6.10 made them", self.in_notes)
        });
        let names = self.unlisted.join(", ");
        let unlisted = (!self.unlisted.is_empty())
            .then(|| format!("absolute symbols about which their value decided: {names}"));
        notes.into_iter().chain(unlisted).collect()
    }
}

/// Why an image cannot be compared with a `vmlinux`.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// No table can be derived from it.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// It belongs to another image.
    #[error("not the vmlinux of this image: {0}")]
    Foreign(String),
}

impl From<VmlinuxError> for CompareError {
    fn from(error: VmlinuxError) -> CompareError {
        CompareError::Derive(error.into())
    }
}

impl CompareError {
    /// The exit code that this error ends a command with: 2 for a file that cannot be used, 125 for one that has nothing
    /// to say.
    pub fn exit(&self) -> Exit {
        match self {
            CompareError::Foreign(_) | CompareError::Derive(DeriveError::File(_)) => Exit::Usage,
            CompareError::Derive(_) => Exit::CannotJudge,
        }
    }
}

/// Compares an image with a `vmlinux`.
///
/// # Errors
/// It belongs to another image, or no table can be derived from it.
pub fn judge(
    subject: &Subject,
    vmlinux: &Vmlinux,
) -> Result<(Vec<Finding>, Compared), CompareError> {
    let mut findings = origin::judge(subject, vmlinux)?;
    let derived = Derived::new(vmlinux)?;
    let (entries, compared) = entries::judge(subject, vmlinux, &derived);
    findings.extend(entries);
    Ok((findings, compared))
}
