// SPDX-License-Identifier: GPL-2.0-only
//! The kernel inside the payload: an ELF file, and the relocation table behind it.

use std::fmt;

use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, EM_386, EM_X86_64, Header,
};
use goblin::elf::program_header::{PT_LOAD, ProgramHeader};
use goblin::elf::{Elf, header, program_header};

use super::error::{ImageError, first_bytes};
use super::stub::Stub;
use super::table::RelocTable;

/// The size of a machine word of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WordSize {
    /// i386.
    Bits32,
    /// x86_64.
    Bits64,
}

impl WordSize {
    /// 32 or 64.
    pub fn bits(self) -> u32 {
        match self {
            WordSize::Bits32 => 32,
            WordSize::Bits64 => 64,
        }
    }
}

impl fmt::Display for WordSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-bit", self.bits())
    }
}

/// One PT_LOAD of the kernel. Offsets and sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes are in the payload.
    pub offset: u64,
    /// Link-time virtual address.
    pub vaddr: u64,
    /// Link-time physical address: what the stub computes the destination from.
    pub paddr: u64,
    /// Bytes in the payload; `offset..offset + filesz` lies within it.
    pub filesz: u64,
    /// Bytes in memory. The stub never reads this field.
    pub memsz: u64,
    /// Alignment, as stored.
    pub align: u64,
    /// PF_R, PF_W, PF_X.
    pub flags: u32,
}

/// The decompressed kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// i386 or x86_64.
    pub word: WordSize,
    /// The whole decompressed payload: the ELF file or flat binary, then the table.
    pub payload: Vec<u8>,
    /// e_entry: a physical address on x86_64 and, as the kernel is linked, on i386.
    pub entry: u64,
    /// The PT_LOAD program headers in table order, the order in which the stub moves them.
    pub segments: Vec<Segment>,
    /// Whether it is no ELF file but a flat binary (before 2.6.26): its one segment is then all of it.
    pub flat: bool,
    /// Bytes of the ELF file, e_shoff + e_shentsize * e_shnum, or of the flat binary: the table starts there.
    pub elf_len: usize,
    /// The relocation table.
    pub table: RelocTable,
}

/// The table of a small kernel may be larger than its ELF file, the table of a large one never is: no field of the
/// kernel is relocated twice, and none has fewer bytes than its entry.
const SMALL: usize = 1 << 20;

impl Kernel {
    /// Takes a decompressed payload apart.
    ///
    /// # Errors
    ///
    /// [`ImageError::NotElf`] without the ELF magic; [`ImageError::Elf`] for a header that describes no x86 kernel, or
    /// program headers, section headers or segments that leave the payload.
    pub(super) fn parse(payload: Vec<u8>, stub: &Stub) -> Result<Kernel, ImageError> {
        let (word, header) = elf_header(&payload)?;
        let elf_len = elf_len(&header, word, payload.len())?;
        let segments = segments(&header, word, &payload)?;
        let table = RelocTable::parse(&payload, elf_len, word == WordSize::Bits64, stub);
        Ok(Kernel { word, entry: header.e_entry, segments, flat: false, elf_len, table, payload })
    }
}

/// Whether a payload starts as an ELF file does.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(header::ELFMAG)
}

/// Judges a payload of `output_len` bytes by its first ones, before it is decompressed.
pub(super) fn check_head(head: &[u8], output_len: usize) -> Result<(), ImageError> {
    let (word, header) = elf_header(head)?;
    elf_len(&header, word, output_len).map(drop)
}

/// Reads and checks the ELF header at the start of `payload`; more bytes than the header are not needed.
fn elf_header(payload: &[u8]) -> Result<(WordSize, Header), ImageError> {
    if !is_elf(payload) {
        return Err(ImageError::NotElf {
            found: format!("something that starts with {}", first_bytes(payload)),
        });
    }
    let ident = |index: usize| payload.get(index).copied().unwrap_or_default();
    let word = match ident(EI_CLASS) {
        ELFCLASS32 => WordSize::Bits32,
        ELFCLASS64 => WordSize::Bits64,
        other => {
            return Err(elf("EI_CLASS", format!("{other}, expected 1 (32 bits) or 2 (64 bits)")));
        }
    };
    if ident(EI_DATA) != ELFDATA2LSB {
        return Err(elf("EI_DATA", format!("{}, expected 1 (little-endian)", ident(EI_DATA))));
    }
    let header = Elf::parse_header(payload).map_err(|_| {
        elf("header", format!("incomplete in a payload of {} bytes", payload.len()))
    })?;
    let (machine, name) = match word {
        WordSize::Bits32 => (EM_386, "EM_386"),
        WordSize::Bits64 => (EM_X86_64, "EM_X86_64"),
    };
    if header.e_machine != machine {
        return Err(elf("e_machine", format!("{}, expected {machine} ({name})", header.e_machine)));
    }
    Ok((word, header))
}

