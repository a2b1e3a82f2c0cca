// SPDX-License-Identifier: GPL-2.0-only
//! Page faults are delivered through the guest's own interrupt table: stubs from 5.10 on map memory
//! on demand in their handler. Unicorn never does this by itself.

use unicorn_engine::{RegisterX86, Unicorn, uc_error};

use super::cpu;
use super::hooks::State;
use super::outcome::Access;
use super::paging::{EFER_LMA, Miss, Paging};
use super::ram::Ram;

/// Vector of a page fault.
pub const PAGE_FAULT: u8 = 14;

const GATE_SIZE: u64 = 16;
const GATE_PRESENT: u64 = 1 << 47;
const INTERRUPT_GATE: u64 = 0xe;
const TRAP_GATE: u64 = 0xf;
const FLAG_TRAP: u64 = 1 << 8;
const FLAG_INTERRUPT: u64 = 1 << 9;

/// Whether the guest could take an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Its handler is about to run.
    Delivered,
    /// It has none, or no stack to enter it with: a real CPU would shut down.
    NoHandler,
    /// The handler needs what is not emulated.
    Unsupported(&'static str),
}

/// Enters the guest's handler for a page fault at `address` (Intel SDM volume 3, "64-bit mode
/// interrupt and exception handling").
pub fn deliver_page_fault(
    uc: &mut Unicorn<State>,
    paging: &Paging,
    address: u64,
    error_code: u64,
) -> Result<Delivery, uc_error> {
    use RegisterX86::*;
    if paging.efer & EFER_LMA == 0 {
        return Ok(Delivery::NoHandler);
    }
    uc.reg_write(CR2, address)?;
    let table = cpu::read_table(uc, IDTR)?;
    let offset = u64::from(PAGE_FAULT) * GATE_SIZE;
    if u64::from(table.limit) < offset + GATE_SIZE - 1 {
        return Ok(Delivery::NoHandler);
    }
    let ram = &uc.get_data().ram;
    let gate = read_linear(ram, paging, table.base + offset)
        .and_then(|low| Ok((low, read_linear(ram, paging, table.base + offset + 8)?)));
    let Ok((low, high)) = gate else {
        return Ok(Delivery::NoHandler);
    };
    let kind = low >> 40 & 0xf;
    if low & GATE_PRESENT == 0 || ![INTERRUPT_GATE, TRAP_GATE].contains(&kind) {
        return Ok(Delivery::NoHandler);
    }
    if low >> 32 & 7 != 0 {
        return Ok(Delivery::Unsupported("an interrupt stack"));
    }
    let handler = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32;
    let selector = low >> 16 & 0xffff;

    let flags = uc.reg_read(EFLAGS)? & 0xffff_ffff;
    let stack = uc.reg_read(RSP)?;
    let frame = [
        error_code,
        uc.reg_read(RIP)?,
        uc.reg_read(CS)? & 0xffff,
        flags,
        stack,
        uc.reg_read(SS)? & 0xffff,
    ];
    let top = (stack & !0xf).wrapping_sub(frame.len() as u64 * 8);
    for (slot, value) in frame.iter().enumerate() {
        let linear = top.wrapping_add(slot as u64 * 8);
        let ram = &mut uc.get_data_mut().ram;
        let Ok(physical) = paging.translate(ram, linear, Access::Write) else {
            return Ok(Delivery::NoHandler);
        };
        if ram.write(physical, &value.to_le_bytes()).is_err() {
            return Ok(Delivery::NoHandler);
        }
    }
    uc.reg_write(RSP, top)?;
    uc.reg_write(CS, selector)?;
    let masked = if kind == INTERRUPT_GATE { FLAG_TRAP | FLAG_INTERRUPT } else { FLAG_TRAP };
    uc.reg_write(EFLAGS, flags & !masked)?;
    uc.reg_write(RIP, handler)?;
    Ok(Delivery::Delivered)
}

fn read_linear(ram: &Ram, paging: &Paging, linear: u64) -> Result<u64, Miss> {
    let physical = paging.translate(ram, linear, Access::Read)?;
    ram.read_u64(physical).map_err(|outside| Miss::TableOutsideRam(outside.0))
}
