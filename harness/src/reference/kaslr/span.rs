// SPDX-License-Identifier: GPL-2.0-only
//! Pieces of memory as KASLR keeps them: start and size, whose sum may wrap (`struct mem_vector`,
//! arch/x86/boot/compressed/misc.h).

/// A piece of memory; any bytes can be read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Span {
    /// First address behind, modulo 2^64.
    pub fn end(self) -> u64 {
        self.start.wrapping_add(self.size)
    }

    /// Whether the end is below the start.
    pub fn wraps(self) -> bool {
        self.start.checked_add(self.size).is_none()
    }

    /// `mem_overlaps()`. An empty span overlaps what it lies inside of.
    pub fn overlaps(self, other: Span) -> bool {
        self.end() > other.start && self.start < other.end()
    }
}

/// `ALIGN()`: wraps to 0 at the end of the address space.
pub fn align_up(address: u64, alignment: u64) -> u64 {
    address.wrapping_add(alignment - 1) & !(alignment - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
        Span { start: a.0, size: a.1 }.overlaps(Span { start: b.0, size: b.1 })
    }

    #[test]
    fn spans_that_touch_do_not_overlap() {
        assert!(!overlap((0x1000, 0x1000), (0x2000, 0x1000)));
        assert!(!overlap((0x2000, 0x1000), (0x1000, 0x1000)));
        assert!(overlap((0x1000, 0x1001), (0x2000, 0x1000)));
    }

    #[test]
    fn an_empty_span_overlaps_what_is_around_it() {
        assert!(overlap((0x1000, 0x1000), (0x1800, 0)));
        assert!(!overlap((0x1000, 0x1000), (0x1000, 0)));
        assert!(!overlap((0x1000, 0x1000), (0, 0)));
    }

    #[test]
    fn a_span_that_wraps_overlaps_only_what_is_below_its_end() {
        assert!(overlap((0x1000, 0x1000), (0x1800, u64::MAX)), "up to 0x17ff");
        assert!(!overlap((0x1000, 0x2000), (0x1800, u64::MAX - 0xfff)));
        assert!(overlap((0x0, 0x2000), (0x1800, u64::MAX - 0xfff)));
    }
}
