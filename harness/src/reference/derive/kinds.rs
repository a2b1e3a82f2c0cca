// SPDX-License-Identifier: GPL-2.0-only
//! What the types of ELF relocations mean for a kernel that moves (System V ABI, processor supplements for i386 and
//! AMD64).

use goblin::elf::header::{EM_386, EM_X86_64};
use goblin::elf::reloc::{
    R_386_32, R_386_NONE, R_386_PC8, R_386_PC16, R_386_PC32, R_386_PLT32, R_X86_64_32,
    R_X86_64_32S, R_X86_64_64, R_X86_64_NONE, R_X86_64_PC32, R_X86_64_PC64, R_X86_64_PLT32,
    R_X86_64_REX_GOTPCRELX, r_to_str,
};

use crate::image::{RelocKind, WordSize};

/// How a field depends on where things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Nothing is stored, or a distance within the kernel.
    Never,
    /// The symbol's address.
    Address(RelocKind),
    /// The distance from the field to the symbol, in 32 bits.
    Relative,
    /// The same in 64 bits.
    Relative64,
}

/// What a type stores; `None` for those that no kernel may have, as the stub could not relocate them.
pub fn effect(word: WordSize, reloc_type: u32) -> Option<Move> {
    Some(match (word, reloc_type) {
        (WordSize::Bits32, R_386_32) => Move::Address(RelocKind::Abs32),
        // Without per-cpu data at 0 no distance changes.
        (WordSize::Bits32, R_386_NONE | R_386_PC32 | R_386_PC16 | R_386_PC8 | R_386_PLT32) => {
            Move::Never
        }
        (WordSize::Bits64, R_X86_64_NONE) => Move::Never,
        (WordSize::Bits64, R_X86_64_64) => Move::Address(RelocKind::Abs64),
        (WordSize::Bits64, R_X86_64_32 | R_X86_64_32S) => Move::Address(RelocKind::Abs32),
        // The last is a load of an address that the linker turned into a computation (since 7.0 in kernels): as
        // PC-relative as what it became.
        (WordSize::Bits64, R_X86_64_PC32 | R_X86_64_PLT32 | R_X86_64_REX_GOTPCRELX) => {
            Move::Relative
        }
        (WordSize::Bits64, R_X86_64_PC64) => Move::Relative64,
        _ => return None,
    })
}

/// The name of a type, such as `R_X86_64_64`.
pub fn type_name(word: WordSize, reloc_type: u32) -> String {
    let machine = match word {
        WordSize::Bits32 => EM_386,
        WordSize::Bits64 => EM_X86_64,
    };
    match r_to_str(reloc_type, machine) {
        unknown if unknown.contains("UNKNOWN") => format!("relocation type {reloc_type}"),
        known => format!("R_{known}"),
    }
}
