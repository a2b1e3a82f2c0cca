// SPDX-License-Identifier: GPL-2.0-only
//! The places that the kernel fits into, counted (`__process_mem_region()`, `store_slot_info()`,
//! `slots_fetch_random()`, arch/x86/boot/compressed/kaslr.c).

use super::span::{Span, align_up};

/// The stub keeps no more areas.
pub const MOST_AREAS: usize = 100;
const GIB: u64 = 1 << 30;
/// A stub that has compared so often is taken to go round in a circle.
const MOST_COMPARISONS: u64 = 1 << 26;

/// Places at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Physical address of the first.
    pub start: u64,
    /// How many there are.
    pub count: u64,
}

/// The search for areas, and what it found so far.
pub struct Slots<'a> {
    /// What must not be used, in the order in which the stub asks.
    pub avoided: &'a [Span],
    /// First address that may be used.
    pub minimum: u64,
    /// First address that may not.
    pub limit: u64,
    /// Distance of two places in bytes.
    pub alignment: u64,
    /// Room that the kernel needs, in bytes.
    pub needed: u64,
    /// Pages of 1 GiB that have to stay free.
    pub gib_pages: u64,
    /// All bits that a count may have: the stub's machine word.
    pub word_mask: u64,
    /// What was found.
    pub areas: Vec<Area>,
    /// Comparisons made so far.
    pub comparisons: u64,
}

impl Slots<'_> {
    /// Whether there is no room for another area.
    pub fn is_full(&self) -> bool {
        self.areas.len() == MOST_AREAS
    }

    /// Adds what is usable of one region.
    ///
    /// # Errors
    ///
    /// The stub would not come to an end.
    pub fn add_region(&mut self, entry: Span) -> Result<(), String> {
        let mut start = entry.start.max(self.minimum);
        let end = entry.end().min(self.limit);
        while !self.is_full() {
            start = align_up(start, self.alignment);
            let size = end.checked_sub(start).filter(|size| *size >= self.needed);
            let Some(size) = size else { return Ok(()) };
            self.comparisons += self.avoided.len() as u64;
            if self.comparisons > MOST_COMPARISONS {
                return Err("the stub's search for memory has no end".into());
            }
            let Some(obstacle) = self.obstacle(Span { start, size }) else {
                self.store_around_gib_pages(Span { start, size });
                return Ok(());
            };
            if obstacle.start >= start.wrapping_add(self.needed) {
                self.store_around_gib_pages(Span { start, size: obstacle.start - start });
            }
            start = obstacle.end();
        }
        Ok(())
    }

    /// Of all obstacles in `free` the one that begins lowest; the first listed of those that begin together.
    fn obstacle(&self, free: Span) -> Option<Span> {
        self.avoided
            .iter()
            .filter(|avoided| free.overlaps(**avoided))
            .min_by_key(|avoided| avoided.start)
            .copied()
    }

    /// `process_gb_huge_pages()`.
    fn store_around_gib_pages(&mut self, region: Span) {
        let first = align_up(region.start, GIB);
        let last = region.end() & !(GIB - 1);
        if self.gib_pages == 0 || first >= last {
            return self.store(region);
        }
        if first >= region.start.wrapping_add(self.needed) {
            self.store(Span { start: region.start, size: first - region.start });
        }
        let pages = self.gib_pages.min((last - first) / GIB);
        self.gib_pages -= pages;
        let last = first + pages * GIB;
        if region.end() >= last.wrapping_add(self.needed) {
            self.store(Span { start: last, size: region.end() - last });
        }
    }

    fn store(&mut self, region: Span) {
        if !self.is_full() {
            let count = 1 + (region.size - self.needed) / self.alignment;
            self.areas.push(Area { start: region.start, count: count & self.word_mask });
        }
    }
}

