// SPDX-License-Identifier: GPL-2.0-only
//! One range of guest RAM in the host's memory.
//!
//! All of it is reserved at once, which costs nothing, and becomes real tile by tile when it is touched:
//! the host bounds the number of mappings of a process (vm.max_map_count), and a machine may have terabytes
//! of RAM of which it uses some megabytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::fill::{PAGE, TILE};
use crate::range::Range;

const FLAGS: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

/// A range of RAM.
pub struct Region {
    range: Range,
    host: *mut u8,
    file: Arc<File>,
    /// One bit for each tile of which the region has a part: whether it is mapped.
    real: Box<[AtomicU64]>,
    mapping: Mutex<()>,
}

impl Region {
    /// RAM at `range`, which is page-aligned, filled from `file`, which holds one tile.
    pub fn new(file: Arc<File>, range: Range) -> io::Result<Region> {
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let host = unsafe {
            let len = range.len() as usize;
            rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), FLAGS)?
        };
        let tiles = range.end.div_ceil(TILE) - range.start / TILE;
        let real = (0..tiles.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Region { range, host: host.cast(), file, real, mapping: Mutex::new(()) })
    }

    /// Which addresses it has.
    pub fn range(&self) -> Range {
        self.range
    }

    /// The host's address of its first byte. Only what has been touched can be accessed.
    pub fn host(&self) -> *mut u8 {
        self.host
    }

    /// Makes all of `part`, which is within the region, accessible: it holds the fill where it was not yet.
    /// Returns how many tiles that took.
    pub fn touch(&self, part: Range) -> Result<u64, Errno> {
        let mut added = 0;
        for tile in part.start / TILE..part.end.div_ceil(TILE) {
            let (word, bit) = self.slot(tile);
            if word.load(Ordering::Acquire) & bit == 0 {
                added += self.map(tile)?;
            }
        }
        Ok(added)
    }

    /// Adds the pages that were written to `pages`, as addresses.
    ///
    /// A private page is no longer one of the file (Documentation/admin-guide/mm/pagemap.rst of the host
    /// kernel). Without a page map, every page that can have been written is added.
    pub fn written_pages(&self, pagemap: Option<&File>, pages: &mut Vec<u64>) {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        const FILE_PAGE: u64 = 1 << 61;

        let mut entries = vec![0; (TILE / PAGE * 8) as usize];
        for part in self.real_parts() {
            let bytes = &mut entries[..(part.len() / PAGE * 8) as usize];
            let first = self.host as u64 + (part.start - self.range.start);
            let known =
                pagemap.is_some_and(|file| file.read_exact_at(bytes, first / PAGE * 8).is_ok());
            for (entry, address) in bytes.chunks_exact(8).zip((part.start..).step_by(PAGE as usize))
            {
                let entry = u64::from_le_bytes(entry.try_into().expect("eight bytes"));
                let private =
                    entry & SWAPPED != 0 || entry & PRESENT != 0 && entry & FILE_PAGE == 0;
                if private || !known {
                    pages.push(address);
                }
            }
        }
    }

    /// The part of each mapped tile that is in the region, ascending.
    fn real_parts(&self) -> impl Iterator<Item = Range> + '_ {
        let first = self.range.start / TILE;
        self.real.iter().zip(0..).flat_map(move |(word, index)| {
            let bits = word.load(Ordering::Acquire);
            (0..64)
                .filter(move |bit| bits >> bit & 1 != 0)
                .map(move |bit| self.part(first + index * 64 + bit))
        })
    }

    fn part(&self, tile: u64) -> Range {
        Range::new((tile * TILE).max(self.range.start), ((tile + 1) * TILE).min(self.range.end))
    }

    fn slot(&self, tile: u64) -> (&AtomicU64, u64) {
        let index = tile - self.range.start / TILE;
        (&self.real[(index / 64) as usize], 1 << (index % 64))
    }

    /// Maps `tile`, unless another thread just did; how many were mapped.
    fn map(&self, tile: u64) -> Result<u64, Errno> {
        let _alone = self.mapping.lock().unwrap_or_else(PoisonError::into_inner);
        let (word, bit) = self.slot(tile);
        if word.load(Ordering::Acquire) & bit != 0 {
            return Ok(0);
        }
        let part = self.part(tile);
        // SAFETY: replaces a part of the region's own reservation that nobody can have accessed, as its bit
        // is not set.
        unsafe {
            rustix::mm::mmap(
                self.host.add((part.start - self.range.start) as usize).cast(),
                part.len() as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                FLAGS | MapFlags::FIXED,
                &self.file,
                part.start % TILE,
            )?;
        }
        word.fetch_or(bit, Ordering::Release);
        Ok(1)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length and nobody uses it any more. A failure
        // leaves it mapped, which is harmless.
        let _ = unsafe { rustix::mm::munmap(self.host.cast(), self.range.len() as usize) };
    }
}

// SAFETY: the pointer is to a mapping that the region alone owns; nothing about it is tied to a thread.
unsafe impl Send for Region {}
// SAFETY: shared references only read, and map tiles, one thread at a time.
unsafe impl Sync for Region {}

#[cfg(test)]
mod tests {
    use super::super::fill::{Fill, Tile};
    use super::*;

    #[test]
    fn without_a_page_map_every_touched_page_may_have_been_written() {
        let tile = Tile::new(Fill(7)).unwrap();
        let start = (1 << 45) + TILE - 0x2000;
        let region = Region::new(tile.file, Range::new(start, start + 3 * TILE)).unwrap();
        let mut pages = Vec::new();
        region.written_pages(None, &mut pages);
        assert!(pages.is_empty(), "nothing was touched");
        assert_eq!(region.touch(Range::new(start + 8, start + 9)), Ok(1));
        assert_eq!(region.touch(Range::new(start, start + 0x1000)), Ok(0));
        region.written_pages(None, &mut pages);
        assert_eq!(pages, [start, start + PAGE]);
        assert_eq!(region.touch(Range::new(start, start + 3 * TILE)), Ok(3));
    }
}
