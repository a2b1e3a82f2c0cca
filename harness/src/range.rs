// SPDX-License-Identifier: GPL-2.0-only
//! Ranges of physical addresses.

/// A half-open range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// First address inside.
    pub start: u64,
    /// First address behind.
    pub end: u64,
}

impl Range {
    /// `[start, end)`.
    pub fn new(start: u64, end: u64) -> Range {
        Range { start, end }
    }

    /// `len` bytes from `start`.
    pub fn sized(start: u64, len: u64) -> Range {
        Range { start, end: start.saturating_add(len) }
    }

    /// Length in bytes.
    pub fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether no address is inside.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `address` is inside.
    pub fn contains(self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// Whether all of `other` is inside.
    pub fn covers(self, other: Range) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether any address is in both.
    pub fn overlaps(self, other: Range) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start, self.end)
    }
}
