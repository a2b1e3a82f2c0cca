// SPDX-License-Identifier: GPL-2.0-only
//! The symbol table of a `vmlinux`.

use goblin::container::Ctx;
use goblin::elf::section_header::{SHN_ABS, SHN_COMMON, SHN_UNDEF, SHN_XINDEX};
use goblin::elf::sym::{STB_LOCAL, STT_FILE, STT_FUNC, STT_OBJECT, STT_SECTION, Sym, Symtab};

/// Longer names are cut: bytes.
const MAX_NAME: usize = 256;

/// Where a symbol is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Nowhere (SHN_UNDEF).
    Undefined,
    /// It is a number (SHN_ABS).
    Absolute,
    /// In the section of this index.
    Section(usize),
    /// Something that no finished kernel has, such as SHN_COMMON.
    Other,
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    /// Its value.
    pub value: u64,
    /// Bytes that it covers; 0 if it does not say.
    pub size: u64,
    /// Where it is defined.
    pub home: Home,
    /// Whether it stands for a section.
    pub is_section: bool,
    /// How well it names a place: functions and objects better than labels, global ones better than local ones. `None` for
    /// what names none.
    pub(super) rank: Option<u8>,
    name: usize,
}

/// The bytes of the table and of what belongs to it.
#[derive(Default)]
pub struct Symbols {
    pub(super) ctx: Ctx,
    pub(super) table: Vec<u8>,
    pub(super) names: Vec<u8>,
    /// SHT_SYMTAB_SHNDX: the sections whose index does not fit a symbol. Empty if there is none.
    pub(super) indices: Vec<u8>,
}

impl Symbols {
    pub(super) fn len(&self) -> usize {
        self.table.len() / Sym::size(self.ctx.container)
    }

    pub(super) fn get(&self, index: usize) -> Option<Symbol> {
        let table = Symtab::parse(&self.table, 0, self.len(), self.ctx).ok()?;
        let symbol = table.get(index)?;
        let home = match symbol.st_shndx as u32 {
            SHN_UNDEF => Home::Undefined,
            SHN_ABS => Home::Absolute,
            SHN_XINDEX => self.indices.get(index * 4..index * 4 + 4).map_or(Home::Other, |bytes| {
                let index = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                Home::Section(index)
            }),
            SHN_COMMON => Home::Other,
            section => Home::Section(section as usize),
        };
        let kind = symbol.st_type();
        let named = !matches!(kind, STT_SECTION | STT_FILE) && symbol.st_name != 0;
        let local = u8::from(symbol.st_bind() == STB_LOCAL);
        let label = u8::from(!matches!(kind, STT_FUNC | STT_OBJECT));
        Some(Symbol {
            value: symbol.st_value,
            size: symbol.st_size,
            home,
            is_section: kind == STT_SECTION,
            rank: named.then_some(3 - 2 * label - local),
            name: symbol.st_name,
        })
    }

    pub(super) fn name(&self, symbol: &Symbol) -> String {
        text(&self.names, symbol.name)
    }
}

/// The name at `start` of a string table, cut when it is absurdly long.
pub fn name(names: &[u8], start: usize) -> &[u8] {
    let rest = names.get(start..).unwrap_or_default();
    let rest = rest.get(..MAX_NAME).unwrap_or(rest);
    rest.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The name as printable text.
pub fn text(names: &[u8], start: usize) -> String {
    let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    name(names, start).iter().map(printable).collect()
}
