// SPDX-License-Identifier: GPL-2.0-only
//! Instructions: what they are, what they change, how they are shown.

use std::collections::BTreeMap;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Instruction,
    InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, RflagsBits,
};

use super::copies::Copies;
use crate::explain::symbols::Symbols;
use crate::image::{Image, WordSize};
use crate::machine::{EFER_LMA, Ram, Registers};
use crate::record::{Site, StoreKind};

/// The longest instruction.
pub const LONGEST: usize = 15;

/// What a CPU remembers that findings are about, as a number below 64: general registers, segments, flags, control
/// registers, descriptor tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thing(pub u8);

impl Thing {
    const SEGMENT: u8 = 16;
    const OTHERS: [&str; 8] =
        ["direction flag", "interrupt flag", "cr0", "cr3", "cr4", "gdtr", "idtr", "efer"];

    /// The thing that a finding calls by `name`.
    pub fn named(name: &str) -> Option<Thing> {
        let name = name.split('.').next().unwrap_or_default();
        let general = general_names(64).iter().zip(general_names(32)).zip(0..);
        let general = general.filter(|((wide, narrow), _)| [**wide, narrow].contains(&name));
        let segments = SEGMENTS.iter().zip(Thing::SEGMENT..).filter(|(known, _)| **known == name);
        let others = Thing::OTHERS.iter().zip(Thing::SEGMENT + 6..);
        let others = others.filter(|(known, _)| **known == name);
        let numbers = general.map(|(_, number)| number);
        numbers
            .chain(segments.map(|(_, number)| number))
            .chain(others.map(|(_, number)| number))
            .next()
            .map(Thing)
    }

    /// The general register that `register` is part of.
    pub fn general(register: Register) -> Option<Thing> {
        let full = register.full_register();
        let number = (full as u32).checked_sub(Register::RAX as u32)?;
        u8::try_from(number).ok().filter(|number| *number < Thing::SEGMENT).map(Thing)
    }

    /// What a report calls it.
    pub fn name(self, bits: u32) -> &'static str {
        let number = usize::from(self.0);
        match number {
            0..16 => general_names(bits)[number],
            16..22 => SEGMENTS[number - 16],
            _ => Thing::OTHERS.get(number - 22).copied().unwrap_or_default(),
        }
    }

    /// Its value.
    pub fn value(self, registers: &Registers) -> u64 {
        let number = usize::from(self.0);
        match number {
            0..16 => registers.general[number],
            16..22 => registers.selectors[number - 16].into(),
            22 => registers.rflags >> 10 & 1,
            23 => registers.rflags >> 9 & 1,
            24 => registers.cr0,
            25 => registers.cr3,
            26 => registers.cr4,
            27 => registers.gdtr.base,
            28 => registers.idtr.base,
            _ => registers.efer,
        }
    }
}

/// In encoding order, as in [`Registers`].
const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

fn general_names(bits: u32) -> &'static [&'static str; 16] {
    match bits {
        64 => &[
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ],
        _ => &[
            "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d",
            "r12d", "r13d", "r14d", "r15d",
        ],
    }
}

/// The things that `instruction` changes, one bit for each.
pub fn changes(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> u64 {
    let mut things = 0;
    let mut change = |number: u32| things |= 1 << number;
    for used in factory.info(instruction).used_registers() {
        let written =
            [OpAccess::Write, OpAccess::ReadWrite, OpAccess::CondWrite, OpAccess::ReadCondWrite];
        if !written.contains(&used.access()) {
            continue;
        }
        let register = used.register();
        match register {
            Register::ES
            | Register::CS
            | Register::SS
            | Register::DS
            | Register::FS
            | Register::GS => change(16 + register as u32 - Register::ES as u32),
            Register::CR0 => change(24),
            Register::CR3 => change(25),
            Register::CR4 => change(26),
            _ => {
                if let Some(Thing(number)) = Thing::general(register) {
                    change(number.into());
                }
            }
        }
    }
    let flags = instruction.rflags_modified();
    if flags & RflagsBits::DF != 0 {
        change(22);
    }
    if flags & RflagsBits::IF != 0 {
        change(23);
    }
    match instruction.mnemonic() {
        Mnemonic::Lgdt => change(27),
        Mnemonic::Lidt => change(28),
        Mnemonic::Wrmsr => change(29),
        _ => {}
    }
    things
}

/// The general registers from which `instruction` takes an address or a target.
pub fn leads(instruction: &Instruction) -> Vec<Thing> {
    let target = (instruction.op0_kind() == OpKind::Register
        && matches!(
            instruction.flow_control(),
            FlowControl::IndirectBranch | FlowControl::IndirectCall
        ))
    .then(|| instruction.op0_register());
    let string = match instruction.is_string_instruction() {
        true => vec![Register::RSI, Register::RDI],
        false => vec![instruction.memory_base(), instruction.memory_index()],
    };
    let mut things: Vec<Thing> =
        target.into_iter().chain(string).filter_map(Thing::general).collect();
    things.dedup();
    things
}

/// The general register that `instruction` adds to memory, or subtracts from it.
pub fn added(instruction: &Instruction) -> Option<Thing> {
    let adds = matches!(instruction.mnemonic(), Mnemonic::Add | Mnemonic::Sub)
        && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register;
    adds.then(|| Thing::general(instruction.op1_register())).flatten()
}

/// The width of instructions in the mode that a CPU is in: 32 or 64.
pub fn bits(word: WordSize, registers: &Registers, ram: &Ram) -> u32 {
    /// Present, and code.
    const CODE: u64 = 1 << 47 | 1 << 44 | 1 << 43;
    const LONG: u64 = 1 << 53;
    if word == WordSize::Bits32 || registers.efer & EFER_LMA == 0 {
        return 32;
    }
    let selector = u64::from(registers.selectors[1] & !7);
    let descriptor = ram.read_u64(registers.gdtr.base.wrapping_add(selector));
    match descriptor {
        // What is no such descriptor was overwritten after it had been loaded.
        Ok(descriptor) if descriptor & CODE == CODE && descriptor & LONG == 0 => 32,
        _ => 64,
    }
}

/// The instruction at the start of `bytes`, which run at `address`.
pub fn decode(bytes: &[u8], bits: u32, address: u64) -> Instruction {
    Decoder::with_ip(bits, bytes, address, DecoderOptions::NONE).decode()
}

/// An instruction that ran.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Where.
    pub address: u64,
    /// Its width: 32 or 64.
    pub bits: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its offset from the stub's first byte.
    pub offset: Option<u64>,
    /// The registers before it, where they are known.
    pub registers: Option<Registers>,
}

