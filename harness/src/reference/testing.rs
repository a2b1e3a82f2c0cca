// SPDX-License-Identifier: GPL-2.0-only
//! Memory for the unit tests of the reference.

use super::console::Console;
use super::guest::Guest;
use super::inputs::Memory;
use crate::image::WordSize;

/// Zeroed RAM in one piece.
pub struct Bytes {
    start: u64,
    bytes: Vec<u8>,
}

impl Bytes {
    pub fn new(start: u64, len: usize) -> Bytes {
        Bytes { start, bytes: vec![0; len] }
    }

    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - self.start) as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl Memory for Bytes {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let found = address
            .checked_sub(self.start)
            .and_then(|at| self.bytes.get(at as usize..)?.get(..bytes.len()));
        if let Some(found) = found {
            bytes.copy_from_slice(found);
        }
        found.is_some()
    }
}

/// Writes the memory map of the boot_params at `params`: start, size and type of each entry.
pub fn e820_table(memory: &mut Bytes, params: u64, entries: &[(u64, u64, u32)]) {
    memory.put(params + 0x1e8, &[entries.len() as u8]);
    for (index, (start, size, kind)) in entries.iter().enumerate() {
        let at = params + 0x2d0 + index as u64 * 20;
        memory.put(at, &start.to_le_bytes());
        memory.put(at + 8, &size.to_le_bytes());
        memory.put(at + 16, &kind.to_le_bytes());
    }
}

/// Where [`guest`] looks for boot_params.
pub const PARAMS: u64 = 0x1_0000;

/// The stub's view of `memory`, with boot_params at [`PARAMS`] and nothing overwritten.
pub fn guest(memory: &Bytes, word: WordSize) -> Guest<'_> {
    Guest::new(memory, word, PARAMS, [None; 2]).unwrap()
}

/// A console that is on if boot_params describe a screen, and that is not verbose.
pub fn quiet(guest: &Guest) -> Console {
    Console::new(&guest.page, false)
}

/// Adds what makes the bytes' sum 0 at `at`.
pub fn checksum(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[at] = bytes[at].wrapping_sub(sum);
}
