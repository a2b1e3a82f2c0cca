// SPDX-License-Identifier: GPL-2.0-only
//! Finds the parts of a `vmlinux`.

use std::sync::OnceLock;

use goblin::container::{Container, Ctx};
use goblin::elf::Elf;
use goblin::elf::header::{
    EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_386, EM_X86_64, ET_DYN,
    ET_EXEC, Header,
};
use goblin::elf::program_header::{PT_LOAD, ProgramHeader};
use goblin::elf::section_header::{SHN_XINDEX, SHT_SYMTAB, SHT_SYMTAB_SHNDX, SectionHeader};
use goblin::elf::sym::Sym;

use super::bytes::Bytes;
use super::symbols::Symbols;
use super::{MAX_SECTIONS, MAX_TABLE, Vmlinux, VmlinuxError};
use crate::image::{Segment, WordSize};

/// Bytes of the longer ELF header.
const HEADER: u64 = 64;

pub fn vmlinux(bytes: Bytes) -> Result<Vmlinux, VmlinuxError> {
    let head = bytes.read(0, HEADER.min(bytes.len()), "header")?;
    let (word, header) = header(&head)?;
    let container = match word {
        WordSize::Bits32 => Container::Little,
        WordSize::Bits64 => Container::Big,
    };
    let ctx = Ctx::new(container, goblin::container::Endian::Little);
    let sections = sections(&bytes, &header, ctx)?;
    let names = match u32::from(header.e_shstrndx) {
        SHN_XINDEX => sections.first().map_or(0, |section| section.sh_link as usize),
        index => index as usize,
    };
    let section_names = match sections.get(names) {
        Some(section) if names != 0 => table(&bytes, section, "section names")?,
        _ => return Err(elf("e_shstrndx", format!("{names} of {} sections", sections.len()))),
    };
    let symbols = symbols(&bytes, &sections, ctx)?;
    let segments = segments(&bytes, &header, ctx)?;
    Ok(Vmlinux {
        bytes,
        ctx,
        word,
        entry: header.e_entry,
        segments,
        sections,
        section_names,
        symbols,
        places: OnceLock::new(),
    })
}

fn elf(field: &'static str, problem: String) -> VmlinuxError {
    VmlinuxError::Elf { field, problem }
}

fn header(head: &[u8]) -> Result<(WordSize, Header), VmlinuxError> {
    if !head.starts_with(ELFMAG) {
        let found = head.iter().take(4).map(|byte| format!("{byte:02x}"));
        let found = found.collect::<Vec<_>>().join(" ");
        let problem = format!("starts with {found}, expected an ELF file (vmlinux)");
        return Err(elf("magic", problem));
    }
    let ident = |index: usize| head.get(index).copied().unwrap_or_default();
    let (word, machine, name) = match ident(EI_CLASS) {
        ELFCLASS32 => (WordSize::Bits32, EM_386, "EM_386"),
        ELFCLASS64 => (WordSize::Bits64, EM_X86_64, "EM_X86_64"),
        other => {
            let problem = format!("{other}, expected 1 (32 bits) or 2 (64 bits)");
            return Err(elf("EI_CLASS", problem));
        }
    };
    if ident(EI_DATA) != ELFDATA2LSB {
        return Err(elf("EI_DATA", format!("{}, expected 1 (little-endian)", ident(EI_DATA))));
    }
    let header = Elf::parse_header(head).map_err(|_| elf("header", "incomplete".to_owned()))?;
    if header.e_machine != machine {
        let problem = format!("{}, expected {machine} ({name})", header.e_machine);
        return Err(elf("e_machine", problem));
    }
    if !matches!(header.e_type, ET_EXEC | ET_DYN) {
        let problem = format!("{}, expected 2 (ET_EXEC) or 3 (ET_DYN)", header.e_type);
        return Err(elf("e_type", problem));
    }
    Ok((word, header))
}

