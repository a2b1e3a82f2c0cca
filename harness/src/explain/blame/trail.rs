// SPDX-License-Identifier: GPL-2.0-only
//! The blocks of code that ran: which of them wrote a register last, which came last of all, and which calls had not
//! returned. Nothing is guessed from the stack: calls and returns are seen.

use std::collections::HashMap;

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory};

use super::code::{self, Ran, Thing};
use super::copies::Copies;
use crate::image::WordSize;
use crate::machine::{Access, View};

/// The deepest stack that is kept; stubs do not recurse.
const DEEPEST: usize = 256;

/// So many blocks are remembered. Only code that changes itself all the time has more: what was seen of it is then forgotten.
const MOST: usize = 1 << 17;
/// So many blocks are found without a search: nearly all that run are among them.
const RECENT: usize = 1 << 12;

/// One block.
struct Block {
    address: u64,
    size: u32,
    /// When it ran last, as the number of blocks that had run; 0 if it never did.
    last_time: u64,
    code: Vec<u8>,
    bits: u32,
    /// The things that it changes, one bit for each.
    changes: u64,
    /// How it ends.
    end: FlowControl,
}

impl Block {
    fn contains(&self, address: u64) -> bool {
        (self.address..self.address + self.code.len() as u64).contains(&address)
    }

    fn instructions(&self) -> impl Iterator<Item = Instruction> + '_ {
        let options = iced_x86::DecoderOptions::NONE;
        let mut decoder = iced_x86::Decoder::with_ip(self.bits, &self.code, self.address, options);
        std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
    }

    fn ran(&self, instruction: &Instruction, copies: &Copies) -> Ran {
        let start = (instruction.ip() - self.address) as usize;
        Ran::new(&self.code[start..], self.bits, instruction.ip(), copies)
    }
}

/// A call that has not returned, or an interrupted block.
#[derive(Clone, Copy)]
struct Frame {
    block: usize,
    /// Where it will go on.
    returns_to: u64,
    interrupt: bool,
}

/// What ran.
pub struct Trail {
    word: WordSize,
    blocks: Vec<Block>,
    by_address: HashMap<u64, usize>,
    /// Some of those, by the lowest bits of their address.
    recent: Vec<Option<usize>>,
    /// How many have run.
    time: u64,
    last: Option<usize>,
    stack: Vec<Frame>,
    factory: InstructionInfoFactory,
}

impl Trail {
    /// Nothing has run.
    pub fn new(word: WordSize) -> Trail {
        Trail {
            word,
            blocks: Vec::new(),
            by_address: HashMap::new(),
            recent: vec![None; RECENT],
            time: 0,
            last: None,
            stack: Vec::new(),
            factory: InstructionInfoFactory::new(),
        }
    }

    /// A block is about to run.
    pub fn block(&mut self, address: u64, size: u32, view: &View) {
        let fits = |blocks: &[Block], number: usize| {
            (blocks[number].address, blocks[number].size) == (address, size)
        };
        self.time += 1;
        let slot = address as usize % RECENT;
        let recent = self.recent[slot].filter(|number| fits(&self.blocks, *number));
        let number = recent.unwrap_or_else(|| {
            let known = self.by_address.get(&address).copied();
            let known = known.filter(|number| fits(&self.blocks, *number));
            known.unwrap_or_else(|| self.learn(address, size, view))
        });
        self.recent[slot] = Some(number);
        self.blocks[number].last_time = self.time;
        if let Some(before) = self.last.replace(number) {
            self.follow(before, address);
        }
    }

    /// The stub runs from another place: what stands at an address may be something else.
    pub fn moved(&mut self) {
        self.by_address.clear();
        self.recent.fill(None);
    }

    /// The guest's handler is about to run.
    pub fn interrupted(&mut self) {
        if let Some(block) = self.last.take() {
            self.push(Frame { block, returns_to: 0, interrupt: true });
        }
    }

    fn learn(&mut self, address: u64, size: u32, view: &View) -> usize {
        let bits = code::bits(self.word, &view.registers(), view.ram());
        let physical = view.physical(address, Access::Read).unwrap_or(address);
        let code = view.ram().slice(physical, size as usize).unwrap_or_default().to_vec();
        let mut block =
            Block { address, size, last_time: 0, code, bits, changes: 0, end: FlowControl::Next };
        let instructions: Vec<Instruction> = block.instructions().collect();
        for instruction in &instructions {
            block.changes |= code::changes(instruction, &mut self.factory);
            block.end = instruction.flow_control();
        }
        if self.blocks.len() == MOST {
            self.blocks.clear();
            self.stack.clear();
            self.last = None;
            self.moved();
        }
        self.blocks.push(block);
        self.by_address.insert(address, self.blocks.len() - 1);
        self.blocks.len() - 1
    }

    /// The block at `address` follows `before`.
    fn follow(&mut self, before: usize, address: u64) {
        let block = &self.blocks[before];
        // Begun again in its middle.
        if block.contains(address) && address != block.address {
            return;
        }
        match block.end {
            FlowControl::Call | FlowControl::IndirectCall => {
                let returns_to = block.address + block.code.len() as u64;
                // A call of the next instruction finds out where it is, and never returns.
                if returns_to != address {
                    self.push(Frame { block: before, returns_to, interrupt: false });
                }
            }
            FlowControl::Return => {
                let interrupt = self.stack.iter().rposition(|frame| frame.interrupt);
                let frame = self.stack.iter().rposition(|frame| frame.returns_to == address);
                if let Some(frame) = frame.or(interrupt) {
                    self.stack.truncate(frame);
                }
            }
            _ => {}
        }
    }

    fn push(&mut self, frame: Frame) {
        if self.stack.len() == DEEPEST {
            self.stack.remove(0);
        }
        self.stack.push(frame);
    }

    /// Whether the last block is the one at `address`.
    pub fn is_last(&self, address: u64) -> bool {
        self.last.is_some_and(|last| self.blocks[last].address == address)
    }

    /// The last instruction of the last block: of a hand-off the jump.
    pub fn last(&self, copies: &Copies) -> Option<Ran> {
        let block = &self.blocks[self.last?];
        block.instructions().last().map(|instruction| block.ran(&instruction, copies))
    }

    /// The instruction that changed `thing` last, before the one at `end` of the last block.
    pub fn writer(&self, thing: Thing, end: u64, copies: &Copies) -> Option<Ran> {
        let changes = 1u64 << thing.0;
        let mut factory = InstructionInfoFactory::new();
        let mut blocks: Vec<&Block> =
            self.blocks.iter().filter(|block| block.changes & changes != 0).collect();
        blocks.sort_by_key(|block| std::cmp::Reverse(block.last_time));
        // The very last block may have ended before it got there; any other has run to its end.
        blocks.iter().take(2).find_map(|block| {
            let whole = block.last_time != self.time || !block.contains(end);
            let before = block.instructions().take_while(|i| whole || i.ip() != end);
            let writers = before.filter(|i| code::changes(i, &mut factory) & changes != 0);
            writers.last().map(|instruction| block.ran(&instruction, copies))
        })
    }

    /// The calls that have not returned, innermost first.
    pub fn calls(&self, copies: &Copies) -> Vec<Ran> {
        let frames = self.stack.iter().rev().filter(|frame| !frame.interrupt);
        frames
            .filter_map(|frame| {
                let block = &self.blocks[frame.block];
                block.instructions().last().map(|instruction| block.ran(&instruction, copies))
            })
            .collect()
    }
}
