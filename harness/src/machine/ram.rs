// SPDX-License-Identifier: GPL-2.0-only
//! Guest RAM: private mappings of one pattern-filled memory file.
//!
//! Untouched pages are shared by every machine that uses the same fill, and cost nothing; a page that
//! anyone wrote becomes private to its machine, and the host kernel's page map says which those are.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::ptr;

use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

use crate::range::Range;

/// The smallest unit of mapping and protection, in bytes.
pub const PAGE: u64 = 4096;

/// The fill repeats after this many bytes; larger means fewer host mappings per machine.
const TILE: u64 = 16 << 20;

/// What RAM holds before anyone writes to it: pseudo-random 64-bit words that depend on the address,
/// so that stale bytes moved to another place are told from untouched ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill(pub u64);

impl Fill {
    /// The 64-bit word at `address`, which is a multiple of 8.
    pub fn word(self, address: u64) -> u64 {
        let mut x = (self.0 ^ (address % TILE)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// The whole page at `address`, which is a multiple of [`PAGE`].
    pub fn page(self, address: u64) -> [u8; PAGE as usize] {
        let mut page = [0; PAGE as usize];
        for (i, word) in page.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&self.word(address + i as u64 * 8).to_le_bytes());
        }
        page
    }
}

/// One tile of a fill in a memory file, to be mapped as often as needed.
pub struct Tile {
    fill: Fill,
    file: File,
}

impl Tile {
    /// Writes the tile of `fill` into a fresh memory file.
    pub fn new(fill: Fill) -> io::Result<Tile> {
        let mut file = File::from(rustix::fs::memfd_create("guest-ram", MemfdFlags::CLOEXEC)?);
        for address in (0..TILE).step_by(PAGE as usize) {
            file.write_all(&fill.page(address))?;
        }
        Ok(Tile { fill, file })
    }
}

/// An access to a physical address at which this machine has no RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RAM at {0:#x}")]
pub struct OutsideRam(pub u64);

/// The RAM of one machine.
#[derive(Default)]
pub struct Ram {
    regions: Vec<Region>,
    fill: Fill,
}

impl Ram {
    /// RAM in each of `ranges`, which are page-aligned, ascending and disjoint.
    pub fn new(tile: &Tile, ranges: &[Range]) -> io::Result<Ram> {
        let regions = ranges.iter().map(|r| Region::map(tile, *r)).collect::<io::Result<_>>()?;
        Ok(Ram { regions, fill: tile.fill })
    }

    /// What untouched RAM holds.
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// Where there is RAM, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        self.regions.iter().map(|r| r.range)
    }

    /// Whether the page that holds `address` is RAM.
    pub fn contains(&self, address: u64) -> bool {
        self.region(address).is_some()
    }

    /// Reads `out.len()` bytes at `address`, within one region.
    pub fn read(&self, address: u64, out: &mut [u8]) -> Result<(), OutsideRam> {
        let source = self.host(address, out.len())?;
        // SAFETY: `host` checked that the whole span lies in a live mapping, which `out` cannot overlap.
        unsafe { ptr::copy_nonoverlapping(source, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Reads the little-endian 64-bit word at `address`.
    pub fn read_u64(&self, address: u64) -> Result<u64, OutsideRam> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes `bytes` at `address`, within one region.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutsideRam> {
        let target = self.host(address, bytes.len())?;
        // SAFETY: `host` checked that the whole span lies in a live mapping, which `bytes` cannot overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        Ok(())
    }

    /// `len` bytes at `address`, within one region, or `None` where there is no RAM.
    pub fn slice(&self, address: u64, len: usize) -> Option<&[u8]> {
        let start = self.host(address, len).ok()?;
        // SAFETY: the span lies in a live mapping that stays until `self` is dropped; the emulator, the
        // only other writer, holds this RAM by unique reference while it runs.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// The pages that anyone has written since the RAM was made, ascending, as addresses.
    ///
    /// Source: Documentation/admin-guide/mm/pagemap.rst of the host kernel. Where the page map cannot be
    /// read, every page is returned: slower for the caller, and as right.
    pub fn written_pages(&self) -> Vec<u64> {
        let pagemap = File::open("/proc/self/pagemap").ok();
        let mut pages = Vec::new();
        for region in &self.regions {
            region.written_pages(pagemap.as_ref(), &mut pages);
        }
        pages
    }

    /// The host mappings, for an engine: guest address, host pointer and size in bytes.
    pub(super) fn mappings(&self) -> impl Iterator<Item = (u64, *mut c_void, u64)> + '_ {
        self.regions.iter().map(|r| (r.range.start, r.host.cast(), r.range.len()))
    }

    fn region(&self, address: u64) -> Option<&Region> {
        let after = self.regions.partition_point(|r| r.range.start <= address);
        self.regions[..after].last().filter(|r| address < r.range.end)
    }

    fn host(&self, address: u64, len: usize) -> Result<*mut u8, OutsideRam> {
        let region = self.region(address).ok_or(OutsideRam(address))?;
        if len as u64 > region.range.end - address {
            return Err(OutsideRam(region.range.end));
        }
        // SAFETY: the offset is below the length of the region's mapping.
        Ok(unsafe { region.host.add((address - region.range.start) as usize) })
    }
}

struct Region {
    range: Range,
    host: *mut u8,
}

impl Region {
    fn map(tile: &Tile, range: Range) -> io::Result<Region> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let host = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), range.len() as usize, access, flags)?
        };
        let region = Region { range, host: host.cast() };
        let mut address = range.start;
        while address < range.end {
            let piece = (TILE - address % TILE).min(range.end - address);
            // SAFETY: replaces a part of the mapping made above, which nobody has seen yet.
            unsafe {
                rustix::mm::mmap(
                    region.host.add((address - range.start) as usize).cast(),
                    piece as usize,
                    access,
                    flags | MapFlags::FIXED,
                    &tile.file,
                    address % TILE,
                )?;
            }
            address += piece;
        }
        Ok(region)
    }

    fn written_pages(&self, pagemap: Option<&File>, pages: &mut Vec<u64>) {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        const FILE_PAGE: u64 = 1 << 61;
        const CHUNK: u64 = 1 << 15;

        let total = self.range.len() / PAGE;
        let mut entries = vec![0; (CHUNK.min(total) * 8) as usize];
        for first in (0..total).step_by(CHUNK as usize) {
            let count = CHUNK.min(total - first);
            let bytes = &mut entries[..(count * 8) as usize];
            let known = pagemap.is_some_and(|file| {
                let offset = (self.host as u64 / PAGE + first) * 8;
                file.read_exact_at(bytes, offset).is_ok()
            });
            for (i, entry) in bytes.chunks_exact(8).enumerate() {
                let entry = u64::from_le_bytes(entry.try_into().expect("eight bytes"));
                let private =
                    entry & SWAPPED != 0 || entry & PRESENT != 0 && entry & FILE_PAGE == 0;
                if private || !known {
                    pages.push(self.range.start + (first + i as u64) * PAGE);
                }
            }
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length and nobody uses it any more. A failure
        // leaves it mapped, which is harmless.
        let _ = unsafe { rustix::mm::munmap(self.host.cast(), self.range.len() as usize) };
    }
}