fn sections(bytes: &Bytes, header: &Header, ctx: Ctx) -> Result<Vec<SectionHeader>, VmlinuxError> {
    const WHAT: &str = "section headers";
    let size = SectionHeader::size(ctx) as u64;
    if u64::from(header.e_shentsize) != size {
        return Err(elf("e_shentsize", format!("{}, expected {size}", header.e_shentsize)));
    }
    let parse = |count: usize| -> Result<Vec<SectionHeader>, VmlinuxError> {
        let table = bytes.read(header.e_shoff, count as u64 * size, WHAT)?;
        SectionHeader::parse_from(&table, 0, count, ctx)
            .map_err(|error| elf(WHAT, error.to_string()))
    };
    if header.e_shoff == 0 {
        return Err(elf("e_shoff", "0, expected section headers".to_owned()));
    }
    // A number that does not fit stands in the size of the first one.
    let count = match usize::from(header.e_shnum) {
        0 => parse(1)?.first().map_or(0, |first| first.sh_size),
        count => count as u64,
    };
    match usize::try_from(count) {
        Ok(count) if (1..=MAX_SECTIONS).contains(&count) => parse(count),
        _ => Err(elf("e_shnum", format!("{count} sections, expected 1 to {MAX_SECTIONS}"))),
    }
}

fn table(
    bytes: &Bytes,
    section: &SectionHeader,
    what: &'static str,
) -> Result<Vec<u8>, VmlinuxError> {
    if section.sh_size > MAX_TABLE {
        return Err(VmlinuxError::TooMany { what: "bytes", place: what.to_owned() });
    }
    bytes.read(section.sh_offset, section.sh_size, what)
}

/// The symbol table with what belongs to it; without one there are no symbols.
fn symbols(bytes: &Bytes, sections: &[SectionHeader], ctx: Ctx) -> Result<Symbols, VmlinuxError> {
    let Some(index) = sections.iter().position(|section| section.sh_type == SHT_SYMTAB) else {
        return Ok(Symbols { ctx, ..Symbols::default() });
    };
    let section = sections.get(index);
    let mut symbols = match section {
        Some(section) => table(bytes, section, "symbol table")?,
        None => Vec::new(),
    };
    symbols.truncate(symbols.len() / Sym::size(ctx.container) * Sym::size(ctx.container));
    let strings = section.and_then(|section| sections.get(section.sh_link as usize));
    let names = match strings {
        Some(strings) => table(bytes, strings, "symbol names")?,
        None => return Err(elf("symbol table", "sh_link names no section".to_owned())),
    };
    let extended = sections
        .iter()
        .find(|section| section.sh_type == SHT_SYMTAB_SHNDX && section.sh_link as usize == index);
    let indices = match extended {
        Some(section) => table(bytes, section, "section indices of symbols")?,
        None => Vec::new(),
    };
    Ok(Symbols { ctx, table: symbols, names, indices })
}

fn segments(bytes: &Bytes, header: &Header, ctx: Ctx) -> Result<Vec<Segment>, VmlinuxError> {
    const WHAT: &str = "program headers";
    let size = ProgramHeader::size(ctx);
    if usize::from(header.e_phentsize) != size {
        return Err(elf("e_phentsize", format!("{}, expected {size}", header.e_phentsize)));
    }
    let count = usize::from(header.e_phnum);
    let table = bytes.read(header.e_phoff, (count * size) as u64, WHAT)?;
    let headers = ProgramHeader::parse(&table, 0, count, ctx);
    let headers = headers.map_err(|error| elf(WHAT, error.to_string()))?;
    let loads = headers.into_iter().filter(|header| header.p_type == PT_LOAD);
    let segment = |header: ProgramHeader| {
        let longest = header.p_memsz.max(header.p_filesz);
        let fits = |start: u64, size: u64| start.checked_add(size).is_some();
        let file = header.p_offset.checked_add(header.p_filesz).filter(|end| *end <= bytes.len());
        if file.is_none() {
            return Err(VmlinuxError::Outside {
                what: "segment",
                start: header.p_offset,
                size: header.p_filesz,
                available: bytes.len(),
            });
        }
        if !fits(header.p_vaddr, longest) || !fits(header.p_paddr, longest) {
            let problem = format!("{:#x} + {longest:#x} leaves the address space", header.p_vaddr);
            return Err(elf("PT_LOAD", problem));
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
    };
    let segments = loads.map(segment).collect::<Result<Vec<Segment>, VmlinuxError>>()?;
    if segments.is_empty() {
        return Err(elf("e_phnum", format!("{count} program headers, none of them PT_LOAD")));
    }
    Ok(segments)
}
