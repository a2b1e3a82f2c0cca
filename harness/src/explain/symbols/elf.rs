// SPDX-License-Identifier: GPL-2.0-only
//! The symbols of an ELF file: `vmlinux`, and the stub's own. Only the sections that are asked for are read, so that a
//! kernel with gigabytes of debugging information costs no more than one without.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::ZlibDecoder;
use goblin::container::Ctx;
use goblin::elf::compression_header::{CompressionHeader, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use goblin::elf::header::{EI_DATA, ELFDATA2LSB, EM_386, EM_X86_64, Header};
use goblin::elf::section_header::{
    SHF_ALLOC, SHF_COMPRESSED, SHF_EXECINSTR, SHN_ABS, SHN_UNDEF, SHT_NOBITS, SHT_SYMTAB,
};
use goblin::elf::sym::{STB_LOCAL, STT_FILE, STT_FUNC, STT_OBJECT, STT_SECTION};
use goblin::elf::{Elf, SectionHeader, Symtab};

use super::table::{Section, Symbol, SymbolKind, SymbolTable};
use crate::range::Range;

/// The largest section that is read, in bytes: far more than the symbols or the stub's debugging information of any kernel.
const MAX_SECTION: u64 = 1 << 30;
/// The longest ELF header.
const HEADER: usize = 64;

/// An ELF file for x86, its sections located.
pub struct ElfFile {
    file: File,
    len: u64,
    context: Ctx,
    sections: Vec<(String, SectionHeader)>,
}

impl ElfFile {
    /// Reads the headers of the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is no ELF file for x86 with sections.
    pub fn open(path: &Path) -> Result<ElfFile, String> {
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("not a regular file, expected an ELF file".into());
        }
        let file = File::open(path).map_err(|error| error.to_string())?;
        let len = metadata.len();
        let mut head = vec![0; HEADER.min(len as usize)];
        file.read_exact_at(&mut head, 0).map_err(|error| error.to_string())?;
        if !head.starts_with(goblin::elf::header::ELFMAG) {
            return Err("no ELF magic at its start, expected an ELF file".into());
        }
        if head.get(EI_DATA) != Some(&ELFDATA2LSB) {
            return Err("EI_DATA is not 1, expected a little-endian ELF file".into());
        }
        let header = Elf::parse_header(&head).map_err(|_| "its ELF header is cut off")?;
        if ![EM_386, EM_X86_64].contains(&header.e_machine) {
            let found = header.e_machine;
            return Err(format!("e_machine is {found}, expected 3 (EM_386) or 62 (EM_X86_64)"));
        }
        let mut elf = ElfFile { file, len, context: context(&header)?, sections: Vec::new() };
        elf.sections = elf.section_headers(&header)?;
        Ok(elf)
    }

    fn section_headers(&self, header: &Header) -> Result<Vec<(String, SectionHeader)>, String> {
        let count = usize::from(header.e_shnum);
        let size = SectionHeader::size(self.context);
        if count == 0 || usize::from(header.e_shentsize) != size {
            return Err(format!("e_shnum is {count}, expected section headers of {size} bytes"));
        }
        let bytes = self.bytes(header.e_shoff, (count * size) as u64, "section headers")?;
        let headers = SectionHeader::parse_from(&bytes, 0, count, self.context)
            .map_err(|error| format!("its section headers: {error}"))?;
        let names = headers.get(usize::from(header.e_shstrndx));
        let names = names.ok_or("e_shstrndx names no section")?;
        let names = self.bytes(names.sh_offset, names.sh_size, "the sections' names")?;
        Ok(headers.into_iter().map(|header| (string(&names, header.sh_name), header)).collect())
    }

    fn bytes(&self, offset: u64, size: u64, what: &str) -> Result<Vec<u8>, String> {
        if offset.checked_add(size).is_none_or(|end| end > self.len) || size > MAX_SECTION {
            let len = self.len;
            return Err(format!("{what} at {offset:#x}, {size:#x} bytes: the file has {len:#x}"));
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| format!("{what}: {error}"))?;
        Ok(bytes)
    }

    /// The bytes of a section, unpacked if it is compressed; none where the file has no such section.
    ///
    /// # Errors
    /// It is not in the file, or cannot be unpacked.
    pub fn section(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let Some((_, header)) = self.sections.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        if header.sh_type == SHT_NOBITS {
            return Ok(None);
        }
        let bytes = self.bytes(header.sh_offset, header.sh_size, name)?;
        if header.sh_flags & u64::from(SHF_COMPRESSED) == 0 {
            return Ok(Some(bytes));
        }
        self.unpacked(&bytes).map(Some).map_err(|why| format!("section {name}: {why}"))
    }

    fn unpacked(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let header = CompressionHeader::parse(bytes, 0, self.context)
            .map_err(|error| format!("its compression header: {error}"))?;
        let packed = bytes.get(CompressionHeader::size(self.context)..).unwrap_or_default();
        let mut unpacked = Vec::new();
        let limit = header.ch_size.min(MAX_SECTION);
        let read = match header.ch_type {
            ELFCOMPRESS_ZLIB => ZlibDecoder::new(packed).take(limit).read_to_end(&mut unpacked),
            ELFCOMPRESS_ZSTD => zstd::Decoder::new(packed)
                .and_then(|decoder| decoder.take(limit).read_to_end(&mut unpacked)),
            other => return Err(format!("ch_type is {other}, expected 1 (zlib) or 2 (zstd)")),
        };
        read.map_err(|error| error.to_string())?;
        Ok(unpacked)
    }

    /// The bytes of code, with the address of each section: to tell whether this file belongs to an image.
    ///
    /// # Errors
    /// A section is not in the file.
    pub fn code(&self) -> Result<Vec<(u64, Vec<u8>)>, String> {
        const CODE: u64 = SHF_ALLOC as u64 | SHF_EXECINSTR as u64;
        let code = self.sections.iter().filter(|(_, header)| {
            header.sh_flags & CODE == CODE && header.sh_type != SHT_NOBITS && header.sh_size > 0
        });
        code.map(|(name, header)| {
            Ok((header.sh_addr, self.bytes(header.sh_offset, header.sh_size, name)?))
        })
        .collect()
    }

    /// The symbols with an address, and the sections that are loaded.
    ///
    /// # Errors
    /// The file is stripped, or its symbol table is not in it.
    pub fn symbols(&self) -> Result<SymbolTable, String> {
        let symtab = self.sections.iter().find(|(_, header)| header.sh_type == SHT_SYMTAB);
        let (_, symtab) = symtab.ok_or("no symbol table (SHT_SYMTAB): it is stripped")?;
        let strings = self.sections.get(symtab.sh_link as usize);
        let (_, strings) = strings.ok_or("sh_link of its symbol table names no section")?;
        let strings = self.bytes(strings.sh_offset, strings.sh_size, "the symbols' names")?;
        let bytes = self.bytes(symtab.sh_offset, symtab.sh_size, "the symbol table")?;
        let size = goblin::elf::Sym::size(self.context.container).max(1);
        let parsed = Symtab::parse(&bytes, 0, bytes.len() / size, self.context)
            .map_err(|error| format!("its symbol table: {error}"))?;
        let loaded = |index: usize| {
            let section = self.sections.get(index);
            section.is_some_and(|(_, header)| header.sh_flags & u64::from(SHF_ALLOC) != 0)
        };
        let symbols = parsed.iter().filter_map(|symbol| {
            let index = symbol.st_shndx;
            let named = index != SHN_UNDEF as usize && index < SHN_ABS as usize && loaded(index);
            if !named || [STT_SECTION, STT_FILE].contains(&symbol.st_type()) {
                return None;
            }
            let kind = match symbol.st_type() {
                STT_FUNC => SymbolKind::Function,
                STT_OBJECT => SymbolKind::Object,
                _ => SymbolKind::Label,
            };
            let name = string(&strings, symbol.st_name);
            (!name.is_empty()).then(|| Symbol {
                address: symbol.st_value,
                size: symbol.st_size,
                name,
                kind,
                global: symbol.st_bind() != STB_LOCAL,
            })
        });
        let sections = self.sections.iter().filter(|(_, header)| {
            header.sh_flags & u64::from(SHF_ALLOC) != 0 && header.sh_size > 0
        });
        let sections = sections.map(|(name, header)| Section {
            name: name.clone(),
            range: Range::sized(header.sh_addr, header.sh_size),
        });
        Ok(SymbolTable::new(symbols.collect(), sections.collect()))
    }
}

fn context(header: &Header) -> Result<Ctx, String> {
    let container = header.container().map_err(|_| "EI_CLASS is neither 1 nor 2")?;
    let endian = header.endianness().map_err(|_| "EI_DATA is neither 1 nor 2")?;
    Ok(Ctx::new(container, endian))
}

/// The string at `offset`, printable.
fn string(strings: &[u8], offset: usize) -> String {
    let bytes = strings.get(offset..).unwrap_or_default();
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let safe = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    bytes.iter().take(super::LONGEST_NAME).map(safe).collect()
}