fn elf(field: &'static str, problem: String) -> ImageError {
    ImageError::Elf { field, problem }
}

fn elf_len(header: &Header, word: WordSize, available: usize) -> Result<usize, ImageError> {
    if header.e_shnum == 0 {
        // Nobody tells where such a file ends, hence where the table starts.
        return Err(elf(
            "e_shnum",
            "0, expected section headers: they end the ELF file".to_owned(),
        ));
    }
    let size = match word {
        WordSize::Bits32 => goblin::elf::section_header::section_header32::SIZEOF_SHDR,
        WordSize::Bits64 => goblin::elf::section_header::section_header64::SIZEOF_SHDR,
    };
    if usize::from(header.e_shentsize) != size {
        return Err(elf("e_shentsize", format!("{}, expected {size}", header.e_shentsize)));
    }
    let table = u64::from(header.e_shentsize) * u64::from(header.e_shnum);
    let end = header
        .e_shoff
        .checked_add(table)
        .and_then(|end| usize::try_from(end).ok())
        .filter(|&end| end <= available)
        .ok_or_else(|| {
            let found = format!("{:#x} with {} section headers", header.e_shoff, header.e_shnum);
            elf("e_shoff", format!("{found} ends beyond the payload's {available:#x} bytes"))
        })?;
    if available - end > end.max(SMALL) {
        let problem = format!(
            "the ELF file ends at {end:#x} of {available:#x} bytes, too early for a kernel"
        );
        return Err(elf("e_shoff", problem));
    }
    Ok(end)
}

fn segments(header: &Header, word: WordSize, payload: &[u8]) -> Result<Vec<Segment>, ImageError> {
    let context = header
        .container()
        .and_then(|container| {
            header.endianness().map(|endian| goblin::container::Ctx::new(container, endian))
        })
        .map_err(|error| elf("e_ident", error.to_string()))?;
    let size = match word {
        WordSize::Bits32 => program_header::program_header32::SIZEOF_PHDR,
        WordSize::Bits64 => program_header::program_header64::SIZEOF_PHDR,
    };
    if usize::from(header.e_phentsize) != size {
        return Err(elf("e_phentsize", format!("{}, expected {size}", header.e_phentsize)));
    }
    let count = usize::from(header.e_phnum);
    let available = payload.len();
    let offset = usize::try_from(header.e_phoff)
        .ok()
        .filter(|&start| start.checked_add(count * size).is_some_and(|end| end <= available))
        .ok_or_else(|| {
            let found = format!("{:#x} with {count} program headers", header.e_phoff);
            elf("e_phoff", format!("{found} ends beyond the payload's {available:#x} bytes"))
        })?;
    let headers = ProgramHeader::parse(payload, offset, count, context)
        .map_err(|error| elf("program headers", error.to_string()))?;
    let segments = headers
        .into_iter()
        .filter(|header| header.p_type == PT_LOAD)
        .enumerate()
        .map(|(index, header)| segment(index, &header, word, available))
        .collect::<Result<Vec<_>, _>>()?;
    if segments.is_empty() {
        return Err(elf("e_phnum", format!("{count} program headers, none of them PT_LOAD")));
    }
    Ok(segments)
}

