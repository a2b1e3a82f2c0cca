// SPDX-License-Identifier: GPL-2.0-only
//! One image with everything that the reference says about it: made once, used by all of its cases.

use crate::exit::Exit;
use crate::image::{Compression, Image, ImageError, Kernel, RelocTable, Segment, WordSize};
use crate::reference::{Link, Model, ReferenceError, check_moves, moved};

use super::second::{self, CompareError, Compared};
use super::{Finding, header, invariance, segments, table};
use crate::vmlinux::Vmlinux;

/// An image, ready to be judged.
pub struct Subject {
    /// The image.
    pub image: Image,
    /// Word size of the kernel.
    pub word: WordSize,
    /// How the payload is compressed.
    pub compression: Compression,
    /// Where the kernel was linked.
    pub link: Link,
    /// e_entry.
    pub entry: u64,
    /// Loadable segments in table order.
    pub segments: Vec<Segment>,
    /// The image's own relocation table.
    pub table: RelocTable,
    /// The kernel after the moves of its segments, before relocation.
    pub moved: Vec<u8>,
    /// A digest of those bytes.
    pub digest: u64,
    /// What is wrong with the image itself, whatever a run of it shows.
    pub image_findings: Vec<Finding>,
    /// KASLR's model, or why there is none.
    pub model: Result<Model, String>,
    /// What the comparison with the kernel's `vmlinux` gave, or why there was none; `None` if none was at hand.
    pub compared: Option<Result<Compared, String>>,
}

/// An image that cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The file is not an image that can be taken apart.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The reference cannot say what should come out of it.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

impl SubjectError {
    /// The exit code that this error ends a command with.
    pub fn exit(&self) -> Exit {
        match self {
            SubjectError::Image(error) => error.exit(),
            SubjectError::Reference(_) => Exit::CannotJudge,
        }
    }
}

impl Subject {
    /// Decompresses and analyses `image`.
    ///
    /// # Errors
    ///
    /// The image is no relocatable kernel, is damaged, or has a form that the reference does not know.
    pub fn new(image: Image) -> Result<Subject, SubjectError> {
        image.require_relocatable()?;
        let kernel = image.kernel()?;
        let link = Link::new(&image, &kernel)?;
        let mut image_findings = header::judge(&image, link);
        let segments = segments::judge(&image, &kernel, link);
        image_findings.extend(match segments.is_empty() {
            true => header::init_size(&image, &kernel, link).into_iter().collect(),
            false => segments,
        });
        image_findings.extend(table::judge(&image, &kernel, link));
        let model = Model::new(&image, &kernel, link);
        let Kernel { word, payload, entry, segments, table, .. } = kernel;
        let moved = match check_moves(payload.len(), &segments, link) {
            // The image diverges, whatever a run shows.
            Err(_) if !image_findings.is_empty() => payload,
            checked => {
                checked?;
                moved(payload, &segments, link)?
            }
        };
        Ok(Subject {
            word,
            compression: image.payload().compression,
            link,
            entry,
            segments,
            table,
            digest: invariance::digest(&moved),
            moved,
            image_findings,
            model,
            compared: None,
            image,
        })
    }

    /// Compares the image with the `vmlinux` that it was made from. What deviates joins the findings of the image.
    ///
    /// # Errors
    ///
    /// It is another image's, or no relocation table can be derived from it.
    pub fn compare(&mut self, vmlinux: &Vmlinux) -> Result<(), CompareError> {
        let (findings, compared) = second::judge(self, vmlinux)?;
        self.image_findings.extend(findings);
        self.compared = Some(Ok(compared));
        Ok(())
    }

    /// Whether the stub is of this release or of a later one; of one that is not known, the newest is expected.
    pub fn since(&self, release: (u32, u32)) -> bool {
        let later = self.image.release().is_none_or(|own| (own.major, own.minor) >= release);
        self.image.vintage().is_none() && later
    }

    /// Bytes from the kernel's first to behind its last, bss included: `kernel_total_size`.
    pub fn total_size(&self) -> u64 {
        let end = |segment: &Segment| segment.paddr.saturating_add(segment.memsz);
        let end = self.segments.iter().map(end).max().unwrap_or(0);
        end.saturating_sub(self.link.physical)
    }

    /// Bytes that KASLR looks for: all that the kernel uses, and all that the decompressor writes.
    pub fn needed(&self) -> u64 {
        let needed = self.total_size().max(self.moved.len() as u64);
        match self.word {
            WordSize::Bits32 => needed,
            WordSize::Bits64 => needed.next_multiple_of(2 << 20),
        }
    }

