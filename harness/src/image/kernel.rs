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
    /// The whole decompressed payload: the ELF file, then the table.
    pub payload: Vec<u8>,
    /// e_entry: a physical address on x86_64 and, as the kernel is linked, on i386.
    pub entry: u64,
    /// The PT_LOAD program headers in table order, the order in which the stub moves them.
    pub segments: Vec<Segment>,
    /// Bytes of the ELF file, e_shoff + e_shentsize * e_shnum: the table starts there.
    pub elf_len: usize,
    /// The relocation table.
    pub table: RelocTable,
}

/// Bytes of an ELF64 header; an ELF32 header is shorter.
pub(super) const ELF_HEADER_MAX: usize = header::header64::SIZEOF_EHDR;

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
        Ok(Kernel { word, entry: header.e_entry, segments, elf_len, table, payload })
    }
}

/// Reads and checks the ELF header at the start of `payload`; more bytes than the header are not needed.
pub(super) fn elf_header(payload: &[u8]) -> Result<(WordSize, Header), ImageError> {
    if !payload.starts_with(header::ELFMAG) {
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
    header
        .e_shoff
        .checked_add(table)
        .and_then(|end| usize::try_from(end).ok())
        .filter(|&end| end <= available)
        .ok_or_else(|| {
            let found = format!("{:#x} with {} section headers", header.e_shoff, header.e_shnum);
            elf("e_shoff", format!("{found} ends beyond the payload's {available:#x} bytes"))
        })
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
