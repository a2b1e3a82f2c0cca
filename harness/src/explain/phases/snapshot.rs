// SPDX-License-Identifier: GPL-2.0-only
//! Which pages of RAM changed between two moments of a run.

use std::collections::HashMap;

use crate::machine::{PAGE, Ram};
use crate::range::Range;

/// What RAM held at the last moment that was looked at.
#[derive(Default)]
pub struct Snapshot {
    digests: HashMap<u64, u64>,
}

impl Snapshot {
    /// The pages that changed since the last call; since nobody had written anything, for the first.
    pub fn changed(&mut self, ram: &Ram) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for page in ram.written_pages() {
            let Some(bytes) = ram.slice(page, PAGE as usize) else { continue };
            let digest = digest(bytes);
            let before = self.digests.insert(page, digest);
            let same = match before {
                Some(before) => before == digest,
                None => ram.fill().page(page) == bytes,
            };
            if same {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == page => last.end = page.saturating_add(PAGE),
                _ => ranges.push(Range::sized(page, PAGE)),
            }
        }
        ranges
    }
}

/// A quick digest of a page.
fn digest(page: &[u8]) -> u64 {
    page.chunks_exact(8).fold(0, |digest: u64, word| {
        let word = word.first_chunk().copied().map_or(0, u64::from_le_bytes);
        (digest.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Fill, Tile};

    #[test]
    fn pages_count_as_changed_when_their_bytes_do() {
        let tile = Tile::new(Fill(5)).unwrap();
        let mut ram = Ram::new(&tile, &[Range::new(0, 0x10_0000)]).unwrap();
        let mut snapshot = Snapshot::default();
        assert_eq!(snapshot.changed(&ram), []);
        ram.write(0x2ff8, &[1; 16]).unwrap();
        ram.write(0x8000, &[1]).unwrap();
        let page = |start, end| Range::new(start, end);
        assert_eq!(snapshot.changed(&ram), [page(0x2000, 0x4000), page(0x8000, 0x9000)]);
        ram.write(0x8000, &[1]).unwrap();
        ram.write(0x3000, &[2]).unwrap();
        assert_eq!(snapshot.changed(&ram), [page(0x3000, 0x4000)]);
        assert_eq!(snapshot.changed(&ram), []);
    }

    #[test]
    fn the_order_of_words_counts() {
        let mut page = [0; PAGE as usize];
        page[0] = 1;
        let first = digest(&page);
        page.swap(0, 8);
        assert_ne!(first, digest(&page));
    }
}
