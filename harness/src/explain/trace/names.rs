// SPDX-License-Identifier: GPL-2.0-only
//! Names of the stub's functions, and numbers for them.

use std::collections::HashMap;

use crate::explain::symbols::SymbolTable;

/// A function of the stub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Offset of its first byte in the image's protected-mode code.
    pub start: u64,
    /// What it is called.
    pub name: String,
}

/// Knows which function of the stub a place is in.
pub trait FunctionNames {
    /// The function that the byte at `offset` of the image's protected-mode code belongs to, if its name is known.
    fn function(&self, offset: u64) -> Option<Function>;
}

/// Knows no name.
pub struct Unnamed;

impl FunctionNames for Unnamed {
    fn function(&self, _: u64) -> Option<Function> {
        None
    }
}

/// Knows the symbols of the stub's own ELF file.
pub struct StubNames(pub SymbolTable);

impl FunctionNames for StubNames {
    fn function(&self, offset: u64) -> Option<Function> {
        let symbol = self.0.lookup(offset)?.symbol;
        Some(Function { start: symbol.address, name: symbol.name.clone() })
    }
}

/// The number of a function that has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub u32);

/// The functions that have run, in the order in which they ran first.
pub struct Functions {
    names: Box<dyn FunctionNames>,
    known: Vec<Function>,
    /// By offset in the image, or by address outside of it.
    numbers: HashMap<(bool, u64), FunctionId>,
}

impl Functions {
    /// None yet; `names` knows their names.
    pub fn new(names: Box<dyn FunctionNames>) -> Functions {
        Functions { names, known: Vec::new(), numbers: HashMap::new() }
    }

    /// The function with a name that the byte at `offset` belongs to.
    pub fn named(&mut self, offset: u64) -> Option<FunctionId> {
        let function = self.names.function(offset)?;
        Some(self.number(true, function))
    }

    /// The function that was entered at `offset`: the one with a name there, or else one that begins there.
    pub fn entered(&mut self, offset: u64) -> FunctionId {
        match self.named(offset) {
            Some(function) => function,
            None => {
                let name = format!("stub+{offset:#x}");
                self.number(true, Function { start: offset, name })
            }
        }
    }

    /// The function that was entered at `address`, where no byte of the stub is known to be.
    pub fn elsewhere(&mut self, address: u64) -> FunctionId {
        self.number(false, Function { start: address, name: format!("{address:#x}") })
    }

    /// The function with this number.
    pub fn get(&self, id: FunctionId) -> &Function {
        &self.known[id.0 as usize]
    }

    /// All of them, by number.
    pub fn into_known(self) -> Vec<Function> {
        self.known
    }

    fn number(&mut self, inside: bool, function: Function) -> FunctionId {
        let next = FunctionId(self.known.len() as u32);
        *self.numbers.entry((inside, function.start)).or_insert_with(|| {
            self.known.push(Function { name: printable(&function.name), ..function });
            next
        })
    }
}

/// A name in one word: symbols come from files that anyone may have written.
fn printable(name: &str) -> String {
    let odd =
        |c: char| c.is_control() || c.is_whitespace() || ('\u{fffe}'..='\u{ffff}').contains(&c);
    name.chars().map(|c| if odd(c) { '?' } else { c }).collect()
}
