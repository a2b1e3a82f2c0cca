// SPDX-License-Identifier: GPL-2.0-only
//! Names for addresses: of the kernel, from `vmlinux`, System.map, or the symbols that it carries in itself; of the stub,
//! from `arch/x86/boot/compressed/vmlinux`, with source lines if that has debugging information.
//!
//! Addresses of the kernel are those that it was linked for. Those of the stub are offsets from its first byte, wherever it
//! was loaded and wherever its copy is.

mod elf;
mod error;
mod kallsyms;
mod lines;
mod sources;
mod system_map;
mod table;

pub use error::SymbolError;
pub use sources::{SymbolFiles, Symbols};
pub use table::{Named, Section, Symbol, SymbolKind, SymbolTable};

/// The longest name of a symbol that is kept (KSYM_NAME_LEN is 128, or 512 from 6.1 on).
const LONGEST_NAME: usize = 512;