fn segment(
    index: usize,
    header: &ProgramHeader,
    word: WordSize,
    available: usize,
) -> Result<Segment, ImageError> {
    let address_limit = match word {
        WordSize::Bits32 => 1 << 32,
        WordSize::Bits64 => 1 << 64,
    };
    let within = |start: u64, size: u64, limit: u128| u128::from(start) + u128::from(size) <= limit;
    let problem = |what: &str, start: u64, size: u64, limit: &str| {
        elf(
            "PT_LOAD",
            format!("segment {index}: {what} {start:#x} + {size:#x} ends beyond {limit}"),
        )
    };
    if !within(header.p_offset, header.p_filesz, available as u128) {
        let limit = format!("the payload's {available:#x} bytes");
        return Err(problem("p_offset + p_filesz", header.p_offset, header.p_filesz, &limit));
    }
    let longest = header.p_memsz.max(header.p_filesz);
    for (what, address) in [("p_vaddr", header.p_vaddr), ("p_paddr", header.p_paddr)] {
        if !within(address, longest, address_limit) {
            return Err(problem(what, address, longest, "the address space"));
        }
    }
    Ok(Segment {
        offset: header.p_offset,
        vaddr: header.p_vaddr,
        paddr: header.p_paddr,
        filesz: header.p_filesz,
        memsz: header.p_memsz,
        align: header.p_align,
        flags: header.p_flags,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::fixture;

    fn parse(payload: Vec<u8>) -> Result<Kernel, ImageError> {
        Kernel::parse(payload, &Stub::default())
    }

    /// Overwrites bytes of a good payload and returns the complaint.
    fn complaint(bits64: bool, offset: usize, bytes: &[u8]) -> String {
        let mut payload = fixture::kernel(bits64, &[0, 0x8100_0000]);
        payload[offset..offset + bytes.len()].copy_from_slice(bytes);
        parse(payload).unwrap_err().to_string()
    }

    #[test]
    fn reads_both_word_sizes() {
        let kernel = parse(fixture::kernel(true, &[])).unwrap();
        assert_eq!((kernel.word, kernel.entry), (WordSize::Bits64, 0x100_0c43));
        assert_eq!(kernel.elf_len, fixture::elf_len(true));
        let [segment] = &kernel.segments[..] else { panic!("{:?}", kernel.segments) };
        assert_eq!((segment.vaddr, segment.paddr), (0xffff_ffff_8100_0000, 0x100_0000));
        assert_eq!((segment.offset, segment.filesz, segment.memsz), (0x100, 0x40, 0x40));

        let kernel = parse(fixture::kernel(false, &[0, 0xc100_0000])).unwrap();
        assert_eq!((kernel.word, kernel.entry), (WordSize::Bits32, 0x100_0000));
        assert_eq!(kernel.segments[0].vaddr, 0xc100_0000);
        assert_eq!(kernel.table.words, [0, 0xc100_0000]);
    }

    #[test]
    fn complaints_name_the_field() {
        assert!(complaint(true, 0, b"MZ").contains("starts with 4d 5a 4c 46"));
        assert!(complaint(true, 4, &[3]).contains("EI_CLASS: 3"));
        assert!(complaint(true, 5, &[2]).contains("EI_DATA: 2, expected 1 (little-endian)"));
        assert!(complaint(true, 18, &[183]).contains("e_machine: 183, expected 62 (EM_X86_64)"));
        assert!(complaint(false, 18, &[62]).contains("e_machine: 62, expected 3 (EM_386)"));
        assert!(complaint(true, 32, &[0xff; 8]).contains("e_phoff: 0xffffffffffffffff"));
        assert!(complaint(true, 40, &[0xff; 8]).contains("e_shoff: 0xffffffffffffffff"));
        assert!(complaint(true, 54, &[0; 2]).contains("e_phentsize: 0, expected 56"));
        assert!(
            complaint(true, 56, &[0xff; 2]).contains("e_phoff: 0x40 with 65535 program headers")
        );
        assert!(complaint(true, 56, &[0; 2]).contains("none of them PT_LOAD"));
        assert!(complaint(true, 58, &[0; 2]).contains("e_shentsize: 0, expected 64"));
        assert!(complaint(true, 60, &[0; 2]).contains("e_shnum: 0"));
        assert!(complaint(true, 72, &[0xff; 8]).contains("segment 0: p_offset + p_filesz"));
        assert!(complaint(true, 104, &[0xff; 8]).contains("segment 0: p_vaddr"));
        assert!(complaint(false, 64, &[0xff; 4]).contains("segment 0: p_paddr 0xffffffff + 0x40"));
    }

    #[test]
    fn an_elf_file_that_ends_too_early_is_told_from_its_header() {
        let head = fixture::kernel(true, &[]);
        check_head(&head, head.len()).unwrap();
        assert!(
            check_head(&head, 900 << 20)
                .unwrap_err()
                .to_string()
                .contains("too early for a kernel")
        );
    }

    proptest! {
        #[test]
        fn survives_damage(bits64: bool, damage in prop::collection::vec((0usize..0x180, any::<u8>()), 0..12), cut in 0usize..0x200) {
            let mut payload = fixture::kernel(bits64, &[0, 1, 2]);
            for (offset, byte) in damage {
                if let Some(place) = payload.get_mut(offset) {
                    *place = byte;
                }
            }
            payload.truncate(cut);
            let len = payload.len();
            if let Ok(kernel) = parse(payload) {
                prop_assert!(kernel.elf_len <= len);
                prop_assert!(kernel.segments.iter().all(|segment| segment.offset + segment.filesz <= len as u64));
            }
        }
    }
}