/// The place with this number, counted through all areas.
pub fn place(areas: &[Area], alignment: u64, mut number: u64) -> Option<u64> {
    for area in areas {
        if number < area.count {
            return Some(area.start.wrapping_add(number.wrapping_mul(alignment)));
        }
        number -= area.count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots<'a>(avoided: &'a [Span]) -> Slots<'a> {
        Slots {
            avoided,
            minimum: 0,
            limit: u64::MAX,
            alignment: 0x20,
            needed: 0x50,
            gib_pages: 0,
            word_mask: u64::MAX,
            areas: Vec::new(),
            comparisons: 0,
        }
    }

    fn span(start: u64, end: u64) -> Span {
        Span { start, size: end - start }
    }

    fn found(region: Span, avoided: &[Span]) -> Vec<(u64, u64)> {
        let mut slots = slots(avoided);
        slots.add_region(region).unwrap();
        slots.areas.iter().map(|area| (area.start, area.count)).collect()
    }

    #[test]
    fn a_free_region_has_a_slot_per_alignment() {
        assert_eq!(found(span(0x10, 0x70), &[]), [(0x20, 1)]);
        assert_eq!(found(span(0x10, 0x8f), &[]), [(0x20, 1)]);
        assert_eq!(found(span(0x10, 0x90), &[]), [(0x20, 2)]);
        assert_eq!(found(span(0x10, 0x6f), &[]), []);
    }

    #[test]
    fn obstacles_split_a_region_lowest_first() {
        let avoided = [span(0x200, 0x201), span(0x70, 0x91)];
        let expected =
            [(0x20, 1), (0xa0, 1 + (0x160 - 0x50) / 0x20), (0x220, 1 + (0xe0 - 0x50) / 0x20)];
        assert_eq!(found(span(0x20, 0x300), &avoided), expected);
        assert_eq!(found(span(0x20, 0xef), &[span(0x6f, 0x91)]), [], "one byte short");
    }

    #[test]
    fn an_empty_obstacle_splits_what_is_around_it() {
        let empty = [span(0x101, 0x101)];
        assert_eq!(
            found(span(0x20, 0x200), &empty),
            [(0x20, 1 + (0xe1 - 0x50) / 0x20), (0x120, 5)]
        );
    }

    #[test]
    fn minimum_and_limit_cut_a_region() {
        let mut slots = slots(&[]);
        (slots.minimum, slots.limit) = (0x60, 0xd0);
        slots.add_region(span(0x20, 0x300)).unwrap();
        assert_eq!(slots.areas, [Area { start: 0x60, count: 2 }]);
    }

    #[test]
    fn gib_pages_are_left_free_first_ones_first() {
        let around = |pages, region| {
            let mut slots = slots(&[]);
            slots.gib_pages = pages;
            slots.add_region(region).unwrap();
            let areas: Vec<_> = slots.areas.iter().map(|a| (a.start, a.count)).collect();
            (areas, slots.gib_pages)
        };
        let count = |size: u64| 1 + (size - 0x50) / 0x20;
        // From 0.5 GiB to 3.25 GiB there are two whole pages.
        let region = span(GIB / 2, 3 * GIB + GIB / 4);
        let head = (GIB / 2, count(GIB / 2));
        let tail = (3 * GIB, count(GIB / 4));
        assert_eq!(around(2, region), (vec![head, tail], 0));
        assert_eq!(around(5, region), (vec![head, tail], 3));
        assert_eq!(around(1, region), (vec![head, (2 * GIB, count(GIB + GIB / 4))], 0));
        assert_eq!(around(1, span(GIB / 2, GIB)), (vec![head], 1), "no whole page");
        let whole = (GIB / 2, count(2 * GIB + 3 * (GIB / 4)));
        assert_eq!(around(0, region), (vec![whole], 0), "none to be left free");
        assert_eq!(around(9, span(GIB, 2 * GIB)), (vec![], 8), "nothing is left");
    }

    #[test]
    fn a_hundred_areas_are_all() {
        let avoided: Vec<_> = (1..200).map(|i| span(i * 0x100, i * 0x100 + 1)).collect();
        let mut slots = slots(&avoided);
        slots.add_region(span(0, 0x1_0000)).unwrap();
        assert_eq!(slots.areas.len(), 100);
        assert!(slots.is_full());
    }

    #[test]
    fn a_search_in_circles_ends() {
        // What is left wraps to 0 when it is aligned, too small to be stored.
        let avoided = [span(0x30, u64::MAX); 3];
        let mut slots = slots(&avoided);
        slots.comparisons = MOST_COMPARISONS - 1000;
        assert!(slots.add_region(span(0x20, 0x200)).unwrap_err().contains("no end"));
        let avoided = [span(0x1000, 0x1001); 3];
        let mut slots = self::slots(&avoided);
        slots.comparisons = MOST_COMPARISONS - 3;
        assert!(slots.add_region(span(0x20, 0x70)).is_ok(), "as often as can be");
        assert!(slots.add_region(span(0x20, 0x70)).is_err());
    }

    #[test]
    fn places_are_numbered_through_all_areas() {
        let areas = [Area { start: 0x20, count: 2 }, Area { start: 0x200, count: 3 }];
        let addresses: Vec<_> = (0..6).map(|number| place(&areas, 0x20, number)).collect();
        assert_eq!(
            addresses,
            [Some(0x20), Some(0x40), Some(0x200), Some(0x220), Some(0x240), None]
        );
    }
}
