// SPDX-License-Identifier: GPL-2.0-only
//! The image against the `vmlinux` that it was made from: its bytes, and its relocation table against the one that follows
//! from the ELF relocations. Before anything runs.
//!
//! This sees what a reference that applies the image's own table cannot see: an entry that is missing, and one that
//! names the wrong field of a segment.

mod entries;
mod origin;
mod place;
#[cfg(test)]
mod testing;
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

#[cfg(test)]
mod tests {
    use super::testing::{TABLE, elf, subject};
    use super::*;

    #[test]
    fn an_image_equals_the_vmlinux_that_it_was_made_from() {
        let file = elf().build();
        let mut subject = subject(&file, TABLE, "6.15.0");
        assert_eq!(subject.image_findings, []);
        let vmlinux = Vmlinux::parse(file).unwrap();
        subject.compare(&vmlinux).unwrap();
        assert_eq!(subject.image_findings, []);
        let compared = subject.compared.unwrap().unwrap();
        assert_eq!(compared, Compared { equal: 2, in_notes: 0, unlisted: vec![] });
        assert_eq!(compared.remarks(), [] as [&str; 0]);
    }

    #[test]
    fn what_deviates_joins_the_findings_of_the_image() {
        let mut kernel = elf().build();
        let vmlinux = Vmlinux::parse(kernel.clone()).unwrap();
        let text = vmlinux.sections[1].sh_offset as usize;
        kernel[text + 0x20] ^= 1;
        let mut subject = subject(&kernel, &[0, 0x8100_0008, 0, 0], "6.15.0");
        subject.compare(&vmlinux).unwrap();
        let found: Vec<_> = subject.image_findings.iter().map(|found| &found.place[..]).collect();
        assert_eq!(
            found,
            [
                "payload, start+0x20, .text, against vmlinux",
                "32-bit entry 0x81001004 (foo+0x4, .data)"
            ]
        );
        assert_eq!(subject.compared.unwrap().unwrap().equal, 1);
    }

    #[test]
    fn remarks_tell_what_was_let_pass() {
        let compared = Compared { equal: 9, in_notes: 1, unlisted: vec!["a".into(), "b".into()] };
        assert_eq!(
            compared.remarks(),
            [
                "1 of the entries move notes, as tools before 6.10 made them",
                "absolute symbols about which their value decided: a, b"
            ]
        );
    }

    #[test]
    fn exit_codes_tell_a_file_that_is_unfit_from_one_that_says_nothing() {
        assert_eq!(CompareError::Foreign("x".into()).exit(), Exit::Usage);
        let file = CompareError::from(Vmlinux::parse(vec![0; 64]).err().unwrap());
        assert_eq!(file.exit(), Exit::Usage);
        assert_eq!(CompareError::Derive(DeriveError::NoRelocations).exit(), Exit::CannotJudge);
    }
}
