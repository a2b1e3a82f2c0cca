// SPDX-License-Identifier: GPL-2.0-only
//! Mistakes in the stub's machine code, one instruction each, outside the decompressor.

mod code;
mod decompressor;
mod operators;
mod profile;
mod symbols;

use std::collections::BTreeMap;

use super::bench::Bench;
use super::dice::Dice;
use super::mutant::{Class, Edit, Mutant};
pub use code::{Code, Instruction};
pub use decompressor::mark as mark_decompressor;
pub use operators::KINDS;
pub use profile::{Blocks, Profiler};
pub use symbols::Symbols;

/// Draws up to `count` different mutants, of each kind as many as there are.
///
/// Instructions that run in none of the bench's cases are drawn as any others.
pub fn draw(bench: &Bench, count: usize, dice: &mut Dice) -> Vec<Mutant> {
    let stub = bench.twin.subject().image.protected_mode();
    let mut by_kind: BTreeMap<&'static str, Vec<Mutant>> = BTreeMap::new();
    for instruction in bench.code.instructions.iter().filter(|i| !i.decompressor) {
        let bytes = &stub[instruction.at..instruction.at + instruction.len];
        for (kind, new) in operators::mutations(stub, instruction) {
            let text = |bytes: &[u8]| code::disassemble(bytes, instruction.at, instruction.bits);
            by_kind.entry(kind).or_default().push(Mutant {
                class: Class::Stub,
                kind,
                place: bench.symbols.name(instruction.at),
                before: text(bytes),
                after: text(&new),
                edit: Edit::Stub(instruction.at, new),
                reached: instruction.cases,
            });
        }
    }
    for mutants in by_kind.values_mut() {
        dice.shuffle(mutants);
    }
    let mut drawn = Vec::new();
    while drawn.len() < count && by_kind.values().any(|mutants| !mutants.is_empty()) {
        for kind in KINDS {
            drawn.extend(by_kind.get_mut(kind).and_then(Vec::pop));
        }
    }
    drawn.truncate(count);
    drawn
}
