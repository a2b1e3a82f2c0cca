// SPDX-License-Identifier: GPL-2.0-only
//! What a translated block is: its instructions, and how control leaves it.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};

use crate::machine::Ram;

/// How control leaves a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// To the next instruction, or by a jump inside the code segment.
    Jump,
    /// By a call; it returns behind the block.
    Call,
    /// By `ret`.
    Return,
    /// By a jump or return that loads the code segment: the name of the instruction.
    Far(&'static str),
}

/// What is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Instructions.
    pub instructions: u32,
    /// Offset of the last one in bytes.
    pub last: u32,
    /// How control leaves it, if nothing intervenes.
    pub exit: Exit,
}

/// The bytes of a block in memory; none where they cannot be read.
pub fn bytes(ram: &Ram, physical: Option<u64>, size: u32) -> &[u8] {
    physical.and_then(|physical| ram.slice(physical, size as usize)).unwrap_or_default()
}

/// Decodes a block of `bits`-bit code at the linear address `address`. What is no instruction ends it.
pub fn decode(bytes: &[u8], address: u64, bits: u32) -> Decoded {
    let mut decoder = Decoder::with_ip(bits, bytes, address, DecoderOptions::NONE);
    let mut decoded = Decoded { instructions: 0, last: 0, exit: Exit::Jump };
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            break;
        }
        decoded.instructions += 1;
        decoded.last = instruction.ip().wrapping_sub(address) as u32;
        decoded.exit = exit(&instruction);
    }
    decoded
}

fn exit(instruction: &Instruction) -> Exit {
    match instruction.flow_control() {
        FlowControl::Call | FlowControl::IndirectCall => Exit::Call,
        FlowControl::Return => match instruction.code() {
            Code::Iretd | Code::Iretq | Code::Iretw => Exit::Far("iret"),
            Code::Retfw | Code::Retfd | Code::Retfq => Exit::Far("lret"),
            Code::Retfw_imm16 | Code::Retfd_imm16 | Code::Retfq_imm16 => Exit::Far("lret"),
            _ => Exit::Return,
        },
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch
            if instruction.is_jmp_far() || instruction.is_jmp_far_indirect() =>
        {
            Exit::Far("ljmp")
        }
        _ => Exit::Jump,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_as_their_last_instruction_says() {
        for (bytes, bits, instructions, last, exit) in [
            (&b"\x90\x90\xc3"[..], 64, 3, 2, Exit::Return),
            (b"\xe8\0\0\0\0", 64, 1, 0, Exit::Call),
            (b"\xff\xd0", 32, 1, 0, Exit::Call),
            (b"\x90\x74\xfe", 64, 2, 1, Exit::Jump),
            (b"\xff\xe0", 64, 1, 0, Exit::Jump),
            (b"\xcb", 32, 1, 0, Exit::Far("lret")),
            (b"\x48\xcf", 64, 1, 0, Exit::Far("iret")),
            (b"\xea\0\0\0\0\x10\0", 32, 1, 0, Exit::Far("ljmp")),
            (b"\xff\x28", 64, 1, 0, Exit::Far("ljmp")),
            (b"\x90", 64, 1, 0, Exit::Jump),
            (b"\x90\xf4", 64, 2, 1, Exit::Jump),
            (b"", 64, 0, 0, Exit::Jump),
            // Cut off inside an instruction.
            (b"\x90\xe8\0", 64, 1, 0, Exit::Jump),
        ] {
            let expected = Decoded { instructions, last, exit };
            assert_eq!(decode(bytes, 0x1000, bits), expected, "{bytes:x?}");
        }
    }
}
