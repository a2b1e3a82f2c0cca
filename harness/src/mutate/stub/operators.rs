// SPDX-License-Identifier: GPL-2.0-only
//! The mistakes that one instruction can have: its bytes are changed such that another instruction of the same length comes
//! out (Intel SDM volume 2, appendix A, "Opcode Map").

use iced_x86::{Decoder, DecoderOptions, FlowControl};

use super::Instruction;
use super::code::disassemble;

/// The kinds of mistake.
pub const KINDS: &[&str] = &[
    "condition inverted",
    "width changed",
    "constant off by one",
    "instruction removed",
    "add for sub",
    "operands swapped",
    "jump target",
    "prefix or flag",
];

const CONDITION: &str = KINDS[0];
const WIDTH: &str = KINDS[1];
const CONSTANT: &str = KINDS[2];
const REMOVED: &str = KINDS[3];
const ARITHMETIC: &str = KINDS[4];
const OPERANDS: &str = KINDS[5];
const TARGET: &str = KINDS[6];
const PREFIX: &str = KINDS[7];

const NOP: u8 = 0x90;
/// A segment override that means nothing in flat segments, to stand in the place of a prefix.
const IDLE_PREFIX: u8 = 0x3e;
const REX_W: u8 = 8;

/// All mutations of an instruction of `stub`: their kind and the new bytes.
pub fn mutations(stub: &[u8], instruction: &Instruction) -> Vec<(&'static str, Vec<u8>)> {
    let Instruction { at, len, bits, .. } = *instruction;
    let bytes = &stub[at..at + len];
    let shape = Shape::new(bytes, bits);
    let mut found = Vec::new();
    if shape.is_idle(bytes) {
        return found;
    }
    found.push((REMOVED, vec![NOP; len]));
    conditions(bytes, &shape, &mut found);
    widths(bytes, &shape, &mut found);
    arithmetic(bytes, &shape, bits, &mut found);
    operands(bytes, &shape, &mut found);
    prefixes(bytes, &shape, &mut found);
    constants(stub, instruction, &mut found);
    found.retain(|(_, new)| is_another(bytes, new, at, bits));
    found.dedup_by(|one, other| one.1 == other.1);
    found
}

/// Where an instruction has its prefixes and its opcode.
struct Shape {
    rex: Option<usize>,
    two_bytes: bool,
    opcode: usize,
}

impl Shape {
    fn new(bytes: &[u8], bits: u32) -> Shape {
        let legacy = |byte: &u8| {
            matches!(
                byte,
                0x66 | 0x67 | 0xf2 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0xf0
            )
        };
        let mut at = bytes.iter().take_while(|byte| legacy(byte)).count();
        let rex =
            (bits == 64 && bytes.get(at).is_some_and(|byte| byte & 0xf0 == 0x40)).then_some(at);
        at += usize::from(rex.is_some());
        let two_bytes = bytes.get(at) == Some(&0x0f);
        Shape { rex, two_bytes, opcode: at + usize::from(two_bytes) }
    }

    fn code(&self, bytes: &[u8]) -> u8 {
        bytes.get(self.opcode).copied().unwrap_or(NOP)
    }

    fn modrm(&self, bytes: &[u8]) -> u8 {
        bytes.get(self.opcode + 1).copied().unwrap_or(0)
    }

    /// Whether it does nothing: padding, and the landing places of indirect jumps.
    fn is_idle(&self, bytes: &[u8]) -> bool {
        match (self.two_bytes, self.code(bytes)) {
            (false, 0x90 | 0xcc) => true,
            (true, 0x1f | 0x1e | 0x0b) => true,
            // lea 0(%esi), %esi and its like.
            (false, 0x8d) => {
                let modrm = self.modrm(bytes);
                let same = modrm >> 3 & 7 == modrm & 7 && modrm >> 6 != 0 && modrm & 7 != 4;
                same && bytes[self.opcode + 2..].iter().all(|byte| *byte == 0)
            }
            _ => false,
        }
    }
}

fn with(bytes: &[u8], at: usize, change: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut new = bytes.to_vec();
    new[at] = change(new[at]);
    new
}

