// SPDX-License-Identifier: GPL-2.0-only
//! The registers that gdb is told of: those of its own feature `org.gnu.gdb.i386.core` in its order, and the control
//! registers in one of ours. The floating-point registers are named because gdb insists, and never have a value: no stub
//! uses them.

use std::fmt::Write;
use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, RegId, Registers as GdbRegisters};

use crate::image::WordSize;
use crate::machine::{Register, Registers};

/// x86 of either word size, as gdbstub knows it.
pub enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = Bytes;
    type BreakpointKind = usize;
    type RegId = Number;
}

/// A register's number in the order of the target description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub usize);

impl RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Number, Option<NonZeroUsize>)> {
        Some((Number(id), None))
    }
}

/// All registers in a row; `None` where there is no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// The bytes, little-endian.
    pub bytes: Vec<Option<u8>>,
    /// The instruction pointer.
    pub rip: u64,
}

impl GdbRegisters for Bytes {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.rip
    }

    fn gdb_serialize(&self, write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().copied().for_each(write_byte);
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes = bytes.iter().copied().map(Some).collect();
        Ok(())
    }
}

/// What a register is in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    General(usize),
    InstructionPointer,
    Flags,
    Selector(usize),
    Float,
    Control(Control),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    Efer,
}

struct Row {
    name: String,
    bits: usize,
    /// gdb's type.
    ty: &'static str,
    kind: Kind,
}

/// The registers of a machine of one word size.
pub struct Layout {
    word: WordSize,
    rows: Vec<Row>,
}

impl Layout {
    /// The registers of a machine of `word` size.
    pub fn new(word: WordSize) -> Layout {
        let long = word == WordSize::Bits64;
        let (bits, plain) = if long { (64, "int64") } else { (32, "int32") };
        let row = |name: &str, bits, ty, kind| Row { name: name.to_owned(), bits, ty, kind };
        // gdb's order, and the number of each in encoding order.
        let general: &[(&str, usize)] = match long {
            true => &[
                ("ax", 0),
                ("bx", 3),
                ("cx", 1),
                ("dx", 2),
                ("si", 6),
                ("di", 7),
                ("bp", 5),
                ("sp", 4),
            ],
            false => &[
                ("ax", 0),
                ("cx", 1),
                ("dx", 2),
                ("bx", 3),
                ("sp", 4),
                ("bp", 5),
                ("si", 6),
                ("di", 7),
            ],
        };
        let letter = if long { "r" } else { "e" };
        let mut rows = Vec::new();
        for (name, number) in general {
            let ty = if ["bp", "sp"].contains(name) { "data_ptr" } else { plain };
            rows.push(row(&format!("{letter}{name}"), bits, ty, Kind::General(*number)));
        }
        for number in 8..if long { 16 } else { 8 } {
            rows.push(row(&format!("r{number}"), bits, plain, Kind::General(number)));
        }
        rows.push(row(&format!("{letter}ip"), bits, "code_ptr", Kind::InstructionPointer));
        rows.push(row("eflags", 32, "i386_eflags", Kind::Flags));
        // Numbers in encoding order: ES, CS, SS, DS, FS, GS.
        for (name, number) in [("cs", 1), ("ss", 2), ("ds", 3), ("es", 0), ("fs", 4), ("gs", 5)] {
            rows.push(row(name, 32, "int32", Kind::Selector(number)));
        }
        for number in 0..8 {
            rows.push(row(&format!("st{number}"), 80, "i387_ext", Kind::Float));
        }
        for name in ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"] {
            rows.push(row(name, 32, "int", Kind::Float));
        }
        for (name, control) in [
            ("cr0", Control::Cr0),
            ("cr2", Control::Cr2),
            ("cr3", Control::Cr3),
            ("cr4", Control::Cr4),
            ("efer", Control::Efer),
        ] {
            rows.push(row(name, bits, plain, Kind::Control(control)));
        }
        Layout { word, rows }
    }

    /// The target description (gdb manual, "Target Description Format").
    pub fn xml(&self) -> String {
        let architecture = match self.word {
            WordSize::Bits32 => "i386",
            WordSize::Bits64 => "i386:x86-64",
        };
        let flags = [
            ("CF", 0),
            ("PF", 2),
            ("AF", 4),
            ("ZF", 6),
            ("SF", 7),
            ("TF", 8),
            ("IF", 9),
            ("DF", 10),
            ("OF", 11),
        ];
        let mut xml = format!(
            "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">\
             <architecture>{architecture}</architecture><feature name=\"org.gnu.gdb.i386.core\">\
             <flags id=\"i386_eflags\" size=\"4\">"
        );
        for (name, bit) in flags {
            let _ = write!(xml, "<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>");
        }
        xml += "</flags>";
        let mut ours = false;
        for Row { name, bits, ty, kind } in &self.rows {
            if matches!(kind, Kind::Control(_)) && !ours {
                ours = true;
                xml += "</feature><feature name=\"relocheck.x86.control\">";
            }
            let _ = write!(xml, "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{ty}\"/>");
        }
        xml + "</feature></target>"
    }

    /// All registers, for gdb.
    pub fn all(&self, registers: &Registers) -> Bytes {
        let mut bytes = Vec::new();
        for row in &self.rows {
            let len = row.bits / 8;
            match value(row.kind, registers) {
                Some(value) => bytes.extend(value.to_le_bytes().into_iter().take(len).map(Some)),
                None => bytes.extend(std::iter::repeat_n(None, len)),
            }
        }
        Bytes { bytes, rip: registers.rip }
    }

    /// The value of one register, little-endian, if it has one.
    pub fn one(&self, number: Number, registers: &Registers) -> Option<Vec<u8>> {
        let row = self.rows.get(number.0)?;
        Some(value(row.kind, registers)?.to_le_bytes()[..row.bits / 8].to_vec())
    }

    /// Which register of the machine this is, if it can be set, and the value that `bytes` are.
    pub fn settable(&self, number: Number, bytes: &[u8]) -> Option<(Register, u64)> {
        let row = self.rows.get(number.0)?;
        let register = match row.kind {
            Kind::General(number) => Register::General(number),
            Kind::InstructionPointer => Register::InstructionPointer,
            Kind::Flags => Register::Flags,
            Kind::Selector(_) | Kind::Float | Kind::Control(_) => return None,
        };
        let mut value = [0; 8];
        value.get_mut(..row.bits / 8)?.copy_from_slice(bytes.get(..row.bits / 8)?);
        Some((register, u64::from_le_bytes(value)))
    }

    /// Where each register's bytes are in a row of all.
    pub fn parts(&self) -> impl Iterator<Item = (Number, std::ops::Range<usize>)> + '_ {
        let mut start = 0;
        self.rows.iter().enumerate().map(move |(number, row)| {
            let from = start;
            start += row.bits / 8;
            (Number(number), from..start)
        })
    }
}

