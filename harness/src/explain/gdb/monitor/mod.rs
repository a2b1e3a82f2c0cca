// SPDX-License-Identifier: GPL-2.0-only
//! The commands behind gdb's `monitor`: what relocheck knows of the run and gdb does not.

mod memory;
mod place;

use std::fmt::Write;

use super::target::Debugged;
use crate::campaign;
use crate::machine::{End, MachineError};
use crate::report::judgement_text;

const HELP: &str = "\
where                      position, mode, and where in the stub this is, by name
position                   how many instructions have run
seek N                     go to position N; gdb then needs `maintenance flush register-cache`
disassemble [ADDR] [N]     N instructions in the mode that the CPU is in, 32 or 64 bits
pagetables ADDR            how ADDR is translated, entry by entry
e820                       the memory map in boot_params, as it is now
reloc ADDR                 the relocation that changes ADDR: its entry, and the value before and after
faults                     the page faults so far
verdict                    what the oracles say of this case
help                       this
";

/// Does what `line` says, and returns what to print. A line that makes no sense is answered, not refused.
pub fn run(debugged: &mut Debugged, line: &str) -> Result<String, MachineError> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((name, arguments)) = words.split_first() else { return Ok(HELP.to_owned()) };
    let numbers: Option<Vec<u64>> = arguments.iter().map(|word| number(word)).collect();
    let Some(numbers) = numbers else {
        return Ok(format!("{name}: expected numbers such as 0x1000000, found {line:?}\n"));
    };
    match (*name, numbers.as_slice()) {
        ("help", []) => Ok(HELP.to_owned()),
        ("where", []) => place::place(debugged),
        ("position", []) => Ok(format!("{}\n", debugged.session.position())),
        ("seek", [position]) => place::seek(debugged, *position),
        ("disassemble", []) => place::disassemble(debugged, None, 8),
        ("disassemble", [address]) => place::disassemble(debugged, Some(*address), 8),
        ("disassemble", [address, count]) => place::disassemble(debugged, Some(*address), *count),
        ("pagetables", [address]) => memory::page_tables(debugged, *address),
        ("e820", []) => Ok(memory::e820(debugged)),
        ("reloc", [address]) => Ok(memory::relocation(debugged, *address)),
        ("faults", []) => Ok(faults(debugged)),
        ("verdict", []) => Ok(verdict(debugged)),
        _ => Ok(format!("what is {line:?}? There are:\n{HELP}")),
    }
}

/// How a run ended, in a few words.
pub fn end_text(end: &End) -> String {
    match end {
        End::HandOff => "hand-off, the next instruction is the first that is not the stub's".into(),
        End::Halted => "halt with interrupts off".into(),
        End::Fault { vector, address: None } => format!("exception {vector} without a handler"),
        End::Fault { vector, address: Some(address) } => {
            format!("exception {vector} without a handler, in the page at {address:#x}")
        }
        End::OutsideRam { address, access } => format!("{access} at {address:#x}, without RAM"),
        End::Budget { blocks } => format!("budget of {blocks} blocks used up"),
        End::Unsupported(what) => format!("cannot be emulated: {what}"),
    }
}

fn faults(debugged: &Debugged) -> String {
    let mut text = String::new();
    for (position, fault) in debugged.session.faults() {
        let taken = if fault.delivered { "taken by the guest's handler" } else { "not taken" };
        let _ = writeln!(
            text,
            "position {position}: page at {:#x}, error code {:#x}, {taken}",
            fault.address, fault.error_code
        );
    }
    if text.is_empty() { "no page faults so far\n".to_owned() } else { text }
}

/// Of another machine: this one may be anywhere, and changed.
fn verdict(debugged: &Debugged) -> String {
    let debuggee = debugged.debuggee;
    let run = campaign::run(debuggee.engine, debuggee.subject, debuggee.case);
    let text = judgement_text(debuggee.case, &run.judgement);
    let mut text = anstream::adapter::strip_str(&text).to_string();
    if debugged.session.is_edited() {
        text += "This is of the case as it is in the file: you have changed memory or registers here.\n";
    }
    text
}

/// A number, decimal or with 0x.
fn number(word: &str) -> Option<u64> {
    let (digits, radix) = match word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    // from_str_radix takes a sign.
    let plain = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_plain() {
        assert_eq!(number("0x1f"), Some(31));
        assert_eq!(number("12"), Some(12));
        for nonsense in ["", "0x", "-1", "+1", "1f", "0x-1", "99999999999999999999", "é"] {
            assert_eq!(number(nonsense), None, "{nonsense}");
        }
    }
}
