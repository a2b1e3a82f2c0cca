// SPDX-License-Identifier: GPL-2.0-only
//! The CPU that a guest sees: what CPUID announces, and reading and writing Unicorn's registers.
//!
//! No random number generator and no time-stamp counter are announced: the timer is then the only source
//! of entropy, and a case scripts it.

use std::ffi::{c_int, c_void};

use unicorn_engine::hook::sys;
use unicorn_engine::{RegisterX86, Unicorn, X86Insn, uc_error};

use super::outcome::{Registers, Table};
use super::paging::Paging;
use crate::image::WordSize;

const EFER: u32 = 0xc000_0080;
/// What a guest reads that asks for the time-stamp counter although none is announced.
const TIME_STAMP: u32 = 0x1000;

/// EAX, EBX, ECX and EDX of one CPUID leaf.
///
/// The features are those that arch/x86/boot/cpucheck.c and verify_cpu.S may require, and nothing that
/// the engine emulates differently from a real CPU.
fn cpuid(word: WordSize, leaf: u32) -> [u32; 4] {
    const FPU_PSE_MSR_PAE_CX8: u32 = 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8;
    const PGE_CMOV_FXSR_SSE_SSE2: u32 = 1 << 13 | 1 << 15 | 1 << 24 | 1 << 25 | 1 << 26;
    const NX: u32 = 1 << 20;
    const LONG_MODE: u32 = 1 << 29;
    const FAMILY_16: u32 = 0x0010_0f22;

    let vendor = |max| [max, 0x6874_7541, 0x444d_4163, 0x6974_6e65];
    match leaf {
        0 => vendor(7),
        1 => [FAMILY_16, 0, 0, FPU_PSE_MSR_PAE_CX8 | PGE_CMOV_FXSR_SSE_SSE2],
        0x8000_0000 => vendor(0x8000_0008),
        0x8000_0001 if word == WordSize::Bits64 => [FAMILY_16, 0, 0, NX | LONG_MODE],
        0x8000_0001 => [FAMILY_16, 0, 0, NX],
        // 48 bits of physical and of virtual address.
        0x8000_0008 => [0x3030, 0, 0, 0],
        _ => [0; 4],
    }
}

/// Makes CPUID answer for a machine of `word` size, and RDTSC with a time that stands still.
///
/// The wrapper's own hook for these instructions returns nothing where the engine expects an int, so they
/// are registered directly.
pub fn script_instructions<D>(uc: &Unicorn<D>, word: WordSize) -> Result<(), uc_error> {
    let answer: unsafe extern "C" fn(*mut sys::uc_engine, *mut c_void) -> c_int = match word {
        WordSize::Bits32 => answer_cpuid_32,
        WordSize::Bits64 => answer_cpuid_64,
    };
    hook_instruction(uc, X86Insn::CPUID, answer)?;
    hook_instruction(uc, X86Insn::RDTSC, answer_rdtsc)
}

fn hook_instruction<D>(
    uc: &Unicorn<D>,
    instruction: X86Insn,
    callback: unsafe extern "C" fn(*mut sys::uc_engine, *mut c_void) -> c_int,
) -> Result<(), uc_error> {
    let mut hook: sys::uc_hook = 0;
    // SAFETY: the callback has the signature that the engine documents for instruction hooks
    // (`uc_cb_insn_cpuid_t`), takes no user data, and outlives the engine.
    unsafe {
        sys::uc_hook_add(
            uc.get_handle(),
            (&raw mut hook).cast(),
            sys::HookType::INSN.0 as c_int,
            callback as *mut c_void,
            std::ptr::null_mut(),
            1,
            0,
            instruction as c_int,
        )
    }
    .into()
}

unsafe extern "C" fn answer_cpuid_32(uc: *mut sys::uc_engine, _: *mut c_void) -> c_int {
    // SAFETY: called by the engine with its own handle.
    unsafe { answer_cpuid(uc, WordSize::Bits32) }
}

unsafe extern "C" fn answer_cpuid_64(uc: *mut sys::uc_engine, _: *mut c_void) -> c_int {
    // SAFETY: called by the engine with its own handle.
    unsafe { answer_cpuid(uc, WordSize::Bits64) }
}

/// # Safety
/// `uc` is a live engine that is inside a hook.
unsafe fn answer_cpuid(uc: *mut sys::uc_engine, word: WordSize) -> c_int {
    let mut leaf = 0u32;
    // SAFETY: EAX is a 32-bit register in every mode.
    unsafe { sys::uc_reg_read(uc, RegisterX86::EAX as c_int, (&raw mut leaf).cast()) };
    let registers = [RegisterX86::EAX, RegisterX86::EBX, RegisterX86::ECX, RegisterX86::EDX];
    for (register, value) in registers.into_iter().zip(cpuid(word, leaf)) {
        // SAFETY: as above.
        unsafe { sys::uc_reg_write(uc, register as c_int, (&raw const value).cast()) };
    }
    1
}

unsafe extern "C" fn answer_rdtsc(uc: *mut sys::uc_engine, _: *mut c_void) -> c_int {
    for (register, value) in [(RegisterX86::EAX, TIME_STAMP), (RegisterX86::EDX, 0u32)] {
        // SAFETY: EAX and EDX are 32-bit registers in every mode, and `uc` is the engine that called.
        unsafe { sys::uc_reg_write(uc, register as c_int, (&raw const value).cast()) };
    }
    1
}

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
    let names: &[RegisterX86] = match word {
        WordSize::Bits32 => &[EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI],
        WordSize::Bits64 => {
            &[RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15]
        }
    };
    let mut general = [0; 16];
    for (value, name) in general.iter_mut().zip(names) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_of_entropy_is_announced() {
        for word in [WordSize::Bits32, WordSize::Bits64] {
            let [_, _, ecx, edx] = cpuid(word, 1);
            assert_eq!(ecx & 1 << 30, 0, "RDRAND");
            assert_eq!(edx & 1 << 4, 0, "TSC");
        }
    }

    #[test]
    fn only_a_64_bit_machine_announces_long_mode() {
        assert_eq!(cpuid(WordSize::Bits64, 0x8000_0001)[3] >> 29 & 1, 1);
        assert_eq!(cpuid(WordSize::Bits32, 0x8000_0001)[3] >> 29 & 1, 0);
    }
}
