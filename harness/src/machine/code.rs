// SPDX-License-Identifier: GPL-2.0-only
//! Where the stub's code may run: in the image as loaded, and in copies that the stub makes of itself.
//!
//! Instructions belong to the stub when the same bytes stand in the image. The first fetch of anything
//! else is the hand-off, whatever its address: nothing here knows where the kernel should be.

use std::collections::HashSet;
use std::sync::Arc;

use memchr::memmem;

use super::fill::PAGE;
use super::ram::Ram;
use crate::range::Range;

/// So many bytes at a place must equal the image's before an unknown place counts as a copy.
const FIRST_LOOK: usize = 32;
/// So many, where a copy is known already.
const LATER_LOOK: usize = 8;

/// What a fetch touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A known copy of the stub.
    Stub,
    /// A copy of (part of) the stub that ran for the first time just now.
    NewCopy,
    /// Something else.
    Foreign,
}

/// The places from which the stub's code has run.
#[derive(Clone)]
pub struct Code {
    image: Arc<[u8]>,
    /// Offsets in `image` that can be code: not the compressed kernel, parts of which may stand there
    /// as they are.
    executable: [std::ops::Range<usize>; 2],
    copies: Vec<Copy>,
    pages: HashSet<u64>,
}

#[derive(Clone)]
struct Copy {
    /// Physical address of the image's first byte, or where it would be.
    base: u64,
    /// The part that is really there, as addresses.
    range: Range,
}

impl Code {
    /// The stub in `image`, loaded at `load`; its compressed kernel lies at `payload` (offsets).
    pub fn new(image: Arc<[u8]>, load: u64, payload: std::ops::Range<usize>) -> Code {
        let executable = [0..payload.start, payload.end..image.len()];
        let range = Range::sized(load, image.len() as u64);
        Code { image, executable, copies: vec![Copy { base: load, range }], pages: HashSet::new() }
    }

    /// Whether code of the stub ran from the page at `page` since the last new copy.
    pub fn has_run_from(&self, page: u64) -> bool {
        self.pages.contains(&page)
    }

    /// Decides what a fetch at the physical address `address` is, and remembers its page.
    pub fn fetch(&mut self, ram: &Ram, address: u64) -> Fetched {
        let page = address & !(PAGE - 1);
        if self.pages.contains(&page) {
            return Fetched::Stub;
        }
        if self.copies.iter().any(|copy| self.stands_at(copy.base, ram, address)) {
            self.pages.insert(page);
            return Fetched::Stub;
        }
        match self.find(ram, address) {
            Some(copy) => {
                self.copies.push(copy);
                self.pages.clear();
                Fetched::NewCopy
            }
            None => Fetched::Foreign,
        }
    }

    /// The copy that was found last: where the image's first byte is or would be, and the part that is really there.
    pub fn latest(&self) -> (u64, Range) {
        let copy = self.copies.last().expect("the image as loaded is the first");
        (copy.base, copy.range)
    }

    /// The copies so far, the image as loaded first: the address of the image's first byte, or where it would be, and the
    /// part that is there.
    pub fn copies(&self) -> impl Iterator<Item = (u64, Range)> + '_ {
        self.copies.iter().map(|copy| (copy.base, copy.range))
    }

    /// The places that code ran from, in the order of their first use.
    pub fn into_ranges(self) -> Vec<Range> {
        self.copies.into_iter().map(|copy| copy.range).collect()
    }

    fn stands_at(&self, base: u64, ram: &Ram, address: u64) -> bool {
        let offset = address.wrapping_sub(base);
        if offset >= self.image.len() as u64 {
            return false;
        }
        let expected = &self.image[offset as usize..];
        let expected = &expected[..LATER_LOOK.min(expected.len())];
        self.executable.iter().any(|part| part.contains(&(offset as usize)))
            && ram.slice(address, expected.len()) == Some(expected)
    }

    fn find(&self, ram: &Ram, address: u64) -> Option<Copy> {
        let needle = ram.slice(address, FIRST_LOOK)?;
        if needle.iter().all(|byte| *byte == needle[0]) {
            return None;
        }
        let offset = self.executable.iter().find_map(|part| {
            memmem::find(&self.image[part.clone()], needle).map(|at| part.start + at)
        })?;
        let base = address.wrapping_sub(offset as u64);
        Some(Copy { base, range: self.extent(ram, address, offset) })
    }

    /// How far RAM around `address` equals the image around `offset`.
    fn extent(&self, ram: &Ram, address: u64, offset: usize) -> Range {
        let region = ram.ranges().find(|r| r.contains(address)).expect("the needle was read there");
        let before = offset.min((address - region.start) as usize);
        let after = (self.image.len() - offset).min((region.end - address) as usize);
        let start = address - before as u64;
        let there = ram.slice(start, before + after).expect("bounded by the region");
        let image = &self.image[offset - before..offset + after];
        let same = |(a, b): (&u8, &u8)| a == b;
        let down =
            there[..before].iter().rev().zip(image[..before].iter().rev()).take_while(|p| same(*p));
        let up = there[before..].iter().zip(&image[before..]).take_while(|p| same(*p));
        Range::new(address - down.count() as u64, address + up.count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fill::{Fill, Tile};
    use super::*;

    const PAYLOAD: std::ops::Range<usize> = 0x1000..0x3000;

    fn image() -> Arc<[u8]> {
        (0..0x4000u64).step_by(8).flat_map(|at| Fill(1).word(at).to_le_bytes()).collect()
    }

    fn ram() -> Ram {
        Ram::new(&Tile::new(Fill(2)).unwrap(), &[Range::new(0, 0x10_0000)]).unwrap()
    }

    #[test]
    fn the_loaded_image_and_its_copies_are_stub() {
        let mut ram = ram();
        ram.write(0x1_0000, &image()).unwrap();
        ram.write(0x8_1000, &image()).unwrap();
        let mut code = Code::new(image(), 0x1_0000, PAYLOAD);
        assert_eq!(code.fetch(&ram, 0x1_0200), Fetched::Stub);
        assert!(code.has_run_from(0x1_0000));
        assert_eq!(code.fetch(&ram, 0x8_4123), Fetched::NewCopy);
        assert!(!code.has_run_from(0x1_0000), "the loaded image is left for good");
        assert_eq!(code.fetch(&ram, 0x8_4123), Fetched::Stub);
        assert_eq!(code.into_ranges()[1], Range::new(0x8_1000, 0x8_5000));
    }

    #[test]
    fn the_compressed_kernel_is_not_code() {
        let mut ram = ram();
        ram.write(0x5_0000, &image()[0x1800..0x1900]).unwrap();
        let mut code = Code::new(image(), 0x1_0000, PAYLOAD);
        assert_eq!(code.fetch(&ram, 0x5_0000), Fetched::Foreign);
    }

    #[test]
    fn what_overwrote_the_stub_is_foreign() {
        let mut ram = ram();
        ram.write(0x1_0000, &image()).unwrap();
        let mut code = Code::new(image(), 0x1_0000, PAYLOAD);
        ram.write(0x1_0000, &[0x90; 64]).unwrap();
        assert_eq!(code.fetch(&ram, 0x1_0000), Fetched::Foreign);
        assert_eq!(code.fetch(&ram, 0x9_0000), Fetched::Foreign, "untouched RAM");
    }
}
