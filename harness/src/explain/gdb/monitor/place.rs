// SPDX-License-Identifier: GPL-2.0-only
//! Where the machine is: its position, its mode, and where in the stub.

use std::fmt::Write;

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};

use super::super::Debuggee;
use super::super::target::Debugged;
use super::end_text;
use crate::image::WordSize;
use crate::machine::{Access, CR0_PG, EFER_LMA, MachineError, Pause, Registers};
use crate::oracle;

/// The longest instruction of an x86 CPU, in bytes.
const LONGEST: usize = 15;
/// So many instructions are disassembled at most.
const MOST: u64 = 1000;
/// Bit L of a code segment's descriptor: 64-bit code.
const LONG_CODE: u64 = 1 << 53;

/// Goes to a position.
pub fn seek(debugged: &mut Debugged, position: u64) -> Result<String, MachineError> {
    let pause = debugged.session.seek(position, &mut || false)?;
    let now = debugged.session.position();
    Ok(match pause {
        Pause::End(end) if now < position => {
            format!("position {now} is the last: {}\n", end_text(&end))
        }
        _ => format!("position {now}; now type: maintenance flush register-cache\n"),
    })
}

/// Position, mode, and where in the stub.
pub fn place(debugged: &mut Debugged) -> Result<String, MachineError> {
    let session = &debugged.session;
    let registers = session.registers()?;
    let mut text = format!("position {}", session.position());
    if let Some(end) = session.end() {
        let _ = write!(text, ", the run is over: {}", end_text(end));
    }
    let paging = if registers.cr0 & CR0_PG != 0 { "on" } else { "off" };
    let bits = bits(debugged, &registers)?;
    let _ = writeln!(text, "\nmode {bits} bits, paging {paging}");

    let physical = session.paging()?.translate(session.ram(), registers.rip, Access::Read);
    let len = debugged.debuggee.setup.stub.bytes.len() as u64;
    let copies: Vec<_> = session.copies().collect();
    let physical = physical.unwrap_or(registers.rip);
    // The latest copy counts where they overlap.
    let inside = copies.iter().rposition(|(base, _)| physical.wrapping_sub(*base) < len);
    let _ = write!(text, "at {:#x}: ", registers.rip);
    let _ = match inside.map(|index| (index, physical - copies[index].0)) {
        Some((0, offset)) => write!(text, "stub as loaded + {offset:#x}"),
        Some((_, offset)) => write!(text, "copy of the stub + {offset:#x}"),
        None => write!(text, "not in the stub"),
    };
    text += &name(debugged, inside.map(|index| physical - copies[index].0), physical);
    text.push('\n');
    for (index, (base, range)) in copies.iter().enumerate() {
        let what = if index == 0 { "stub as loaded" } else { "copy of the stub" };
        let _ =
            writeln!(text, "{what} at {base:#x}, seen at {:#x} to {:#x}", range.start, range.end);
    }
    let phase = match (session.end(), copies.len()) {
        (Some(_), _) => "over",
        (None, 1) => "before the stub runs from a copy of itself",
        (None, _) => "in the stub's copy: decompression and relocation",
    };
    let _ = writeln!(text, "phase {phase}");
    Ok(text)
}

/// What the place is called: a function of the stub with its source line, or at the end, where the kernel begins, one of the
/// kernel's.
fn name(debugged: &Debugged, offset: Option<u64>, physical: u64) -> String {
    let Debuggee { symbols, subject, case, setup, .. } = debugged.debuggee;
    let Some(offset) = offset else {
        let output = oracle::plan(subject, case, setup).map(|(_, prediction)| prediction.output);
        let Ok(output) = output else { return String::new() };
        let distance = physical.wrapping_sub(output);
        if distance >= subject.moved.len() as u64 {
            return String::new();
        }
        let linked = subject.link.map.wrapping_add(subject.link.physical);
        let named = symbols.in_kernel(linked.wrapping_add(distance));
        return named.map(|named| format!(", {named} of the kernel")).unwrap_or_default();
    };
    let function = symbols.in_stub(offset).map(|named| format!(", {named}")).unwrap_or_default();
    let line = symbols.line(offset).map(|line| format!(" ({line})")).unwrap_or_default();
    function + &line
}

/// `count` instructions from `address` on, or from the instruction pointer.
pub fn disassemble(
    debugged: &mut Debugged,
    address: Option<u64>,
    count: u64,
) -> Result<String, MachineError> {
    let registers = debugged.session.registers()?;
    let bits = bits(debugged, &registers)?;
    let mut address = address.unwrap_or(registers.rip);
    let mut text = String::new();
    for _ in 0..count.min(MOST) {
        let mut code = [0; LONGEST];
        let len = (1..=LONGEST)
            .rev()
            .find(|len| debugged.session.read(address, &mut code[..*len]).is_ok());
        let Some(len) = len else {
            let _ = writeln!(text, "{address:#x}: not mapped");
            break;
        };
        let mut decoder = Decoder::with_ip(bits, &code[..len], address, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let mut line = String::new();
        GasFormatter::new().format(&instruction, &mut line);
        let bytes: Vec<String> =
            code[..instruction.len().max(1)].iter().map(|byte| format!("{byte:02x}")).collect();
        let here = if address == registers.rip { "=>" } else { "  " };
        let _ = writeln!(text, "{here} {address:#x}: {:<30} {line}", bytes.join(" "));
        address = address.wrapping_add(instruction.len().max(1) as u64);
    }
    Ok(text)
}

/// 32 or 64: the kind of code that the CPU runs, as far as its code segment's descriptor is still what memory has.
fn bits(debugged: &Debugged, registers: &Registers) -> Result<u32, MachineError> {
    let word = debugged.debuggee.setup.word;
    if word == WordSize::Bits32 || registers.efer & EFER_LMA == 0 {
        return Ok(32);
    }
    let [_, cs, ..] = registers.selectors;
    let mut descriptor = [0; 8];
    let at = registers.gdtr.base.wrapping_add(u64::from(cs & !7));
    Ok(match debugged.session.read(at, &mut descriptor) {
        Ok(()) if u64::from_le_bytes(descriptor) & LONG_CODE == 0 => 32,
        _ => 64,
    })
}
