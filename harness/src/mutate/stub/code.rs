// SPDX-License-Identifier: GPL-2.0-only
//! The stub's instructions: those that ran, and those that can be reached from them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter};

use super::Blocks;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Offset in the stub.
    pub at: usize,
    /// 32 or 64.
    pub bits: u32,
    /// Bytes.
    pub len: usize,
    /// In which cases it runs, a bit for each.
    pub cases: u64,
    /// Whether it belongs to the decompressor.
    pub decompressor: bool,
}

/// All that is known of the stub's code.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// The instructions, by offset.
    pub instructions: Vec<Instruction>,
}

impl Code {
    /// Takes the blocks that ran in each case apart, and follows the jumps and calls that they did not take.
    pub fn new(stub: &[u8], payload: &std::ops::Range<usize>, cases: &[&Blocks]) -> Code {
        let mut found: BTreeMap<(usize, u32), Instruction> = BTreeMap::new();
        for (number, blocks) in cases.iter().enumerate() {
            for (&(start, bits), &(len, _)) in blocks.iter() {
                let code = &stub[start..(start + len).min(stub.len())];
                let mut decoder = Decoder::with_ip(bits, code, start as u64, DecoderOptions::NONE);
                while decoder.can_decode() {
                    let decoded = decoder.decode();
                    if decoded.is_invalid() {
                        break;
                    }
                    let at = decoded.ip() as usize;
                    let instruction = found.entry((at, bits)).or_insert(Instruction {
                        at,
                        bits,
                        len: decoded.len(),
                        cases: 0,
                        decompressor: false,
                    });
                    instruction.cases |= 1 << number;
                }
            }
        }
        follow(stub, payload, &mut found);
        Code { instructions: found.into_values().collect() }
    }

    /// How many instructions outside the decompressor run in any case, and how many there are.
    pub fn reached(&self) -> (usize, usize) {
        let own = || self.instructions.iter().filter(|i| !i.decompressor);
        (own().filter(|i| i.cases != 0).count(), own().count())
    }
}

/// Adds what the jumps and calls of the known instructions lead to, and what stands behind them.
fn follow(
    stub: &[u8],
    payload: &std::ops::Range<usize>,
    found: &mut BTreeMap<(usize, u32), Instruction>,
) {
    let mut taken: BTreeSet<usize> = found.values().flat_map(|i| i.at..i.at + i.len).collect();
    let mut open: Vec<(usize, u32)> = found.keys().copied().collect();
    let mut done = BTreeSet::new();
    while let Some((at, bits)) = open.pop() {
        if at >= stub.len() || payload.contains(&at) || !done.insert((at, bits)) {
            continue;
        }
        let mut decoder = Decoder::with_ip(bits, &stub[at..], at as u64, DecoderOptions::NONE);
        let decoded = decoder.decode();
        if decoded.is_invalid() {
            continue;
        }
        let len = decoded.len();
        if let Entry::Vacant(place) = found.entry((at, bits)) {
            // What overlaps with code that ran is decoded from the wrong byte.
            if (at..at + len).any(|byte| taken.contains(&byte)) {
                continue;
            }
            taken.extend(at..at + len);
            place.insert(Instruction { at, bits, len, cases: 0, decompressor: false });
        }
        let next = matches!(
            decoded.flow_control(),
            FlowControl::Next
                | FlowControl::ConditionalBranch
                | FlowControl::Call
                | FlowControl::IndirectCall
        );
        if next {
            open.push((at + len, bits));
        }
        let branches = matches!(
            decoded.flow_control(),
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call
        );
        let target = decoded.near_branch_target();
        if branches && target < stub.len() as u64 {
            open.push((target as usize, bits));
        }
    }
}

/// The instructions of `bytes`, which stand at the offset `at` of the stub.
pub fn disassemble(bytes: &[u8], at: usize, bits: u32) -> String {
    if bytes.len() > 1 && bytes.iter().all(|byte| *byte == 0x90) {
        return "nothing".into();
    }
    let mut formatter = GasFormatter::new();
    let mut text = String::new();
    let decoder = Decoder::with_ip(bits, bytes, at as u64, DecoderOptions::NONE);
    for decoded in decoder {
        if !text.is_empty() {
            text.push_str("; ");
        }
        formatter.format(&decoded, &mut text);
    }
    text
}