fn value(kind: Kind, registers: &Registers) -> Option<u64> {
    Some(match kind {
        Kind::General(number) => registers.general[number],
        Kind::InstructionPointer => registers.rip,
        Kind::Flags => registers.rflags,
        Kind::Selector(number) => registers.selectors[number].into(),
        Kind::Float => return None,
        Kind::Control(Control::Cr0) => registers.cr0,
        Kind::Control(Control::Cr2) => registers.cr2,
        Kind::Control(Control::Cr3) => registers.cr3,
        Kind::Control(Control::Cr4) => registers.cr4,
        Kind::Control(Control::Efer) => registers.efer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_where_gdb_expects_them() {
        let registers = Registers {
            general: std::array::from_fn(|number| 0x1000 + number as u64),
            rip: 0x1234_5678,
            rflags: 0x246,
            selectors: [1, 2, 3, 4, 5, 6],
            cr4: 0x20,
            ..Registers::default()
        };
        let long = Layout::new(WordSize::Bits64);
        // amd64-tdep.h: RDI is 5, R15 is 15, RIP 16, EFLAGS 17, CS 18.
        for (number, expected) in [(1, 0x1003), (5, 0x1007), (15, 0x100f), (16, 0x1234_5678)] {
            let value = long.one(Number(number), &registers).unwrap();
            assert_eq!(value, u64::to_le_bytes(expected), "{number}");
        }
        assert_eq!(long.one(Number(18), &registers).unwrap(), [2, 0, 0, 0]);
        assert_eq!(long.one(Number(24), &registers), None, "st0");
        let short = Layout::new(WordSize::Bits32);
        // i386-tdep.h: ESP is 4, EIP 8, EFLAGS 9, GS 15.
        assert_eq!(short.one(Number(4), &registers).unwrap(), [4, 0x10, 0, 0]);
        assert_eq!(short.one(Number(8), &registers).unwrap(), 0x1234_5678u32.to_le_bytes());
        assert_eq!(short.one(Number(15), &registers).unwrap(), [6, 0, 0, 0]);
        assert_eq!(short.one(Number(1000), &registers), None);
        let all = long.all(&registers);
        for (number, part) in long.parts() {
            let bytes: Option<Vec<u8>> = all.bytes[part].iter().copied().collect();
            assert_eq!(bytes, long.one(number, &registers), "{number:?}");
        }
    }

    #[test]
    fn only_what_the_machine_can_set_is_settable() {
        let layout = Layout::new(WordSize::Bits64);
        let five = 5u64.to_le_bytes();
        assert_eq!(layout.settable(Number(1), &five), Some((Register::General(3), 5)));
        assert_eq!(layout.settable(Number(17), &five), Some((Register::Flags, 5)));
        for number in [18, 24, 40, 99] {
            assert_eq!(layout.settable(Number(number), &five), None);
        }
        assert_eq!(layout.settable(Number(1), &five[..3]), None);
    }

    #[test]
    fn the_description_is_well_formed() {
        for word in [WordSize::Bits32, WordSize::Bits64] {
            let xml = Layout::new(word).xml();
            let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
            let document = roxmltree::Document::parse_with_options(&xml, options).unwrap();
            let names: Vec<_> =
                document.descendants().filter_map(|node| node.attribute("bitsize")).collect();
            assert_eq!(names.len(), Layout::new(word).rows.len());
        }
    }
}
