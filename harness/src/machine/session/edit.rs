// SPDX-License-Identifier: GPL-2.0-only
//! Changes from outside: they make it another run, which is the same whenever it is repeated.

use unicorn_engine::RegisterX86;

use super::super::outcome::Access;
use super::super::paging::Miss;
use super::super::{MachineError, cpu};
use super::Session;
use crate::image::WordSize;

/// A register that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// A general register, by its number in encoding order.
    General(usize),
    /// The instruction pointer.
    InstructionPointer,
    /// The flags.
    Flags,
}

/// One change.
pub enum Edit {
    /// A register and its value.
    Register(Register, u64),
    /// Bytes at a physical address.
    Memory(u64, Vec<u8>),
}

impl Session<'_> {
    /// Writes `bytes` at a linear address. From now on the run is another one.
    ///
    /// # Errors
    /// Not all of it is mapped to RAM; nothing is written then.
    pub fn write(&mut self, linear: u64, bytes: &[u8]) -> Result<(), Miss> {
        let pieces = self.pieces(linear, bytes.len(), Access::Read)?;
        let lost = pieces.iter().find(|(physical, _)| !self.ram().contains(*physical));
        if let Some((physical, _)) = lost {
            return Err(Miss::TableOutsideRam(*physical));
        }
        for (physical, part) in pieces {
            self.edit(Edit::Memory(physical, bytes[part].to_vec()))
                .map_err(|_| Miss::Unsupported)?;
        }
        Ok(())
    }

    /// Sets a register. From now on the run is another one.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn set_register(&mut self, register: Register, value: u64) -> Result<(), MachineError> {
        self.edit(Edit::Register(register, value))
    }

    fn edit(&mut self, edit: Edit) -> Result<(), MachineError> {
        let position = self.position();
        self.edits.split_off(&(position + 1));
        self.snapshots.forget_after(position);
        self.edits.entry(position).or_default().push(edit);
        self.end = None;
        self.repeat_edits()
    }

    /// Makes the changes at the present position again.
    pub(super) fn repeat_edits(&mut self) -> Result<(), MachineError> {
        let Some(edits) = self.edits.get(&self.position()) else { return Ok(()) };
        for edit in edits {
            match edit {
                Edit::Memory(physical, bytes) => {
                    // Who asked for it has found RAM there.
                    let _ = self.machine.uc.get_data_mut().ram.write(*physical, bytes);
                }
                Edit::Register(register, value) => {
                    let word = self.setup.word;
                    let (name, value) = match register {
                        Register::General(number) => {
                            (cpu::general_registers(word).get(*number).copied(), *value)
                        }
                        Register::InstructionPointer => {
                            (Some(cpu::instruction_pointer(word)), *value)
                        }
                        Register::Flags => (Some(RegisterX86::EFLAGS), *value & 0xffff_ffff),
                    };
                    let value = if word == WordSize::Bits32 { value & 0xffff_ffff } else { value };
                    let name =
                        name.ok_or_else(|| MachineError::Engine("no such register".into()))?;
                    self.machine.uc.reg_write(name, value)?;
                }
            }
        }
        self.machine.uc.ctl_flush_tb()?;
        self.machine.uc.ctl_flush_tlb()?;
        Ok(())
    }
}
