// SPDX-License-Identifier: GPL-2.0-only
//! A kernel's own ELF file as its build leaves it: symbols, and the relocations that `ld --emit-relocs` keeps.
//!
//! Up to 6.14 that is `vmlinux`, from 6.15 on `vmlinux.unstripped` (scripts/Makefile.vmlinux). With debug information it
//! has hundreds of megabytes, of which little is needed: it is read piece by piece. Every file is hostile: nothing here
//! panics, and memory is bounded by the constants below, whatever the file claims.

mod bytes;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod places;
mod read;
mod symbols;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use goblin::container::Ctx;
use goblin::elf::Reloc;
use goblin::elf::reloc::RelocSection;
use goblin::elf::section_header::{SHF_ALLOC, SHT_NOBITS, SHT_REL, SHT_RELA, SectionHeader};

use self::bytes::Bytes;
pub use self::error::VmlinuxError;
use self::places::Places;
use self::symbols::Symbols;
pub use self::symbols::{Home, Symbol};
use crate::image::{Segment, WordSize};

/// The largest symbol or string table that is read, in bytes; those of a distribution's kernel have ten megabytes.
const MAX_TABLE: u64 = 128 << 20;
/// The largest number of sections: kernels with a section for each function have some 70,000.
const MAX_SECTIONS: usize = 1 << 18;
/// The largest number of relocations of loaded sections: a distribution's kernel has a million.
const MAX_RELOCATIONS: u64 = 1 << 25;
/// So many bytes of a section are read at a time.
const PIECE: u64 = 1 << 20;

/// A `vmlinux`, its parts located.
pub struct Vmlinux {
    bytes: Bytes,
    ctx: Ctx,
    /// i386 or x86_64.
    pub word: WordSize,
    /// e_entry.
    pub entry: u64,
    /// The PT_LOAD program headers in table order.
    pub segments: Vec<Segment>,
    /// All sections; their number is their index.
    pub sections: Vec<SectionHeader>,
    section_names: Vec<u8>,
    symbols: Symbols,
    places: OnceLock<Places>,
}

/// One section of relocations.
#[derive(Clone, Copy, Debug)]
pub struct RelocsOf {
    /// Index of the section with the relocations.
    pub section: usize,
    /// Index of the section that they apply to.
    pub target: usize,
}

impl Vmlinux {
    /// Opens a file.
    ///
    /// # Errors
    /// It is no regular file, cannot be read, or is no ELF file of an x86 kernel.
    pub fn open(path: &Path) -> Result<Vmlinux, VmlinuxError> {
        // Before opening: a pipe would block.
        let metadata = fs::metadata(path).map_err(VmlinuxError::Read)?;
        if !metadata.is_file() {
            return Err(VmlinuxError::NotRegular);
        }
        let file = fs::File::open(path).map_err(VmlinuxError::Read)?;
        read::vmlinux(Bytes::File { file, len: metadata.len() })
    }

    /// Takes a file in memory apart.
    ///
    /// # Errors
    /// It is no ELF file of an x86 kernel.
    pub fn parse(file: Vec<u8>) -> Result<Vmlinux, VmlinuxError> {
        read::vmlinux(Bytes::Memory(file))
    }

    /// The name of a section.
    pub fn section_name(&self, index: usize) -> String {
        let name = self.sections.get(index).map_or(0, |section| section.sh_name);
        symbols::text(&self.section_names, name)
    }

    /// Whether the section of that index has this name.
    pub fn is_section(&self, index: usize, name: &str) -> bool {
        let start = self.sections.get(index).map_or(0, |section| section.sh_name);
        symbols::name(&self.section_names, start) == name.as_bytes()
    }

    /// The sections that are loaded and have bytes in the file, with their index.
    pub fn loaded(&self) -> impl Iterator<Item = (usize, &SectionHeader)> {
        self.sections.iter().enumerate().filter(|(_, section)| {
            section.sh_flags & u64::from(SHF_ALLOC) != 0
                && section.sh_type != SHT_NOBITS
                && section.sh_size > 0
        })
    }

    /// The sections of relocations of loaded sections. An i386 kernel has SHT_REL, an x86_64 kernel SHT_RELA.
    pub fn reloc_sections(&self) -> Vec<RelocsOf> {
        let wanted = match self.word {
            WordSize::Bits32 => SHT_REL,
            WordSize::Bits64 => SHT_RELA,
        };
        let sections = self.sections.iter().enumerate();
        let relocs = sections.filter(|(_, section)| section.sh_type == wanted);
        relocs
            .filter_map(|(index, section)| {
                let target = section.sh_info as usize;
                let loaded = self.sections.get(target)?.sh_flags & u64::from(SHF_ALLOC) != 0;
                loaded.then_some(RelocsOf { section: index, target })
            })
            .collect()
    }

