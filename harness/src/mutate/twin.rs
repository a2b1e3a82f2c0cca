// SPDX-License-Identifier: GPL-2.0-only
//! The unmutated twin: the image with its own kernel, packed as the mutants' kernels are.

use goblin::elf::Elf;

use super::rebuild::{RebuildError, pack};
use crate::campaign::{ImageFailure, Opened};
use crate::case::{CaseError, Demands, Protocols, Space};
use crate::exit::Exit;
use crate::image::Image;
use crate::oracle::Subject;
use crate::reference::highest_heap;

/// Bytes that a mutated kernel may need more than the unmutated one when it is compressed.
const SLACK: usize = 256;

/// The image that mutants are made of.
pub struct Twin {
    /// The image with what the reference says of it, and the space of its cases.
    pub opened: Opened,
    /// Its decompressed payload.
    pub payload: Vec<u8>,
    /// What had to be cleared of the kernel to make room: bytes that neither stub nor kernel reads.
    pub cleared: usize,
}

impl Twin {
    /// Packs the kernel of `image` anew.
    ///
    /// The build's own compressors do better than ours now and then. If the kernel does not fit any more, the names of its
    /// ELF sections are cleared, which nobody reads.
    ///
    /// # Errors
    /// It is no image that can be judged, or its kernel does not fit.
    pub fn new(image: Image) -> Result<Twin, ImageFailure> {
        let failure = |exit, message: String| ImageFailure { exit, message };
        let mut kernel =
            image.kernel().map_err(|error| failure(error.exit(), error.to_string()))?;
        let mut cleared = 0;
        let file = match pack(&image, &with_noise(&kernel.payload))
            .and_then(|_| pack(&image, &kernel.payload))
        {
            Err(RebuildError::TooLarge { .. }) => {
                cleared = clear_section_names(&mut kernel.payload);
                pack(&image, &kernel.payload)
            }
            packed => packed,
        };
        let file = file.map_err(|error| failure(Exit::CannotJudge, error.to_string()))?;
        let image = Image::parse(file).map_err(|error| failure(error.exit(), error.to_string()))?;
        let subject =
            Subject::new(image).map_err(|error| failure(error.exit(), error.to_string()))?;
        let space =
            space(&subject).map_err(|error| failure(Exit::CannotJudge, error.to_string()))?;
        Ok(Twin { opened: Opened { subject, space }, payload: kernel.payload, cleared })
    }

    /// The image with what the reference says of it.
    pub fn subject(&self) -> &Subject {
        &self.opened.subject
    }
}

/// What the cases of an image are drawn from.
///
/// # Errors
/// Its header says what cannot be.
pub fn space(subject: &Subject) -> Result<Space, CaseError> {
    let demands = Demands {
        highest_heap: highest_heap(&subject.image, subject.link),
        needed: subject.needed(),
        linked: subject.link.physical,
    };
    Space::new(&subject.image, subject.word, Protocols::All, &[], demands)
}

/// The payload with as many bytes that cannot be compressed as a mutant may need room for.
fn with_noise(payload: &[u8]) -> Vec<u8> {
    let mut noisy = payload.to_vec();
    let start = noisy.len() / 2;
    let mut state = 1u64;
    for byte in noisy[start..].iter_mut().take(SLACK) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    noisy
}

/// Clears the names of the ELF sections; returns how many bytes they had.
fn clear_section_names(payload: &mut [u8]) -> usize {
    let names = Elf::parse(payload).ok().and_then(|elf| {
        let section = elf.section_headers.get(usize::from(elf.header.e_shstrndx))?;
        section.file_range()
    });
    match names {
        Some(range) if range.end <= payload.len() => {
            payload[range.clone()].fill(0);
            range.len()
        }
        _ => 0,
    }
}
