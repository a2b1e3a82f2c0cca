// SPDX-License-Identifier: GPL-2.0-only
//! Reading and writing Unicorn's registers.

use std::ffi::c_int;

use unicorn_engine::hook::sys;
use unicorn_engine::{RegisterX86, Unicorn, uc_error};

use super::outcome::{Registers, Table};
use super::paging::Paging;
use crate::image::WordSize;

const EFER: u32 = 0xc000_0080;
/// Bounds the memory that `uc` reserves for translated code, in bytes. Only before its first use.
pub fn limit_translation_buffer<D>(uc: &Unicorn<D>, bytes: u32) -> Result<(), uc_error> {
    let control =
        sys::ControlType(sys::ControlType::TCG_BUFFER_SIZE.0 | sys::ControlType::IO_WRITE.0);
    // SAFETY: this control takes one 32-bit argument.
    unsafe { sys::uc_ctl(uc.get_handle(), control, bytes) }.into()
}

/// The name of the instruction pointer in an engine for `word` size.
pub fn instruction_pointer(word: WordSize) -> RegisterX86 {
    match word {
        WordSize::Bits32 => RegisterX86::EIP,
        WordSize::Bits64 => RegisterX86::RIP,
    }
}

/// The names of the general registers in an engine for `word` size, in encoding order.
pub fn general_registers(word: WordSize) -> &'static [RegisterX86] {
    use RegisterX86::*;
    match word {
        WordSize::Bits32 => &[EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI],
        WordSize::Bits64 => {
            &[RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15]
        }
    }
}

/// The registers that address translation depends on.
pub fn paging<D>(uc: &Unicorn<D>, word: WordSize) -> Result<Paging, uc_error> {
    let efer = if word == WordSize::Bits64 { read_efer(uc)? } else { 0 };
    Ok(Paging {
        cr0: uc.reg_read(RegisterX86::CR0)?,
        cr3: uc.reg_read(RegisterX86::CR3)?,
        cr4: uc.reg_read(RegisterX86::CR4)?,
        efer,
    })
}

/// All registers that an oracle may ask for.
pub fn registers<D>(uc: &Unicorn<D>, word: WordSize) -> Result<Registers, uc_error> {
    use RegisterX86::*;
    let mut general = [0; 16];
    for (value, name) in general.iter_mut().zip(general_registers(word)) {
        *value = uc.reg_read(*name)?;
    }
    let mut selectors = [0; 6];
    for (value, name) in selectors.iter_mut().zip([ES, CS, SS, DS, FS, GS]) {
        *value = uc.reg_read(name)? as u16;
    }
    let paging = paging(uc, word)?;
    Ok(Registers {
        general,
        rip: uc.reg_read(instruction_pointer(word))?,
        rflags: uc.reg_read(EFLAGS)? & 0xffff_ffff,
        selectors,
        gdtr: read_table(uc, GDTR)?,
        idtr: read_table(uc, IDTR)?,
        cr0: paging.cr0,
        cr2: uc.reg_read(CR2)?,
        cr3: paging.cr3,
        cr4: paging.cr4,
        efer: paging.efer,
    })
}

/// The descriptor table register `name`.
pub fn read_table<D>(uc: &Unicorn<D>, name: RegisterX86) -> Result<Table, uc_error> {
    let mut value = sys::uc_x86_mmr { selector: 0, base: 0, limit: 0, flags: 0 };
    // SAFETY: the engine fills a `uc_x86_mmr` for descriptor table registers.
    let result: Result<(), uc_error> =
        unsafe { sys::uc_reg_read(uc.get_handle(), name as c_int, (&raw mut value).cast()) }.into();
    result.map(|()| Table { base: value.base, limit: value.limit })
}

/// Loads the descriptor table register `name`.
pub fn write_table<D>(uc: &Unicorn<D>, name: RegisterX86, table: Table) -> Result<(), uc_error> {
    let value = sys::uc_x86_mmr { selector: 0, base: table.base, limit: table.limit, flags: 0 };
    // SAFETY: the engine reads a `uc_x86_mmr` for descriptor table registers.
    unsafe { sys::uc_reg_write(uc.get_handle(), name as c_int, (&raw const value).cast()) }.into()
}

fn read_efer<D>(uc: &Unicorn<D>) -> Result<u64, uc_error> {
    let mut value = sys::uc_x86_msr { rid: EFER, value: 0 };
    let register = RegisterX86::MSR as c_int;
    // SAFETY: the engine fills a `uc_x86_msr` for the MSR pseudo-register.
    let result: Result<(), uc_error> =
        unsafe { sys::uc_reg_read(uc.get_handle(), register, (&raw mut value).cast()) }.into();
    result.map(|()| value.value)
}

/// Sets the extended features (MSR 0xc0000080).
pub fn write_efer<D>(uc: &Unicorn<D>, efer: u64) -> Result<(), uc_error> {
    let value = sys::uc_x86_msr { rid: EFER, value: efer };
    let register = RegisterX86::MSR as c_int;
    // SAFETY: the engine reads a `uc_x86_msr` for the MSR pseudo-register.
    unsafe { sys::uc_reg_write(uc.get_handle(), register, (&raw const value).cast()) }.into()
}