    /// Calls `each` with the relocations of a section in their order.
    ///
    /// # Errors
    /// The section leaves the file, there are too many relocations, or what `each` says.
    pub fn relocations<E: From<VmlinuxError>>(
        &self,
        index: usize,
        mut each: impl FnMut(Reloc) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(section) = self.sections.get(index) else { return Ok(()) };
        let is_rela = section.sh_type == SHT_RELA;
        let size = match (self.word, is_rela) {
            (WordSize::Bits32, false) => 8,
            (WordSize::Bits32, true) => 12,
            (WordSize::Bits64, false) => 16,
            (WordSize::Bits64, true) => 24,
        };
        if section.sh_size / size > MAX_RELOCATIONS {
            let name = self.section_name(index);
            return Err(VmlinuxError::TooMany { what: "relocations", place: name }.into());
        }
        self.pieces(section, PIECE / size * size, |_, piece| {
            let relocs = RelocSection::parse(piece, 0, piece.len(), is_rela, self.ctx);
            let relocs = relocs.map_err(|error| VmlinuxError::elf("relocations", &error))?;
            relocs.iter().try_for_each(&mut each)
        })
    }

    /// Calls `each` with the bytes of a section, a piece at a time, and the offset of each piece in it.
    ///
    /// # Errors
    /// The section leaves the file, or what `each` says.
    pub fn section_bytes<E: From<VmlinuxError>>(
        &self,
        section: &SectionHeader,
        each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pieces(section, PIECE, each)
    }

    fn pieces<E: From<VmlinuxError>>(
        &self,
        section: &SectionHeader,
        most: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = 0;
        while done < section.sh_size {
            let size = most.min(section.sh_size - done);
            let start = section.sh_offset.saturating_add(done);
            let piece = self.bytes.read(start, size, "section")?;
            each(done, &piece)?;
            done += size;
        }
        Ok(())
    }

