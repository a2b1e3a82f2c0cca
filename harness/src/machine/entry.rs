// SPDX-License-Identifier: GPL-2.0-only
//! The CPU's state at the stub's entry (boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol").

use unicorn_engine::{RegisterX86, Unicorn, uc_error};

use super::cpu;
use super::fill::Fill;
use super::outcome::Table;
use super::paging::{CR0_PG, CR0_WP, CR4_LA57, CR4_PAE, EFER_LMA};
use super::setup::{EntryMode, Setup};
use crate::image::WordSize;

/// `__BOOT_CS`: a flat code segment in the loader's GDT (boot.rst).
pub const BOOT_CS: u16 = 0x10;
/// `__BOOT_DS`: a flat data segment in the loader's GDT (boot.rst).
pub const BOOT_DS: u16 = 0x18;

/// Machine checks are exceptions.
pub const CR4_MCE: u64 = 1 << 6;
/// Machine checks, global pages, SSE and its exceptions: what a 64-bit loader may have on, and firmware has.
const CR4_OPEN: u64 = CR4_MCE | 1 << 7 | 1 << 9 | 1 << 10;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const EFER_LME: u64 = 1 << 8;
/// Bit 1 is always set; interrupts are off.
const ENTRY_FLAGS: u64 = 2;
const FLAG_DIRECTION: u64 = 1 << 10;

/// Puts the CPU of `uc` where the loader leaves it, but for the instruction pointer.
pub fn enter<D>(uc: &mut Unicorn<D>, setup: &Setup) -> Result<(), uc_error> {
    use RegisterX86::*;
    let (base, limit) = setup.gdt;
    cpu::write_table(uc, GDTR, Table { base, limit: limit.into() })?;
    cpu::write_table(uc, IDTR, Table::default())?;
    match (setup.word, setup.mode) {
        (WordSize::Bits32, _) => uc.reg_write(CR0, CR0_PE | CR0_ET)?,
        (WordSize::Bits64, EntryMode::Protected) => leave_long_mode(uc)?,
        (WordSize::Bits64, EntryMode::Long { page_tables, .. }) => {
            cpu::write_efer(uc, EFER_LME | EFER_LMA)?;
            uc.reg_write(CR4, entry_cr4(setup))?;
            uc.reg_write(CR3, page_tables)?;
            uc.reg_write(CR0, CR0_PG | CR0_WP | CR0_ET | CR0_PE)?;
        }
    }
    uc.reg_write(CS, BOOT_CS.into())?;
    for segment in [DS, ES, SS] {
        uc.reg_write(segment, BOOT_DS.into())?;
    }
    let direction = if setup.entry_state.direction_flag { FLAG_DIRECTION } else { 0 };
    uc.reg_write(EFLAGS, ENTRY_FLAGS | direction)?;
    if let Some(seed) = setup.entry_state.registers {
        fill_open_registers(uc, setup, seed)?;
    }
    let boot_params = if setup.word == WordSize::Bits64 { RSI } else { ESI };
    uc.reg_write(boot_params, setup.boot_params)
}

/// CR4 as the loader leaves it: what its page tables need, and anything where the protocol is silent.
pub fn entry_cr4(setup: &Setup) -> u64 {
    match (setup.word, setup.mode) {
        (WordSize::Bits64, EntryMode::Long { five_levels, .. }) => {
            let open = setup.entry_state.registers.map_or(0, |seed| Fill(seed).word(0) & CR4_OPEN);
            CR4_PAE | open | if five_levels { CR4_LA57 } else { 0 }
        }
        _ => 0,
    }
}

/// Puts garbage into the general registers that the protocol leaves open.
fn fill_open_registers<D>(uc: &mut Unicorn<D>, setup: &Setup, seed: u64) -> Result<(), uc_error> {
    /// AX, CX, DX and SP: the 32-bit protocol wants BP, DI and BX to be 0.
    const OPEN_32: [usize; 4] = [0, 1, 2, 4];
    let long = matches!((setup.word, setup.mode), (WordSize::Bits64, EntryMode::Long { .. }));
    for (index, register) in cpu::general_registers(setup.word).iter().enumerate() {
        let garbage = Fill(seed).word(index as u64 * 8);
        if long {
            uc.reg_write(*register, garbage)?;
        } else if OPEN_32.contains(&index) {
            uc.reg_write(*register, garbage & 0xffff_ffff)?;
        }
    }
    Ok(())
}

/// The engine for 64-bit machines starts in long mode; only switching paging off takes it out.
fn leave_long_mode<D>(uc: &mut Unicorn<D>) -> Result<(), uc_error> {
    uc.reg_write(RegisterX86::CR4, CR4_PAE)?;
    uc.reg_write(RegisterX86::CR0, CR0_PG | CR0_PE | CR0_ET)?;
    uc.reg_write(RegisterX86::CR0, CR0_PE | CR0_ET)?;
    cpu::write_efer(uc, 0)?;
    uc.reg_write(RegisterX86::CR4, 0)
}