    /// Offset of the kernel's entry point in the output.
    pub fn entry_offset(&self) -> u64 {
        self.entry.wrapping_sub(self.link.physical)
    }

    /// What lies at `offset` of the output.
    pub fn describe(&self, offset: u64) -> String {
        let covering = self.segments.iter().enumerate().rev().find_map(|(index, segment)| {
            let start = segment.paddr.wrapping_sub(self.link.physical);
            (start..start + segment.filesz).contains(&offset).then(|| {
                let permissions: String = [(4, 'r'), (2, 'w'), (1, 'x')]
                    .map(|(bit, name)| if segment.flags & bit != 0 { name } else { '-' })
                    .iter()
                    .collect();
                let virt = segment.vaddr.wrapping_add(offset - start);
                format!("segment {index} ({permissions}) {virt:#x}")
            })
        });
        covering.unwrap_or_else(|| format!("gap at output+{offset:#x}"))
    }

    /// The part of the output that `offset` belongs to: its segment's number, or `None` in a gap.
    pub fn part(&self, offset: u64) -> Option<usize> {
        self.segments.iter().rposition(|segment| {
            let start = segment.paddr.wrapping_sub(self.link.physical);
            (start..start + segment.filesz).contains(&offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run, fixture};
    use super::*;
    use crate::image::fixture::Fixture;

    fn subject(word: WordSize) -> Subject {
        Run::new(word).subject
    }

    fn segment(paddr: u64, filesz: u64, memsz: u64, flags: u32) -> Segment {
        let vaddr = 0xffff_ffff_8000_0000 + paddr;
        Segment { offset: 0, paddr, vaddr, filesz, memsz, align: 0, flags }
    }

    #[test]
    fn a_kernel_needs_what_it_uses_and_what_is_unpacked() {
        let mut wide = subject(WordSize::Bits64);
        let mut narrow = subject(WordSize::Bits32);
        assert_eq!((wide.total_size(), wide.needed()), (0x40, 2 * MIB));
        assert_eq!(narrow.needed(), narrow.moved.len() as u64);
        for subject in [&mut wide, &mut narrow] {
            subject.segments.push(segment(17 * MIB, 0x10, 2 * MIB + 1, 6));
            subject.segments.push(segment(18 * MIB, 0x10, 0x10, 6));
            assert_eq!(subject.total_size(), 3 * MIB + 1);
        }
        assert_eq!((wide.needed(), narrow.needed()), (4 * MIB, 3 * MIB + 1));
    }

    #[test]
    fn a_place_belongs_to_the_last_segment_that_covers_it() {
        let mut subject = subject(WordSize::Bits64);
        subject.segments.push(segment(16 * MIB + 0x30, 0x20, 0x1000, 6));
        subject.segments.push(segment(16 * MIB + 0x100, 0x10, 0x10, 4));
        for (offset, part, text) in [
            (0, Some(0), "segment 0 (r-x) 0xffffffff81000000"),
            (0x2f, Some(0), "segment 0 (r-x) 0xffffffff8100002f"),
            (0x30, Some(1), "segment 1 (rw-) 0xffffffff81000030"),
            (0x4f, Some(1), "segment 1 (rw-) 0xffffffff8100004f"),
            (0x50, None, "gap at output+0x50"),
            (0xff, None, "gap at output+0xff"),
            (0x10f, Some(2), "segment 2 (r--) 0xffffffff8100010f"),
            (0x110, None, "gap at output+0x110"),
        ] {
            assert_eq!((subject.part(offset), &subject.describe(offset)[..]), (part, text));
        }
        assert_eq!(subject.entry_offset(), 0xc43);
    }

    #[test]
    fn an_image_that_cannot_be_judged_says_why() {
        let exit = |fixture: Fixture| {
            let image = Image::parse(fixture.build()).unwrap();
            Subject::new(image).err().unwrap().exit()
        };
        let good = || fixture(WordSize::Bits64, "6.1.192", "");
        assert_eq!(exit(Fixture { relocatable: 0, ..good() }), Exit::CannotJudge);
        let mut damaged = good();
        damaged.payload[20] ^= 0xff;
        assert_eq!(exit(damaged), Exit::Usage);
        let error = SubjectError::Reference(ReferenceError::NoSegments);
        assert_eq!(error.exit(), Exit::CannotJudge);
    }
}
