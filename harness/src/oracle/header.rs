// SPDX-License-Identifier: GPL-2.0-only
//! What the setup header promises of the kernel, before anything runs: a loader has nothing else to go by
//! (arch/x86/boot/header.S; boot.rst, "Details of Header Fields").

use super::{Finding, Rule};
use crate::image::{Image, Kernel, Segment, WordSize};
use crate::reference::Link;

/// XLF_KERNEL_64 and XLF_CAN_BE_LOADED_ABOVE_4G: what every relocatable x86_64 kernel has (since 3.8, protocol 2.12).
const X86_64: u16 = 1 | 2;

/// Judges all fields but `init_size`.
pub fn judge(image: &Image, link: Link) -> Vec<Finding> {
    let findings = [link_address(image, link), flags(image, link.word), kernel_info(image)];
    findings.into_iter().flatten().collect()
}

fn finding(field: &str, expected: String, actual: String) -> Finding {
    Finding::new(Rule::Placement, field, expected, actual)
}

fn link_address(image: &Image, link: Link) -> Option<Finding> {
    let promised = image.header().pref_address.filter(|promised| *promised != link.physical)?;
    let expected = format!("{:#x}, which the kernel is linked for", link.physical);
    Some(finding("pref_address", expected, format!("{promised:#x}")))
}

/// A loader leaves so much free, and the kernel uses all that its segments take. For segments that are where they belong.
pub fn init_size(image: &Image, kernel: &Kernel, link: Link) -> Option<Finding> {
    let end = |segment: &Segment| segment.paddr.saturating_add(segment.memsz);
    let end = kernel.segments.iter().map(end).max()?;
    let needed = end.saturating_sub(link.physical);
    let promised = image.header().init_size.filter(|size| u64::from(*size) < needed)?;
    let expected = format!("{needed:#x} or more, which the kernel's segments take");
    Some(finding("init_size", expected, format!("{promised:#x}")))
}

fn flags(image: &Image, word: WordSize) -> Option<Finding> {
    let header = image.header();
    let relocatable = header.relocatable_kernel.is_some_and(|flag| flag != 0);
    let flags = header.xloadflags.filter(|_| relocatable && word == WordSize::Bits64)?;
    (flags & X86_64 != X86_64).then(|| {
        let expected = "KERNEL_64 and CAN_BE_LOADED_ABOVE_4G".into();
        finding("xloadflags", expected, format!("{flags:#x}"))
    })
}

/// `kernel_info` begins with its name, its size, and that of all that belongs to it (boot.rst, "The kernel_info").
fn kernel_info(image: &Image) -> Option<Finding> {
    const NAME: &[u8] = b"LToP";
    const LEAST: u32 = 12;
    let offset = image.header().kernel_info_offset.filter(|offset| *offset != 0)?;
    let wrong = |expected: &str, actual| {
        Some(finding("kernel_info", format!("{expected} at {offset:#x}"), actual))
    };
    let info = image.protected_mode().get(offset as usize..);
    let Some(info) = info.and_then(<[u8]>::first_chunk::<{ LEAST as usize }>) else {
        return wrong("12 bytes or more", "the image's end".into());
    };
    if !info.starts_with(NAME) {
        return wrong("\"LToP\"", format!("{:02x?}", &info[..NAME.len()]));
    }
    let word = |at: usize| info[at..].first_chunk().copied().map_or(0, u32::from_le_bytes);
    let (size, total) = (word(4), word(8));
    match LEAST <= size && size <= total {
        true => None,
        false => wrong("a size of 12 or more, and not less in all", format!("{size}, {total}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{INIT_SIZE, build, fixture};
    use super::super::{Subject, SubjectError};
    use super::*;

    const XLOADFLAGS: usize = 0x236;
    const PREF_ADDRESS: usize = 0x258;
    const KERNEL_INFO: usize = 0x268;

    /// What is said of an image of this word size with other bytes at some places of its file.
    fn said(word: WordSize, changes: &[(usize, &[u8])]) -> Vec<String> {
        let mut file = fixture(word, "6.1.192", "nokaslr\0").build();
        for (at, bytes) in changes {
            file[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        let image = Image::parse(file).unwrap();
        let findings = Subject::new(image).map(|subject| subject.image_findings);
        let findings = findings.unwrap_or_else(|error: SubjectError| panic!("{error}"));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_kernel_is_linked_for_the_preferred_address() {
        assert_eq!(said(WordSize::Bits64, &[]), [] as [&str; 0]);
        assert_eq!(
            said(WordSize::Bits64, &[(PREF_ADDRESS + 2, &[0x20])]),
            [
                "placement: pref_address: expected 0x1000000, which the kernel is linked for, found 0x1200000"
            ]
        );
    }

    #[test]
    fn init_size_holds_all_segments() {
        let subject = Subject::new(build(fixture(WordSize::Bits64, "6.1.192", ""))).unwrap();
        let mut kernel = subject.image.kernel().unwrap();
        let mut with = |size: u64| {
            kernel.segments[0].memsz = size;
            init_size(&subject.image, &kernel, subject.link).map(|found| found.to_string())
        };
        assert_eq!(with(INIT_SIZE), None);
        assert_eq!(
            with(INIT_SIZE + 1).unwrap(),
            "placement: init_size: expected 0x800001 or more, which the kernel's segments take, found 0x800000"
        );
    }

    #[test]
    fn a_64_bit_kernel_says_that_it_is_one_and_that_it_may_lie_anywhere() {
        let with = |word, flags: u8| said(word, &[(XLOADFLAGS, &[flags])]).len();
        assert_eq!(with(WordSize::Bits64, 0x7f), 0);
        for flags in [0, 1, 2, 0x7c] {
            assert_eq!(with(WordSize::Bits64, flags), 1, "{flags:#x}");
            assert_eq!(with(WordSize::Bits32, flags), 0, "{flags:#x}");
        }
    }

    #[test]
    fn kernel_info_has_its_name_and_sizes() {
        let with = |info: &[u8]| {
            // In the stub's first bytes, which nobody reads here.
            let at = crate::image::fixture::SETUP_SIZE + 0x40;
            said(WordSize::Bits64, &[(KERNEL_INFO, &[0x40]), (at, info)])
        };
        let info = |size: u8, total: u8| [&b"LToP"[..], &[size, 0, 0, 0, total, 0, 0, 0]].concat();
        assert_eq!(with(&info(12, 12)), [] as [&str; 0]);
        assert_eq!(with(&info(16, 99)), [] as [&str; 0]);
        for wrong in [info(11, 12), info(12, 11)] {
            assert_eq!(with(&wrong).len(), 1);
        }
        assert_eq!(
            with(b"LToq")[0],
            "placement: kernel_info: expected \"LToP\" at 0x40, found [4c, 54, 6f, 71]"
        );
        let far = said(WordSize::Bits64, &[(KERNEL_INFO + 2, &[0x70])]);
        assert!(far[0].ends_with("found the image's end"), "{far:?}");
    }
}