// SAFETY: the pointer is to a mapping that the region alone owns; nothing about it is tied to a thread.
unsafe impl Send for Region {}
// SAFETY: shared references only read.
unsafe impl Sync for Region {}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram() -> Ram {
        let tile = Tile::new(Fill(7)).unwrap();
        let ranges = [
            Range::new(0, 0x10_0000),
            Range::new(0x1f0_3000, 0x410_0000),
            Range::new(1 << 45, (1 << 45) + 0x5000),
        ];
        Ram::new(&tile, &ranges).unwrap()
    }

    #[test]
    fn untouched_ram_holds_its_fill_across_tile_borders() {
        let ram = ram();
        for address in [0, 0xff_000, 0x1f0_3000, 0x200_0000 - 8, 0x200_0000, (1 << 45) + 0x4ff8] {
            assert_eq!(ram.read_u64(address).unwrap(), Fill(7).word(address), "{address:#x}");
        }
    }

    #[test]
    fn only_written_pages_are_reported() {
        let mut ram = ram();
        ram.read_u64(0x3000).unwrap();
        ram.write(0x1000, &[1]).unwrap();
        ram.write((1 << 45) + 0x2fff, &[2, 3]).unwrap();
        assert_eq!(ram.written_pages(), [0x1000, (1 << 45) + 0x2000, (1 << 45) + 0x3000]);
    }

    #[test]
    fn without_a_page_map_every_page_may_have_been_written() {
        let mut pages = Vec::new();
        ram().regions[2].written_pages(None, &mut pages);
        assert_eq!(pages, [0, 1, 2, 3, 4].map(|page| (1 << 45) + page * PAGE));
    }

    #[test]
    fn accesses_outside_are_refused_with_the_first_bad_address() {
        let mut ram = ram();
        assert_eq!(ram.read_u64(0x10_0000), Err(OutsideRam(0x10_0000)));
        assert_eq!(ram.write(0xf_fffc, &[0; 8]), Err(OutsideRam(0x10_0000)));
        assert_eq!(ram.read_u64(u64::MAX), Err(OutsideRam(u64::MAX)));
        assert!(ram.slice(0x410_0000 - 4, 5).is_none());
    }

    #[test]
    fn machines_do_not_see_each_others_writes() {
        let tile = Tile::new(Fill(7)).unwrap();
        let ranges = [Range::new(0, 0x2000)];
        let mut one = Ram::new(&tile, &ranges).unwrap();
        let other = Ram::new(&tile, &ranges).unwrap();
        one.write(0, &[0xff; 8]).unwrap();
        assert_eq!(other.read_u64(0).unwrap(), Fill(7).word(0));
    }
}