type Found = Vec<(&'static str, Vec<u8>)>;

/// jcc, setcc, cmovcc.
fn conditions(bytes: &[u8], shape: &Shape, found: &mut Found) {
    let code = shape.code(bytes);
    let conditional = match shape.two_bytes {
        false => code & 0xf0 == 0x70,
        true => matches!(code & 0xf0, 0x80 | 0x90 | 0x40),
    };
    if conditional {
        found.push((CONDITION, with(bytes, shape.opcode, |code| code ^ 1)));
    }
}

fn widths(bytes: &[u8], shape: &Shape, found: &mut Found) {
    if let Some(rex) = shape.rex.filter(|rex| bytes[*rex] & REX_W != 0) {
        found.push((WIDTH, with(bytes, rex, |rex| rex ^ REX_W)));
    }
    if shape.opcode > 0 && bytes[0] == 0x66 {
        found.push((WIDTH, with(bytes, 0, |_| IDLE_PREFIX)));
    }
    let code = shape.code(bytes);
    let byte_or_word = match shape.two_bytes {
        false => {
            code < 0x40 && code & 7 < 4
                || matches!(code, 0x84..=0x8b | 0xa4..=0xa7 | 0xaa..=0xaf | 0xd0..=0xd3 | 0xec..=0xef | 0xf6 | 0xf7)
                || matches!(code, 0xfe | 0xff) && shape.modrm(bytes) >> 3 & 7 < 2
        }
        true => matches!(code, 0xb6 | 0xb7 | 0xbe | 0xbf),
    };
    if byte_or_word {
        found.push((WIDTH, with(bytes, shape.opcode, |code| code ^ 1)));
    }
}

/// add and sub, adc and sbb, or and and, inc and dec, shifts to the left and to the right.
fn arithmetic(bytes: &[u8], shape: &Shape, bits: u32, found: &mut Found) {
    const ADD_SUB: u8 = 0x28;
    const ADC_SBB: u8 = 0x08;
    if shape.two_bytes {
        return;
    }
    let code = shape.code(bytes);
    let digit = shape.modrm(bytes) >> 3 & 7;
    let change = |digit: u8| match digit {
        0 | 5 | 1 | 4 => Some(ADD_SUB),
        2 | 3 => Some(ADC_SBB),
        _ => None,
    };
    let (at, flip) = match code {
        0x00..=0x3f if code & 7 < 6 => (shape.opcode, change(code >> 3)),
        0x80 | 0x81 | 0x83 => (shape.opcode + 1, change(digit)),
        0xfe | 0xff if digit < 2 => (shape.opcode + 1, Some(8)),
        0x40..=0x4f if bits == 32 => (shape.opcode, Some(8)),
        0xc0 | 0xc1 | 0xd0..=0xd3 if matches!(digit, 4 | 5) => (shape.opcode + 1, Some(8)),
        _ => return,
    };
    if let Some(flip) = flip {
        found.push((ARITHMETIC, with(bytes, at, |byte| byte ^ flip)));
    }
}

/// Source and destination of a mov or of arithmetic; the contents in the place of an address.
fn operands(bytes: &[u8], shape: &Shape, found: &mut Found) {
    let code = shape.code(bytes);
    if shape.two_bytes {
        return;
    }
    if matches!(code, 0x88..=0x8b) || code < 0x40 && code & 7 < 4 {
        found.push((OPERANDS, with(bytes, shape.opcode, |code| code ^ 2)));
    }
    if code == 0x8d {
        found.push((OPERANDS, with(bytes, shape.opcode, |_| 0x8b)));
    }
}

/// rep left out, the direction and the interrupt flag the other way.
fn prefixes(bytes: &[u8], shape: &Shape, found: &mut Found) {
    let code = shape.code(bytes);
    if shape.two_bytes {
        return;
    }
    if matches!(code, 0xfa..=0xfd) {
        found.push((PREFIX, with(bytes, shape.opcode, |code| code ^ 1)));
    }
    let repeated = bytes[..shape.opcode].iter().position(|byte| matches!(byte, 0xf2 | 0xf3));
    if let Some(at) = repeated.filter(|_| matches!(code, 0xa4..=0xa7 | 0xaa..=0xaf)) {
        found.push((PREFIX, with(bytes, at, |_| IDLE_PREFIX)));
    }
}

/// Immediate operands and displacements one more and one less; jumps one instruction further.
fn constants(stub: &[u8], instruction: &Instruction, found: &mut Found) {
    let Instruction { at, len, bits, .. } = *instruction;
    let bytes = &stub[at..at + len];
    let mut decoder = Decoder::with_ip(bits, bytes, at as u64, DecoderOptions::NONE);
    let decoded = decoder.decode();
    let offsets = decoder.get_constant_offsets(&decoded);
    let jumps = matches!(
        decoded.flow_control(),
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call
    );
    let mut off = |kind, place: usize, size: usize, by: i64| {
        let mut new = bytes.to_vec();
        let Some(field) = new.get_mut(place..place + size) else { return };
        let before = field.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        field.copy_from_slice(&before.wrapping_add_signed(by).to_le_bytes()[..size]);
        found.push((kind, new));
    };
    if jumps {
        let target = decoded.near_branch_target();
        let there = usize::try_from(target).ok().and_then(|target| stub.get(target..));
        if let (true, Some(there)) = (offsets.has_immediate(), there) {
            let mut decoder = Decoder::with_ip(bits, there, target, DecoderOptions::NONE);
            let first = decoder.decode();
            if !first.is_invalid() {
                off(
                    TARGET,
                    offsets.immediate_offset(),
                    offsets.immediate_size(),
                    first.len() as i64,
                );
            }
        }
        return;
    }
    for by in [1, -1] {
        if offsets.has_displacement() {
            off(CONSTANT, offsets.displacement_offset(), offsets.displacement_size(), by);
        }
        if offsets.has_immediate() {
            off(CONSTANT, offsets.immediate_offset(), offsets.immediate_size(), by);
        }
    }
}

/// Whether the new bytes are another instruction of the same length; one that is left out may be several.
fn is_another(bytes: &[u8], new: &[u8], at: usize, bits: u32) -> bool {
    let mut decoder = Decoder::with_ip(bits, new, at as u64, DecoderOptions::NONE);
    let decoded = decoder.decode();
    let removed = new.iter().all(|byte| *byte == NOP);
    !decoded.is_invalid()
        && (removed || decoded.len() == bytes.len())
        && disassemble(bytes, at, bits) != disassemble(new, at, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an instruction may become, as text.
    fn mutants(bytes: &[u8], bits: u32) -> Vec<(&'static str, String)> {
        let instruction =
            Instruction { at: 0, bits, len: bytes.len(), cases: 1, decompressor: false };
        let text = |new: &[u8]| disassemble(new, 0, bits);
        mutations(bytes, &instruction).iter().map(|(kind, new)| (*kind, text(new))).collect()
    }

    #[test]
    fn an_addition_may_become_a_subtraction_of_another_width_or_constant() {
        // add $0x10, %rbx
        let found = mutants(b"\x48\x83\xc3\x10", 64);
        let has = |kind, text: &str| found.iter().any(|(k, t)| *k == kind && t == text);
        assert!(has(REMOVED, "nothing"), "{found:?}");
        assert!(has(ARITHMETIC, "sub $0x10,%rbx"), "{found:?}");
        assert!(has(WIDTH, "add $0x10,%ebx"), "{found:?}");
        assert!(has(CONSTANT, "add $0x11,%rbx") && has(CONSTANT, "add $0xF,%rbx"), "{found:?}");
    }

    #[test]
    fn conditions_are_inverted_and_padding_is_left_alone() {
        let found = mutants(b"\x74\x00", 32);
        assert!(
            found.iter().any(|(kind, text)| *kind == CONDITION && text.starts_with("jne")),
            "{found:?}"
        );
        for idle in [&b"\x90"[..], b"\x0f\x1f\x40\x00", b"\x8d\x76\x00", b"\xf3\x0f\x1e\xfa"] {
            assert_eq!(mutants(idle, 32), []);
        }
    }

    #[test]
    fn flags_and_repetition_are_lost() {
        let kinds = |bytes: &[u8]| {
            mutants(bytes, 64)
                .into_iter()
                .map(|(kind, text)| format!("{kind}: {text}"))
                .collect::<Vec<_>>()
        };
        assert!(kinds(b"\xfd").contains(&format!("{PREFIX}: cld")));
        assert!(
            kinds(b"\xf3\x48\xa5").iter().any(|text| text.starts_with(PREFIX)),
            "{:?}",
            kinds(b"\xf3\x48\xa5")
        );
    }
}
