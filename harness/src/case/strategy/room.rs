// SPDX-License-Identifier: GPL-2.0-only
//! Free room in a case's RAM, for what a loader puts there.

use super::dice::Dice;
use crate::range::Range;

/// RAM, less what has been taken.
pub struct Room {
    free: Vec<Range>,
}

impl Room {
    /// The addresses of `ram` that are not in `taken`.
    pub fn new(ram: &[Range], taken: &[Range]) -> Room {
        let mut room = Room { free: ram.to_vec() };
        for range in taken {
            room.take(*range);
        }
        room
    }

    /// Takes `range`.
    pub fn take(&mut self, range: Range) {
        let parts = self.free.iter().flat_map(|free| {
            let below = Range::new(free.start, free.end.min(range.start));
            let above = Range::new(free.start.max(range.end), free.end);
            if free.overlaps(range) { [below, above] } else { [*free, Range::new(0, 0)] }
        });
        self.free = parts.filter(|part| !part.is_empty()).collect();
    }

    /// Takes `size` bytes at a multiple of `unit` inside `bounds`; `None` if there is no such room.
    pub fn find(&mut self, dice: &mut Dice, size: u64, unit: u64, bounds: Range) -> Option<Range> {
        let fitting: Vec<Range> = self
            .free
            .iter()
            .filter_map(|free| {
                let start = free.start.max(bounds.start).checked_next_multiple_of(unit)?;
                let part = Range::new(start, free.end.min(bounds.end));
                (part.len() >= size && !part.is_empty()).then_some(part)
            })
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let part = dice.of(&fitting);
        let steps = (part.len() - size) / unit + 1;
        let found = Range::sized(part.start + dice.below(steps) * unit, size);
        self.take(found);
        Some(found)
    }

    /// Takes the highest `size` bytes at a multiple of `unit` inside `bounds`, as loaders do that allocate
    /// from the top.
    pub fn highest(&mut self, size: u64, unit: u64, bounds: Range) -> Option<Range> {
        let found = self
            .free
            .iter()
            .filter_map(|free| {
                let start = free.end.min(bounds.end).checked_sub(size)? / unit * unit;
                (start >= free.start.max(bounds.start)).then(|| Range::sized(start, size))
            })
            .max()?;
        self.take(found);
        Some(found)
    }

    /// Takes the lowest `size` bytes at a multiple of `unit` inside `bounds`.
    pub fn lowest(&mut self, size: u64, unit: u64, bounds: Range) -> Option<Range> {
        let found = self
            .free
            .iter()
            .filter_map(|free| {
                let start = free.start.max(bounds.start).checked_next_multiple_of(unit)?;
                (start.checked_add(size)? <= free.end.min(bounds.end))
                    .then(|| Range::sized(start, size))
            })
            .min()?;
        self.take(found);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_not_found_again() {
        let ram = [Range::new(0, 0x1000), Range::new(0x2000, 0x5000)];
        let mut room = Room::new(&ram, &[Range::new(0x800, 0x3000)]);
        assert_eq!(room.free, [Range::new(0, 0x800), Range::new(0x3000, 0x5000)]);
        let all = Range::new(0, u64::MAX);
        assert_eq!(room.highest(0x400, 0x1000, all), Some(Range::new(0x4000, 0x4400)));
        assert_eq!(room.lowest(0x900, 0x100, all), Some(Range::new(0x3000, 0x3900)));
        assert_eq!(room.highest(0x1000, 0x1000, all), None);
        assert_eq!(
            room.lowest(0x800, 0x800, Range::new(0x100, u64::MAX)),
            Some(Range::new(0x4800, 0x5000))
        );
    }
}
