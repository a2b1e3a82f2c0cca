// SPDX-License-Identifier: GPL-2.0-only
//! Follows a run through the stub's functions: who runs, and who called it.
//!
//! Calls are told by the last instruction of each block, and returns by where they go: a return ends the innermost
//! function that was called from there, and those inside it. What fits nothing, as the stub returns to places that it pushed
//! itself and jumps into other modes, is a move: one function takes the place of another.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::copies::Copies;
use super::decode::{Exit, bytes, decode};
use super::names::{Function, FunctionId, FunctionNames, Functions};
use crate::machine::{Access, End, Event, Outcome, Paging, Ram, Registers, Setup, View};

/// Calls nested deeper than this are counted in their callers: no stub comes near.
const DEEPEST: usize = 512;

/// How a function was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// By the loader.
    Entry,
    /// By a call.
    Call,
    /// By a jump out of another function, or by running on into it.
    Jump,
    /// By a return to where no call came from.
    Return,
    /// By an instruction that loads the code segment, such as the return into long mode.
    Far(&'static str),
    /// By the CPU, as the handler of a page fault.
    Fault,
}

impl How {
    /// The word for it; none for calls, as they are the rule.
    pub fn word(self) -> Option<&'static str> {
        match self {
            How::Entry => Some("entry"),
            How::Call => None,
            How::Jump => Some("jump"),
            How::Return => Some("ret"),
            How::Far(instruction) => Some(instruction),
            How::Fault => Some("page fault"),
        }
    }
}

/// A function that was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entered {
    /// Which.
    pub function: FunctionId,
    /// How.
    pub how: How,
}

/// What the begin of a block means: first functions end, then one begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// So many functions, the innermost ones, have ended.
    pub left: usize,
    /// What begins.
    pub entered: Option<Entered>,
    /// Instructions in the block.
    pub instructions: u32,
    /// The address of what led here: the last instruction of the block before, or the one that faulted.
    pub from: Option<u64>,
}

/// Where a run is.
pub struct Walk {
    copies: Copies,
    functions: Functions,
    known: HashMap<(u64, u32), Block, BuildHasherDefault<Mix>>,
    stack: Vec<Frame>,
    last: Option<(u64, u32, Block)>,
    /// The handler of a page fault is about to run, which then returns to this instruction.
    fault: Option<u64>,
}

#[derive(Clone, Copy)]
struct Block {
    instructions: u32,
    /// Offset of the last instruction.
    last: u32,
    exit: Exit,
    /// Bits of its code.
    bits: u32,
    /// The function with a name that it is in.
    named: Option<FunctionId>,
    /// Which of the copies.
    copy: Option<usize>,
}

struct Frame {
    function: FunctionId,
    copy: Option<usize>,
    return_to: Option<u64>,
}

impl Walk {
    /// At the entry of the stub in `setup`.
    pub fn new(setup: &Setup, names: Box<dyn FunctionNames>) -> Walk {
        Walk {
            copies: Copies::new(setup.stub.address, setup.stub.bytes.len() as u64),
            functions: Functions::new(names),
            known: HashMap::default(),
            stack: Vec::new(),
            last: None,
            fault: None,
        }
    }

    /// A block is about to run.
    pub fn block(&mut self, address: u64, size: u32, view: &View) -> Step {
        let block = match self.known.get(&(address, size)) {
            Some(block) => *block,
            None => self.learn(address, size, view),
        };
        let mut step = self.step(address, block);
        step.instructions = block.instructions;
        self.last = Some((address, size, block));
        step
    }

    /// Something else happened. Returns how many instructions of the last block did not run because of it.
    pub fn event(&mut self, event: &Event, view: &View) -> u32 {
        match event {
            Event::NewCopy { base, range } => {
                self.copies.add(*base, *range);
                self.known.clear();
                0
            }
            Event::PageFault { instruction, delivered, .. } => {
                self.fault = delivered.then_some(*instruction);
                self.not_run(*instruction, view.ram(), |linear| {
                    view.physical(linear, Access::Fetch).ok()
                })
            }
            _ => 0,
        }
    }

    /// Functions that are running.
    pub fn depth(&self) -> usize {
        self.stack.len()
    }

    /// The functions that have run.
    pub fn into_functions(self) -> Vec<Function> {
        self.functions.into_known()
    }

    /// The name of a function that has run.
    pub fn name(&self, function: FunctionId) -> &str {
        &self.functions.get(function).name
    }

