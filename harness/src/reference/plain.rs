// SPDX-License-Identifier: GPL-2.0-only
//! A plain `vmlinux`, relocated from its own ELF relocations: what a boot loader would do that relocated kernels itself,
//! without any stub.
//!
//! What a bzImage's stub leaves in memory is the same over the bytes that the linker put into loaded sections. It is not
//! the same elsewhere: here the room between sections is what the linker left there, between and behind segments is zero,
//! while the stub leaves what it decompressed there.

use super::{Applied, DeriveError, Derived, Link, relocate};
use crate::image::WordSize;
use crate::vmlinux::{Vmlinux, VmlinuxError};

/// No kernel is larger: bytes (KERNEL_IMAGE_SIZE, asm/page_64_types.h).
const MAX_KERNEL: u64 = 1 << 30;
/// `__START_KERNEL_map` (asm/page_64_types.h).
const MAP: u64 = 0xffff_ffff_8000_0000;

/// A kernel in memory, at its link address.
pub struct Plain {
    /// Where it was linked.
    pub link: Link,
    /// Its bytes from the link address on, bss included.
    pub bytes: Vec<u8>,
}

/// Why a `vmlinux` cannot be relocated.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// Its relocations.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// Segments that are too far apart.
    #[error(
        "segment {index}: p_paddr {paddr:#x} is no place in a kernel that begins at {start:#x}"
    )]
    Segment {
        /// Number of the segment among the PT_LOADs.
        index: usize,
        /// Where it should lie.
        paddr: u64,
        /// The first segment's p_paddr.
        start: u64,
    },
    /// Absolute symbols that relocs.c refuses.
    #[error("nothing says whether the absolute symbols {} move", .0.join(", "))]
    Unlisted(Vec<String>),
    /// A field that leaves the kernel.
    #[error(transparent)]
    Apply(#[from] super::ReferenceError),
}

impl From<VmlinuxError> for PlainError {
    fn from(error: VmlinuxError) -> PlainError {
        PlainError::Derive(error.into())
    }
}

impl Plain {
    /// Loads the segments of a `vmlinux`.
    ///
    /// # Errors
    /// They are no kernel's, or cannot be read.
    pub fn new(vmlinux: &Vmlinux) -> Result<Plain, PlainError> {
        let segments = &vmlinux.segments;
        let (physical, virt) = segments.first().map_or((0, 0), |first| (first.paddr, first.vaddr));
        let map = match vmlinux.word {
            WordSize::Bits32 => virt.wrapping_sub(physical) & 0xffff_ffff,
            WordSize::Bits64 => MAP,
        };
        let mut bytes = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let start = segment.paddr.wrapping_sub(physical);
            let end = start.saturating_add(segment.memsz.max(segment.filesz));
            if end > MAX_KERNEL {
                let paddr = segment.paddr;
                return Err(PlainError::Segment { index, paddr, start: physical });
            }
            let stored = vmlinux.segment_bytes(segment)?;
            bytes.resize(bytes.len().max(end as usize), 0);
            let start = start as usize;
            if let Some(place) = bytes.get_mut(start..start + stored.len()) {
                place.copy_from_slice(&stored);
            }
        }
        Ok(Plain { link: Link { physical, map, word: vmlinux.word }, bytes })
    }

    /// Relocates it by `derived`, which came from the same file, for the physical address `output` and the virtual base
    /// `virt`, as [`relocate`] does.
    ///
    /// # Errors
    /// Something is in it that the kernel's own tool would refuse.
    pub fn relocate(
        &mut self,
        derived: &Derived,
        output: u64,
        virt: u64,
    ) -> Result<Applied, PlainError> {
        if !derived.unlisted.is_empty() {
            return Err(PlainError::Unlisted(derived.unlisted.clone()));
        }
        Ok(relocate(&mut self.bytes, &derived.table(), self.link, output, virt)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmlinux::fixture::{ABSOLUTE, Elf, PHYSICAL, Sec};

    #[test]
    fn a_kernel_moves_by_its_own_relocations() {
        for bits64 in [true, false] {
            let mut elf = Elf::new(bits64);
            let text = elf.section(Sec::data(".text", 0x20));
            let data = elf.section(Sec::data(".data", 0x20));
            let foo = elf.symbol("foo", elf.address(data), data);
            elf.reloc(data, 8, 1, foo);
            elf.reloc(text, 4, 2, foo);
            let vmlinux = Vmlinux::parse(elf.build()).unwrap();
            let mut plain = Plain::new(&vmlinux).unwrap();
            assert_eq!((plain.link.physical, plain.bytes.len()), (PHYSICAL, 0x1020));
            let derived = Derived::new(&vmlinux).unwrap();
            let to = PHYSICAL + 0x20_0000;
            assert_eq!(plain.relocate(&derived, to, to).unwrap().total(), 1);
            let mut expected = vec![0; 0x1020];
            expected[0x1008 + 2] = 0x20;
            assert_eq!(plain.bytes, expected);
        }
    }

    #[test]
    fn a_symbol_that_may_or_may_not_move_is_in_the_way() {
        let mut elf = Elf::new(true);
        let text = elf.section(Sec::data(".text", 0x20));
        let odd = elf.special("odd", elf.address(text), ABSOLUTE);
        elf.reloc(text, 8, 1, odd);
        let vmlinux = Vmlinux::parse(elf.build()).unwrap();
        let derived = Derived::new(&vmlinux).unwrap();
        let error = Plain::new(&vmlinux).unwrap().relocate(&derived, 0, 0).unwrap_err();
        assert_eq!(error.to_string(), "nothing says whether the absolute symbols odd move");
    }
}
