// SPDX-License-Identifier: GPL-2.0-only
//! RDRAND, which the engine's CPU model does not have: it stops there, and the instruction is carried out
//! here (Intel SDM volume 2, RDRAND).

use unicorn_engine::{RegisterX86, Unicorn, uc_error};

use super::cpu;
use super::hooks::State;
use super::outcome::Access;
use crate::image::WordSize;

/// The longest instruction of an x86 CPU, in bytes.
const LONGEST: usize = 15;

/// CF, PF, AF, ZF, SF and OF: all that RDRAND sets or clears.
const STATUS_FLAGS: u64 = FLAG_CARRY | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 11;
/// Set when the generator delivered.
const FLAG_CARRY: u64 = 1;

/// A decoded RDRAND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rdrand {
    /// Number of the destination register, in encoding order.
    register: usize,
    /// Bits of the destination: 16, 32 or 64.
    bits: u32,
    /// Length of the instruction in bytes.
    len: usize,
}

impl Rdrand {
    /// The RDRAND at the start of `code`, at which the engine found an invalid instruction.
    ///
    /// The mode need not be known: a byte from 40 to 4f in front of the opcode is a REX prefix, as outside
    /// 64-bit mode it would be an instruction by itself, and a valid one. The default operand size is taken
    /// for 32 bits; no stub has 16-bit code.
    pub fn decode(code: &[u8]) -> Option<Rdrand> {
        let (mut short, mut rex) = (false, 0);
        for (at, byte) in code.iter().enumerate().take(LONGEST) {
            match byte {
                0x66 => (short, rex) = (true, 0),
                // Segments and address size: without effect on a register.
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 => rex = 0,
                0x40..=0x4f => rex = *byte,
                0x0f => {
                    let [0xc7, modrm] = *code.get(at + 1..at + 3)? else { return None };
                    let len = at + 3;
                    if modrm >> 3 != 0b11_110 || len > LONGEST {
                        return None;
                    }
                    let register = usize::from(modrm & 7 | (rex & 1) << 3);
                    let bits = if rex & 8 != 0 { 64 } else { 32 >> u32::from(short) };
                    return Some(Rdrand { register, bits, len });
                }
                // LOCK and REP are refused by the CPU, too.
                _ => return None,
            }
        }
        None
    }

    /// What the destination holds afterwards, given what it held and what the generator delivered.
    fn result(self, before: u64, delivered: Option<u64>) -> u64 {
        let value = delivered.unwrap_or(0);
        match self.bits {
            16 => before & !0xffff | value & 0xffff,
            32 => value & 0xffff_ffff,
            _ => value,
        }
    }
}

/// Decodes the instruction at the instruction pointer as RDRAND, if it is one.
pub fn at_instruction_pointer(uc: &Unicorn<State>) -> Result<Option<Rdrand>, uc_error> {
    let state = uc.get_data();
    let paging = cpu::paging(uc, state.word)?;
    let rip = uc.reg_read(cpu::instruction_pointer(state.word))?;
    let mut code = [0; LONGEST];
    let mut known = 0;
    for (byte, offset) in code.iter_mut().zip(0..) {
        let Ok(physical) = paging.translate(&state.ram, rip.wrapping_add(offset), Access::Fetch)
        else {
            break;
        };
        if state.ram.read(physical, std::slice::from_mut(byte)).is_err() {
            break;
        }
        known += 1;
    }
    Ok(Rdrand::decode(&code[..known]))
}

/// Carries `instruction` out, with the number that the generator `delivered`, and steps behind it.
pub fn execute(
    uc: &mut Unicorn<State>,
    instruction: Rdrand,
    delivered: Option<u64>,
) -> Result<(), uc_error> {
    let word = uc.get_data().word;
    let register = cpu::general_registers(word)[instruction.register];
    let before = uc.reg_read(register)?;
    uc.reg_write(register, instruction.result(before, delivered))?;
    let flags = uc.reg_read(RegisterX86::EFLAGS)? & 0xffff_ffff & !STATUS_FLAGS;
    let carry = if delivered.is_some() { FLAG_CARRY } else { 0 };
    uc.reg_write(RegisterX86::EFLAGS, flags | carry)?;
    let pc = cpu::instruction_pointer(word);
    let next = uc.reg_read(pc)?.wrapping_add(instruction.len as u64);
    uc.reg_write(pc, if word == WordSize::Bits32 { next & 0xffff_ffff } else { next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Option<(usize, u32, usize)> {
        Rdrand::decode(code).map(|i| (i.register, i.bits, i.len))
    }

    #[test]
    fn operand_sizes_and_registers_are_decoded() {
        assert_eq!(decoded(b"\x0f\xc7\xf0\x90"), Some((0, 32, 3)));
        assert_eq!(decoded(b"\x66\x0f\xc7\xf7"), Some((7, 16, 4)));
        assert_eq!(decoded(b"\x48\x0f\xc7\xf2"), Some((2, 64, 4)));
        assert_eq!(decoded(b"\x49\x0f\xc7\xf5"), Some((13, 64, 4)));
        assert_eq!(decoded(b"\x66\x48\x0f\xc7\xf0"), Some((0, 64, 5)), "REX.W wins");
        assert_eq!(decoded(b"\x49\x66\x0f\xc7\xf0"), Some((0, 16, 5)), "a REX must come last");
        assert_eq!(decoded(b"\x3e\x67\x41\x0f\xc7\xf0"), Some((8, 32, 6)));
    }

    #[test]
    fn everything_else_is_refused() {
        for other in [
            &b"\x0f\xc7\xf8"[..],
            b"\x0f\xc7\x30",
            b"\x0f\xc7",
            b"\x0f\x0b",
            b"\xf0\x0f\xc7\xf0",
            b"\xf3\x0f\xc7\xf0",
            b"\xf2\x0f\xc7\xf0",
            b"",
            b"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f\xc7\xf0",
        ] {
            assert_eq!(decoded(other), None, "{other:02x?}");
        }
    }

    #[test]
    fn the_destination_changes_as_far_as_its_size_says() {
        let of = |bits, delivered| Rdrand { register: 0, bits, len: 3 }.result(u64::MAX, delivered);
        let value = Some(0x1122_3344_5566_7788);
        assert_eq!(of(16, value), 0xffff_ffff_ffff_7788);
        assert_eq!(of(32, value), 0x5566_7788);
        assert_eq!(of(64, value), 0x1122_3344_5566_7788);
        assert_eq!(of(16, None), 0xffff_ffff_ffff_0000);
        assert_eq!([of(32, None), of(64, None)], [0, 0]);
    }
}