    /// The bytes of a segment, as the file has them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn segment_bytes(&self, segment: &Segment) -> Result<Vec<u8>, VmlinuxError> {
        self.bytes.read(segment.offset, segment.filesz, "segment")
    }

    /// How many symbols there are.
    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// The symbol of that index.
    pub fn symbol(&self, index: usize) -> Option<Symbol> {
        self.symbols.get(index)
    }

    /// What a symbol is called; for the symbol of a section, the section's name.
    pub fn symbol_name(&self, symbol: &Symbol) -> String {
        match symbol.home {
            Home::Section(section) if symbol.is_section => self.section_name(section),
            _ => self.symbols.name(symbol),
        }
    }

    /// The symbol that covers an address of a section, or the last one before it, and how far behind its begin that is:
    /// `init_task+0x10`. Without any symbol it is the section: `.data+0x10`.
    pub fn place(&self, section: usize, address: u64) -> String {
        let places = self.places.get_or_init(|| Places::new(self));
        if let Some((symbol, offset)) = places.find(section, address) {
            let name = self.symbols.get(symbol).map(|symbol| self.symbol_name(&symbol));
            return format!("{}+{offset:#x}", name.unwrap_or_default());
        }
        let start = self.sections.get(section).map_or(0, |section| section.sh_addr);
        format!("{}+{:#x}", self.section_name(section), address.wrapping_sub(start))
    }

    /// The loaded section that an address lies in, among those that are loaded where they are linked for.
    pub fn section_at(&self, address: u64) -> Option<usize> {
        self.sections.iter().position(|section| {
            section.sh_flags & u64::from(SHF_ALLOC) != 0
                && (section.sh_addr..section.sh_addr.saturating_add(section.sh_size))
                    .contains(&address)
        })
    }

    /// The physical address at which the bytes of a section are loaded, by the segment that its bytes in the file belong
    /// to; `None` if it belongs to none.
    pub fn load_address(&self, section: &SectionHeader) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| {
            let behind = segment.vaddr.saturating_add(segment.memsz.max(segment.filesz));
            let bytes = segment.offset.saturating_add(segment.filesz);
            (segment.offset..bytes).contains(&section.sh_offset)
                && (segment.vaddr..behind).contains(&section.sh_addr)
        })?;
        Some(section.sh_addr.wrapping_sub(segment.vaddr).wrapping_add(segment.paddr))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fixture::{Elf, Sec};
    use super::*;

    fn complaint(bytes: Vec<u8>) -> String {
        Vmlinux::parse(bytes).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn both_word_sizes_are_read() {
        for bits64 in [true, false] {
            let mut elf = Elf::new(bits64);
            let data = elf.section(Sec::data(".data", 0x40));
            let foo = elf.symbol("foo", elf.address(data) + 8, data);
            elf.reloc(data, 0x10, 1, foo);
            let vmlinux = Vmlinux::parse(elf.build()).unwrap();
            assert_eq!(vmlinux.word.bits(), if bits64 { 64 } else { 32 });
            let relocs = vmlinux.reloc_sections();
            assert_eq!(relocs.len(), 1);
            assert_eq!(vmlinux.section_name(relocs[0].target), ".data");
            let mut seen = Vec::new();
            vmlinux
                .relocations::<VmlinuxError>(relocs[0].section, |reloc| {
                    seen.push((reloc.r_offset, reloc.r_type, reloc.r_sym));
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, [(elf.address(data) + 0x10, 1, foo)]);
            let symbol = vmlinux.symbol(foo).unwrap();
            assert_eq!(vmlinux.symbol_name(&symbol), "foo");
            assert_eq!(symbol.home, Home::Section(relocs[0].target));
            assert_eq!(vmlinux.place(relocs[0].target, elf.address(data) + 0x10), "foo+0x8");
            assert_eq!(vmlinux.place(relocs[0].target, elf.address(data) + 4), ".data+0x4");
        }
    }

    #[test]
    fn large_numbers_stand_in_the_first_section_header() {
        let mut elf = Elf::new(true);
        elf.large = true;
        let data = elf.section(Sec::data(".data", 0x40));
        let foo = elf.symbol("foo", elf.address(data), data);
        elf.reloc(data, 0, 1, foo);
        let bytes = elf.build();
        assert_eq!(bytes[0x3c..0x40], [0, 0, 0xff, 0xff], "e_shnum and e_shstrndx");
        let vmlinux = Vmlinux::parse(bytes).unwrap();
        let relocs = vmlinux.reloc_sections();
        assert_eq!(vmlinux.section_name(relocs[0].target), ".data");
        assert_eq!(vmlinux.symbol(foo).unwrap().home, Home::Section(relocs[0].target));
    }

    #[test]
    fn complaints_name_the_field() {
        assert!(complaint(b"MZ".to_vec()).contains("starts with 4d 5a, expected an ELF file"));
        let good = {
            let mut elf = Elf::new(true);
            elf.section(Sec::data(".data", 0x40));
            elf.build()
        };
        let damaged = |offset: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            complaint(file)
        };
        assert!(damaged(4, &[3]).contains("EI_CLASS"));
        assert!(damaged(5, &[2]).contains("EI_DATA"));
        assert!(damaged(16, &[1]).contains("e_type: 1, expected 2 (ET_EXEC) or 3 (ET_DYN)"));
        assert!(damaged(18, &[3]).contains("e_machine: 3, expected 62"));
        assert!(damaged(40, &[0xff; 8]).contains("section headers"));
        assert!(damaged(32, &[0xff; 8]).contains("program headers"));
        assert!(damaged(58, &[1, 0]).contains("e_shentsize"));
    }

    proptest! {
        #[test]
        fn survives_damage(
            bits64: bool,
            large: bool,
            damage in prop::collection::vec((0usize..0x800, any::<u8>()), 0..12),
            cut in 0usize..0x1000,
        ) {
            let mut elf = Elf::new(bits64);
            elf.large = large;
            let data = elf.section(Sec::data(".data", 0x40));
            let foo = elf.symbol("foo", elf.address(data) + 8, data);
            elf.reloc(data, 0x10, 1, foo);
            let mut file = elf.build();
            let len = file.len();
            for (offset, byte) in damage {
                file[offset % len] = byte;
            }
            file.truncate(cut);
            if let Ok(vmlinux) = Vmlinux::parse(file) {
                for relocs in vmlinux.reloc_sections() {
                    let _ = vmlinux.relocations::<VmlinuxError>(relocs.section, |reloc| {
                        vmlinux.symbol(reloc.r_sym).map(|symbol| vmlinux.symbol_name(&symbol));
                        vmlinux.place(relocs.target, reloc.r_offset);
                        Ok(())
                    });
                }
            }
        }
    }
}