impl Ran {
    /// The instruction at `address`, with these bytes and more behind them.
    pub fn new(bytes: &[u8], bits: u32, address: u64, copies: &Copies) -> Ran {
        let len = decode(bytes, bits, address).len();
        let bytes = bytes[..len.clamp(1, bytes.len().max(1)).min(bytes.len())].to_vec();
        Ran { address, bits, offset: copies.offset(address, &bytes), bytes, registers: None }
    }

    /// It, taken apart.
    pub fn instruction(&self) -> Instruction {
        decode(&self.bytes, self.bits, self.address)
    }

    /// It, for a report.
    pub fn site(&self, image: &Image, symbols: &Symbols) -> Site {
        let instruction = self.instruction();
        let mut text = String::new();
        let mut formatter = GasFormatter::new();
        formatter.options_mut().set_rip_relative_addresses(true);
        formatter.options_mut().set_uppercase_hex(false);
        formatter.options_mut().set_branch_leading_zeros(false);
        formatter.format(&instruction, &mut text);
        let branch = matches!(
            instruction.flow_control(),
            FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
        );
        let target = self.offset.filter(|_| branch).map(|offset| {
            let distance = instruction.near_branch_target().wrapping_sub(self.address);
            offset.wrapping_add(distance)
        });
        if let Some(target) = target.and_then(|target| symbols.in_stub(target)) {
            text += &format!(" <{target}>");
        }
        Site {
            address: self.address,
            offset: self.offset,
            file_offset: self.offset.map(|at| at + image.header().setup_size() as u64),
            bytes: hex(&self.bytes),
            text,
            function: self
                .offset
                .and_then(|offset| symbols.in_stub(offset))
                .map(|named| named.to_string()),
            line: self.offset.and_then(|offset| symbols.line(offset)),
            uses: self.uses(&instruction),
        }
    }

    fn uses(&self, instruction: &Instruction) -> BTreeMap<String, String> {
        let Some(registers) = &self.registers else { return BTreeMap::new() };
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(instruction);
        let used = info.used_registers().iter().filter(|used| {
            !matches!(used.access(), OpAccess::Write | OpAccess::CondWrite | OpAccess::NoMemAccess)
        });
        used.filter_map(|used| Thing::general(used.register()))
            .map(|thing| {
                let value = format!("{:#x}", thing.value(registers));
                (thing.name(self.bits).to_owned(), value)
            })
            .collect()
    }

    /// What a store of this instruction does to memory.
    pub fn kind(&self) -> StoreKind {
        let instruction = self.instruction();
        match instruction.mnemonic() {
            Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => {
                StoreKind::Copied
            }
            Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
                StoreKind::Filled
            }
            Mnemonic::Add | Mnemonic::Adc | Mnemonic::Inc | Mnemonic::Xadd => StoreKind::Added,
            Mnemonic::Sub | Mnemonic::Sbb | Mnemonic::Dec => StoreKind::Subtracted,
            Mnemonic::Push | Mnemonic::Call | Mnemonic::Pushfq | Mnemonic::Pushfd => {
                StoreKind::Pushed
            }
            Mnemonic::And
            | Mnemonic::Or
            | Mnemonic::Xor
            | Mnemonic::Neg
            | Mnemonic::Not
            | Mnemonic::Xchg
            | Mnemonic::Bts
            | Mnemonic::Btr
            | Mnemonic::Btc
            | Mnemonic::Shl
            | Mnemonic::Shr => StoreKind::Changed,
            _ => StoreKind::Stored,
        }
    }
}

/// All general registers, the instruction pointer and the flags by name.
pub fn all(registers: &Registers, bits: u32) -> BTreeMap<String, String> {
    let names = general_names(bits);
    let count = if bits == 64 { 16 } else { 8 };
    let general = names.iter().zip(registers.general).take(count);
    let (pointer, flags) = if bits == 64 { ("rip", "rflags") } else { ("eip", "eflags") };
    general
        .map(|(name, value)| (*name, value))
        .chain([(pointer, registers.rip), (flags, registers.rflags)])
        .map(|(name, value)| (name.to_owned(), format!("{value:#x}")))
        .collect()
}

/// Bytes as findings show them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
