// SPDX-License-Identifier: GPL-2.0-only
//! The names of the stub's functions, from the ELF file that it was linked as (arch/x86/boot/compressed/vmlinux).

use goblin::elf::Elf;
use goblin::elf::sym::{STT_FUNC, STT_NOTYPE, STT_OBJECT};

/// Symbols by their offset in the stub; none if there is no such file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    sorted: Vec<(usize, String)>,
}

impl Symbols {
    /// Reads the symbols of an ELF file, which may be anything.
    ///
    /// # Errors
    /// It is no ELF file.
    pub fn read(file: &[u8]) -> Result<Symbols, String> {
        let elf = Elf::parse(file).map_err(|error| format!("no ELF file: {error}"))?;
        let mut sorted: Vec<(usize, String)> = elf
            .syms
            .iter()
            .filter(|symbol| matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE | STT_OBJECT))
            .filter(|symbol| {
                let section = elf.section_headers.get(symbol.st_shndx);
                section.is_some_and(|section| section.is_alloc())
            })
            .filter_map(|symbol| {
                let name = elf.strtab.get_at(symbol.st_name).filter(|name| !name.is_empty())?;
                Some((usize::try_from(symbol.st_value).ok()?, name.to_owned()))
            })
            .collect();
        sorted.sort();
        sorted.dedup_by_key(|(at, _)| *at);
        Ok(Symbols { sorted })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The symbol at or before an offset, and the distance to it.
    pub fn before(&self, at: usize) -> Option<(&str, usize)> {
        let behind = self.sorted.partition_point(|(start, _)| *start <= at);
        let (start, name) = self.sorted[..behind].last()?;
        Some((name, at - start))
    }

    /// What a report calls an offset.
    pub fn name(&self, at: usize) -> String {
        match self.before(at) {
            Some((name, distance)) => format!("{name}+{distance:#x} (stub+{at:#x})"),
            None => format!("stub+{at:#x}"),
        }
    }
}
