// SPDX-License-Identifier: GPL-2.0-only
//! Symbols in the order of their addresses, and which of them an address belongs to.

use std::cmp::Reverse;
use std::fmt;

use crate::range::Range;

/// So many symbols below an address are asked whether they reach it: labels inside a function are not many.
const LOOK_BACK: usize = 256;

/// A symbol of unknown size reaches no farther than so many bytes: kallsyms may have those of code only.
const FARTHEST: u64 = 1 << 20;

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SymbolKind {
    /// Code.
    Function,
    /// Data.
    Object,
    /// A place of which nothing more is said.
    Label,
}

/// A name for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The first address.
    pub address: u64,
    /// Bytes; 0 where the source of the symbols does not tell.
    pub size: u64,
    /// The name.
    pub name: String,
    /// What it stands for.
    pub kind: SymbolKind,
    /// Whether other files may use it.
    pub global: bool,
}

/// A section of the file that the symbols are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub range: Range,
}

/// Where an address lies: in a symbol, at an offset. Prints as `name+0x12`, or `name` at its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The symbol.
    pub symbol: &'a Symbol,
    /// Bytes from its first.
    pub offset: u64,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.symbol.name)?;
        match self.offset {
            0 => Ok(()),
            offset => write!(f, "+{offset:#x}"),
        }
    }
}

/// The symbols of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolTable {
    symbols: Vec<Symbol>,
    sections: Vec<Section>,
}

impl SymbolTable {
    /// A table of these; sections may be missing, and must not overlap.
    pub fn new(mut symbols: Vec<Symbol>, mut sections: Vec<Section>) -> SymbolTable {
        // Of several names for an address the best is the last.
        symbols.sort_by(|a, b| (a.address, rank(b)).cmp(&(b.address, rank(a))));
        symbols.dedup();
        sections.sort_by_key(|section| section.range.start);
        SymbolTable { symbols, sections }
    }

    /// The symbol that `address` lies in.
    ///
    /// That is the one of known size which reaches it and begins last, or else the last one below whose size nobody
    /// tells, up to a mebibyte from there. It begins in the same section. Of several with the same address a global function comes before a local one,
    /// before data, before a label; then the longer one, then the first by name.
    pub fn lookup(&self, address: u64) -> Option<Named<'_>> {
        let end = self.symbols.partition_point(|symbol| symbol.address <= address);
        let lowest = self.section(address).map_or(0, |section| section.range.start);
        let below = self.symbols[..end].iter().rev().take_while(|s| s.address >= lowest);
        let reaches = |symbol: &&Symbol| address - symbol.address < symbol.size;
        let covering = below.clone().take(LOOK_BACK).find(reaches);
        let open = |symbol: &&Symbol| symbol.size == 0 && address - symbol.address < FARTHEST;
        let nearest = || below.clone().next().filter(open);
        let symbol = covering.or_else(nearest)?;
        Some(Named { symbol, offset: address - symbol.address })
    }

    /// The section that `address` lies in, where sections are known.
    pub fn section(&self, address: u64) -> Option<&Section> {
        let end = self.sections.partition_point(|section| section.range.start <= address);
        self.sections[..end].last().filter(|section| section.range.contains(address))
    }

    /// The best symbol of that name: a global one before a local one, then the lowest.
    pub fn by_name(&self, name: &str) -> Option<&Symbol> {
        let named = self.symbols.iter().filter(|symbol| symbol.name == name);
        named.min_by_key(|symbol| (!symbol.global, symbol.address))
    }

    /// All symbols, by address.
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// All sections, by address.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
}

/// How good a name is among those of one address; the smallest is the best.
fn rank(symbol: &Symbol) -> (SymbolKind, bool, bool, Reverse<u64>, &str) {
    // Padding before a function, and names of the compiler's.
    let made = symbol.name.starts_with("__pfx_") || symbol.name.starts_with(['.', '$']);
    (symbol.kind, made, !symbol.global, Reverse(symbol.size), &symbol.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(address: u64, size: u64, name: &str, kind: SymbolKind, global: bool) -> Symbol {
        Symbol { address, size, name: name.into(), kind, global }
    }

    fn table() -> SymbolTable {
        use SymbolKind::*;
        let symbols = vec![
            symbol(0x100, 0, "label", Label, true),
            symbol(0x100, 0x40, "local", Function, false),
            symbol(0x100, 0x40, "global", Function, true),
            symbol(0x100, 0x40, "alias", Function, true),
            symbol(0x120, 0, "inside", Label, false),
            symbol(0x160, 0, "open", Label, true),
            symbol(0x200, 8, "data", Object, false),
        ];
        let section =
            |name: &str, start, end| Section { name: name.into(), range: Range::new(start, end) };
        SymbolTable::new(
            symbols,
            vec![section(".data", 0x1f0, 0x300), section(".text", 0x100, 0x1f0)],
        )
    }

    #[test]
    fn an_address_belongs_to_what_reaches_it() {
        let table = table();
        let named = |address| table.lookup(address).map(|named| named.to_string());
        assert_eq!(named(0xff), None);
        assert_eq!(named(0x100).as_deref(), Some("alias"));
        assert_eq!(named(0x13f).as_deref(), Some("alias+0x3f"), "not the label inside");
        assert_eq!(named(0x1ef).as_deref(), Some("open+0x8f"));
        assert_eq!(named(0x1f8), None, "another section");
        assert_eq!(named(0x207).as_deref(), Some("data+0x7"));
        assert_eq!(named(0x208), None, "behind its end");
        assert_eq!(table.section(0x1ff).unwrap().name, ".data");
        assert_eq!(table.section(0x300), None);
    }

    #[test]
    fn a_name_has_an_address() {
        assert_eq!(table().by_name("data").unwrap().address, 0x200);
        assert_eq!(table().by_name("nobody"), None);
    }
}
