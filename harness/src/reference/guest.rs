// SPDX-License-Identifier: GPL-2.0-only
//! Memory as the running stub sees it: what the loader left there, with boot_params as changed so far, and without
//! the places that the stub itself overwrites.

use super::inputs::Memory;
use super::page::{Page, SIZE};
use crate::image::WordSize;
use crate::range::Range;

/// The running stub's view of memory. Every error is the reason why nothing can be predicted.
#[derive(Clone)]
pub struct Guest<'a> {
    memory: &'a dyn Memory,
    /// Word size of the stub, to which its pointers are cut off.
    pub word: WordSize,
    /// Where boot_params lies.
    pub params_at: u64,
    /// boot_params as it is now.
    pub page: Page,
    overwritten: [Option<Range>; 2],
}

impl<'a> Guest<'a> {
    /// The view at the stub's entry. `overwritten` are the places of the stub: as loaded, and where it moves to.
    pub fn new(
        memory: &'a dyn Memory,
        word: WordSize,
        params_at: u64,
        overwritten: [Option<Range>; 2],
    ) -> Result<Guest<'a>, String> {
        let mut bytes = Box::new([0; SIZE]);
        let guest = |page| Guest { memory, word, params_at, page, overwritten };
        if !memory.read(params_at, &mut bytes[..]) {
            return Err(format!("boot_params at {params_at:#x} is not RAM"));
        }
        if overwritten.iter().flatten().any(|o| o.overlaps(Range::sized(params_at, SIZE as u64))) {
            return Err(format!("boot_params at {params_at:#x} lies where the stub does"));
        }
        Ok(guest(Page::new(bytes)))
    }

    /// `value` as the stub's `unsigned long`.
    pub fn long(&self, value: u64) -> u64 {
        match self.word {
            WordSize::Bits32 => value & 0xffff_ffff,
            WordSize::Bits64 => value,
        }
    }

    /// Fills `bytes` from `address` up. `what` is what the stub takes it for.
    pub fn read(&self, address: u64, bytes: &mut [u8], what: &str) -> Result<(), String> {
        let range = Range::sized(address, bytes.len() as u64);
        if !self.memory.read(address, bytes) {
            return Err(format!("{what} at {address:#x} is not RAM"));
        }
        if let Some(stub) = self.overwritten.iter().flatten().find(|o| o.overlaps(range)) {
            return Err(format!(
                "{what} at {address:#x} lies in {stub}, which the stub overwrites"
            ));
        }
        let params = Range::sized(self.params_at, SIZE as u64);
        if params.overlaps(range) {
            let common = Range::new(range.start.max(params.start), range.end.min(params.end));
            let to = (common.start - range.start) as usize;
            let from = (common.start - params.start) as usize;
            let len = common.len() as usize;
            bytes[to..to + len].copy_from_slice(&self.page.bytes()[from..from + len]);
        }
        Ok(())
    }

    fn array<const N: usize>(&self, address: u64, what: &str) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes, what)?;
        Ok(bytes)
    }

    /// The byte at `address`.
    pub fn u8(&self, address: u64, what: &str) -> Result<u8, String> {
        self.array(address, what).map(u8::from_le_bytes)
    }

    /// The two bytes at `address`.
    pub fn u16(&self, address: u64, what: &str) -> Result<u16, String> {
        self.array(address, what).map(u16::from_le_bytes)
    }

    /// The four bytes at `address`.
    pub fn u32(&self, address: u64, what: &str) -> Result<u32, String> {
        self.array(address, what).map(u32::from_le_bytes)
    }

    /// The eight bytes at `address`.
    pub fn u64(&self, address: u64, what: &str) -> Result<u64, String> {
        self.array(address, what).map(u64::from_le_bytes)
    }

    /// `len` bytes at `address`.
    pub fn vec(&self, address: u64, len: usize, what: &str) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; len];
        self.read(address, &mut bytes, what)?;
        Ok(bytes)
    }

    /// The bytes at `address` up to a NUL, at most `limit` of them, and whether there was one. Reads no further than the
    /// NUL.
    pub fn text(&self, address: u64, limit: usize, what: &str) -> Result<(Vec<u8>, bool), String> {
        const PIECE: u64 = 256;
        let mut text = Vec::new();
        while text.len() < limit {
            let at = address.wrapping_add(text.len() as u64);
            let piece = (PIECE - at % PIECE).min((limit - text.len()) as u64) as usize;
            let bytes = match self.vec(at, piece, what) {
                Ok(bytes) => bytes,
                Err(_) => vec![self.u8(at, what)?],
            };
            if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
                text.extend(&bytes[..end]);
                return Ok((text, true));
            }
            text.extend(bytes);
        }
        Ok((text, false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bytes;
    use super::*;

    #[test]
    fn boot_params_is_seen_as_it_is_now() {
        let memory = Bytes::new(0x1000, 0x3000);
        let mut guest = Guest::new(&memory, WordSize::Bits64, 0x2000, [None; 2]).unwrap();
        guest.page.put_u32(0, 0x1234_5678);
        assert_eq!(guest.u64(0x1ffc, "x"), Ok(0x1234_5678_0000_0000));
        assert_eq!(guest.u16(0x2002, "x"), Ok(0x1234));
    }

    #[test]
    fn the_stubs_own_places_and_holes_are_refused() {
        let memory = Bytes::new(0x1000, 0x8000);
        let stub = [Some(Range::new(0x4000, 0x5000)), None];
        let guest = Guest::new(&memory, WordSize::Bits64, 0x2000, stub).unwrap();
        assert!(guest.u32(0x3ffd, "x").unwrap_err().contains("overwrites"));
        assert!(guest.u32(0x3ffc, "x").is_ok());
        assert!(guest.u32(0x8ffe, "x").unwrap_err().contains("not RAM"));
        assert!(guest.u64(u64::MAX - 2, "x").unwrap_err().contains("not RAM"));
        assert!(Guest::new(&memory, WordSize::Bits64, 0x4800, stub).is_err());
    }

    #[test]
    fn text_ends_at_its_nul_even_where_memory_ends_behind_it() {
        let mut memory = Bytes::new(0x1000, 0x2000);
        memory.put(0x2ffd, b"ab\0");
        let guest = Guest::new(&memory, WordSize::Bits64, 0x1000, [None; 2]).unwrap();
        assert_eq!(guest.text(0x2ffd, 0x400, "x"), Ok((b"ab".to_vec(), true)));
        assert_eq!(guest.text(0x2ffd, 2, "x"), Ok((b"ab".to_vec(), false)));
        memory.put(0x2fff, b"c");
        let guest = Guest::new(&memory, WordSize::Bits64, 0x1000, [None; 2]).unwrap();
        assert!(guest.text(0x2ffd, 0x400, "x").is_err());
    }

    #[test]
    fn text_ends_at_its_limit_in_any_piece() {
        let mut memory = Bytes::new(0x1000, 0x2000);
        memory.put(0x2010, &[b'x'; 600]);
        let guest = Guest::new(&memory, WordSize::Bits64, 0x1000, [None; 2]).unwrap();
        assert_eq!(guest.text(0x2010, 300, "x"), Ok((vec![b'x'; 300], false)));
        assert_eq!(guest.text(0x2010, 600, "x"), Ok((vec![b'x'; 600], false)));
        assert_eq!(guest.text(0x2010, 601, "x"), Ok((vec![b'x'; 600], true)));
    }
}
