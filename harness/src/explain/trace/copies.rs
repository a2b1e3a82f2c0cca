// SPDX-License-Identifier: GPL-2.0-only
//! Which byte of the image an address shows: the stub moves itself, and a function is the same one in each of its copies.

use crate::range::Range;

/// The image as loaded, and the copies from which the stub's code has run.
#[derive(Clone, Debug)]
pub struct Copies {
    len: u64,
    copies: Vec<(u64, Range)>,
}

impl Copies {
    /// An image of `len` bytes, loaded at `load`.
    pub fn new(load: u64, len: u64) -> Copies {
        Copies { len, copies: vec![(load, Range::sized(load, len))] }
    }

    /// A new copy: where the image's first byte is or would be, and the part that is there.
    pub fn add(&mut self, base: u64, range: Range) {
        self.copies.push((base, range));
    }

    /// The copy that `address` is in, and its offset in the image. The copy that was made last counts where several lie at a
    /// place, and one that is certain before one whose bytes have changed.
    pub fn find(&self, address: u64) -> Option<(usize, u64)> {
        let copies = || self.copies.iter().enumerate().rev();
        let sure = copies().find(|(_, (_, range))| range.contains(address));
        let near = || copies().find(|(_, (base, _))| address.wrapping_sub(*base) < self.len);
        sure.or_else(near).map(|(number, (base, _))| (number, address.wrapping_sub(*base)))
    }

    /// The offset in the image of the byte at `address`.
    pub fn offset(&self, address: u64) -> Option<u64> {
        self.find(address).map(|(_, offset)| offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_copy_counts_and_a_certain_one_before_others() {
        let mut copies = Copies::new(0x1000, 0x1000);
        assert_eq!(copies.find(0x1fff), Some((0, 0xfff)));
        assert_eq!(copies.find(0x2000), None);
        // A piece of the image in low memory, and a copy of all that overlaps the image as loaded.
        copies.add(0x8000 - 0x400, Range::new(0x8000, 0x8100));
        copies.add(0x1800, Range::new(0x1800, 0x2700));
        assert_eq!(copies.find(0x8010), Some((1, 0x410)));
        assert_eq!(copies.find(0x1900), Some((2, 0x100)));
        assert_eq!(copies.find(0x2780), Some((2, 0xf80)), "bytes there have changed");
        assert_eq!(copies.find(0x1100), Some((0, 0x100)));
    }
}
