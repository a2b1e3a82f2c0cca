// SPDX-License-Identifier: GPL-2.0-only
//! The CPU's state at the stub's entry (boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol").

use unicorn_engine::{RegisterX86, Unicorn, uc_error};

use super::cpu;
use super::outcome::Table;
use super::paging::{CR0_PG, CR0_WP, CR4_PAE, EFER_LMA};
use super::setup::{EntryMode, Setup};
use crate::image::WordSize;

/// `__BOOT_CS`: a flat code segment in the loader's GDT (boot.rst).
pub const BOOT_CS: u16 = 0x10;
/// `__BOOT_DS`: a flat data segment in the loader's GDT (boot.rst).
pub const BOOT_DS: u16 = 0x18;

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const EFER_LME: u64 = 1 << 8;
/// Bit 1 is always set; interrupts are off, the direction is up.
const ENTRY_FLAGS: u64 = 2;

/// Puts the CPU of `uc` where the loader leaves it, but for the instruction pointer.
pub fn enter<D>(uc: &mut Unicorn<D>, setup: &Setup) -> Result<(), uc_error> {
    use RegisterX86::*;
    let (base, limit) = setup.gdt;
    cpu::write_table(uc, GDTR, Table { base, limit: limit.into() })?;
    cpu::write_table(uc, IDTR, Table::default())?;
    match (setup.word, setup.mode) {
        (WordSize::Bits32, _) => uc.reg_write(CR0, CR0_PE | CR0_ET)?,
        (WordSize::Bits64, EntryMode::Protected) => leave_long_mode(uc)?,
        (WordSize::Bits64, EntryMode::Long { page_tables }) => {
            cpu::write_efer(uc, EFER_LME | EFER_LMA)?;
            uc.reg_write(CR4, CR4_PAE)?;
            uc.reg_write(CR3, page_tables)?;
            uc.reg_write(CR0, CR0_PG | CR0_WP | CR0_ET | CR0_PE)?;
        }
    }
    uc.reg_write(CS, BOOT_CS.into())?;
    for segment in [DS, ES, SS] {
        uc.reg_write(segment, BOOT_DS.into())?;
    }
    uc.reg_write(EFLAGS, ENTRY_FLAGS)?;
    let boot_params = if setup.word == WordSize::Bits64 { RSI } else { ESI };
    uc.reg_write(boot_params, setup.boot_params)
}

/// The engine for 64-bit machines starts in long mode; only switching paging off takes it out.
fn leave_long_mode<D>(uc: &mut Unicorn<D>) -> Result<(), uc_error> {
    uc.reg_write(RegisterX86::CR4, CR4_PAE)?;
    uc.reg_write(RegisterX86::CR0, CR0_PG | CR0_PE | CR0_ET)?;
    uc.reg_write(RegisterX86::CR0, CR0_PE | CR0_ET)?;
    cpu::write_efer(uc, 0)?;
    uc.reg_write(RegisterX86::CR4, 0)
}