    /// The function with a name at an address, and the distance from its begin; else the offset in the image; else the address.
    pub fn place(&mut self, address: u64) -> String {
        let Some(offset) = self.copies.offset(address) else { return format!("{address:#x}") };
        match self.functions.named(offset) {
            Some(id) => {
                let function = self.functions.get(id);
                match offset.wrapping_sub(function.start) {
                    0 => function.name.clone(),
                    distance => format!("{}+{distance:#x}", function.name),
                }
            }
            None => format!("stub+{offset:#x}"),
        }
    }

    /// The run is over. Returns how many instructions of the last block did not run because one of them could not.
    pub fn end(&self, outcome: &Outcome) -> u32 {
        let stopped = match outcome.end {
            // Was told by an event.
            End::Fault { address: Some(_), .. } => false,
            End::Fault { .. } | End::OutsideRam { .. } => true,
            _ => false,
        };
        if !stopped {
            return 0;
        }
        let Registers { rip, cr0, cr3, cr4, efer, .. } = outcome.registers;
        let paging = Paging { cr0, cr3, cr4, efer };
        let ram = &outcome.ram;
        self.not_run(rip, ram, |linear| paging.translate(ram, linear, Access::Fetch).ok())
    }

    /// How many instructions of the last block do not run because the one at `stopped_at` cannot.
    fn not_run(&self, stopped_at: u64, ram: &Ram, physical: impl Fn(u64) -> Option<u64>) -> u32 {
        let Some((address, size, block)) = self.last else { return 0 };
        let Some(before) = stopped_at.checked_sub(address).filter(|at| *at < size.into()) else {
            return 0;
        };
        let before = bytes(ram, physical(address), before as u32);
        block.instructions.saturating_sub(decode(before, address, block.bits).instructions)
    }

    fn learn(&mut self, address: u64, size: u32, view: &View) -> Block {
        let bits = view.code_bits();
        let physical = view.physical(address, Access::Fetch).ok();
        let decoded = decode(bytes(view.ram(), physical, size), address, bits);
        let place = self.copies.find(address);
        let block = Block {
            instructions: decoded.instructions,
            last: decoded.last,
            exit: decoded.exit,
            bits,
            named: place.and_then(|(_, offset)| self.functions.named(offset)),
            copy: place.map(|(copy, _)| copy),
        };
        self.known.insert((address, size), block);
        block
    }

    fn step(&mut self, address: u64, block: Block) -> Step {
        if let Some(from) = self.fault.take() {
            let entered = self.push(address, block, How::Fault, Some(from));
            return Step { entered, from: Some(from), ..Step::default() };
        }
        let from = self.last.map(|(address, _, block)| address.wrapping_add(block.last.into()));
        let step = Step { from, ..Step::default() };
        let Some((before, size, last)) = self.last else {
            return Step { entered: self.push(address, block, How::Entry, None), ..step };
        };
        let behind = before.wrapping_add(size.into());
        match last.exit {
            // A call to the next instruction only asks where it is.
            Exit::Call if address != behind => {
                Step { entered: self.push(address, block, How::Call, Some(behind)), ..step }
            }
            Exit::Call => step,
            Exit::Return => self.leave(address, block, How::Return, step),
            Exit::Far(instruction) => self.leave(address, block, How::Far(instruction), step),
            Exit::Jump => {
                let Some(top) = self.stack.last() else { return step };
                let elsewhere = match block.named {
                    Some(function) => function != top.function,
                    None => block.copy != top.copy,
                };
                if elsewhere { self.replace(address, block, How::Jump, step) } else { step }
            }
        }
    }

    /// Control returns to `address`.
    fn leave(&mut self, address: u64, block: Block, how: How, step: Step) -> Step {
        let caller = self.stack.iter().rposition(|frame| frame.return_to == Some(address));
        match caller {
            Some(index) => {
                let left = self.stack.len() - index;
                self.stack.truncate(index);
                Step { left, ..step }
            }
            None => self.replace(address, block, how, step),
        }
    }

    /// Another function takes the place of the innermost one.
    fn replace(&mut self, address: u64, block: Block, how: How, step: Step) -> Step {
        let return_to = self.stack.pop().and_then(|frame| frame.return_to);
        Step { left: 1, entered: self.push(address, block, how, return_to), ..step }
    }

    fn push(
        &mut self,
        address: u64,
        block: Block,
        how: How,
        return_to: Option<u64>,
    ) -> Option<Entered> {
        if self.stack.len() >= DEEPEST {
            return None;
        }
        let function = match (block.named, self.copies.offset(address)) {
            (Some(function), _) => function,
            (None, Some(offset)) => self.functions.entered(offset),
            (None, None) => self.functions.elsewhere(address),
        };
        self.stack.push(Frame { function, copy: block.copy, return_to });
        Some(Entered { function, how })
    }
}

/// A quick hash of addresses.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 29;
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }
}
