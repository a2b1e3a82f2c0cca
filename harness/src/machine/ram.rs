// SPDX-License-Identifier: GPL-2.0-only
//! Guest RAM: private mappings of one pattern-filled memory file.
//!
//! Untouched pages are shared by every machine that uses the same fill, and cost nothing; a page that
//! anyone wrote becomes private to its machine, and the host kernel's page map says which those are. RAM of
//! which nobody has touched anything is not even mapped: terabytes of it are as good as free, as long as
//! they fit into the host's address space (128 TiB on x86-64, for all machines that exist at a time).

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::fill::{Fill, TILE, Tile};
use super::region::Region;
use crate::range::Range;

/// So many bytes of RAM, in whole tiles, a guest may touch: far more than any stub does, and few enough
/// mappings for all machines that run at a time.
pub const MOST_TOUCHED: u64 = 32 << 30;

/// An access to a physical address at which this machine has no RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RAM at {0:#x}")]
pub struct OutsideRam(pub u64);

/// The RAM of one machine.
#[derive(Default)]
pub struct Ram {
    regions: Vec<Region>,
    fill: Fill,
    /// Tiles that have been touched.
    touched: AtomicU64,
}

/// Why RAM that is there cannot be made accessible to a guest.
#[derive(Clone, Copy, Debug)]
pub enum Untouchable {
    /// It has touched [`MOST_TOUCHED`] bytes already.
    TooMuch,
    /// The host refused a mapping.
    Host(Errno),
}

impl Ram {
    /// RAM in each of `ranges`, which are page-aligned, ascending, disjoint and not empty.
    ///
    /// # Errors
    ///
    /// The host has no address space for it.
    pub fn new(tile: &Tile, ranges: &[Range]) -> io::Result<Ram> {
        let regions = ranges
            .iter()
            .map(|range| Region::new(tile.file.clone(), *range))
            .collect::<io::Result<_>>()?;
        Ok(Ram { regions, fill: tile.fill, touched: AtomicU64::new(0) })
    }

    /// What untouched RAM holds.
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// Where there is RAM, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range> + '_ {
        self.regions.iter().map(Region::range)
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
    ///
    /// Takes a mapping of the host's for every 16 MiB that nobody has touched before: do not ask for
    /// terabytes.
    pub fn slice(&self, address: u64, len: usize) -> Option<&[u8]> {
        let start = self.host(address, len).ok()?;
        // SAFETY: the span lies in a live mapping that stays until `self` is dropped; the emulator, the
        // only other writer, holds this RAM by unique reference while it runs.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// The pages that anyone has written since the RAM was made, ascending, as addresses.
    ///
    /// Where the host's page map cannot be read, every page near one that was touched is returned: slower
    /// for the caller, and as right.
    pub fn written_pages(&self) -> Vec<u64> {
        let pagemap = File::open("/proc/self/pagemap").ok();
        let mut pages = Vec::new();
        for region in &self.regions {
            region.written_pages(pagemap.as_ref(), &mut pages);
        }
        pages
    }

    /// The host's memory, for an engine: guest address, host pointer and size in bytes. The engine must not
    /// access a page before [`Ram::touch`].
    pub(super) fn mappings(&self) -> impl Iterator<Item = (u64, *mut c_void, u64)> + '_ {
        self.regions.iter().map(|r| (r.range().start, r.host().cast(), r.range().len()))
    }

    /// Makes the page that holds `address`, which is RAM, accessible to an engine.
    pub(super) fn touch(&self, address: u64) -> Result<(), Untouchable> {
        let Some(region) = self.region(address) else { return Ok(()) };
        let added = region.touch(Range::sized(address, 1)).map_err(Untouchable::Host)?;
        let touched = self.touched.fetch_add(added, Ordering::Relaxed) + added;
        if touched > MOST_TOUCHED / TILE { Err(Untouchable::TooMuch) } else { Ok(()) }
    }

    fn region(&self, address: u64) -> Option<&Region> {
        let after = self.regions.partition_point(|r| r.range().start <= address);
        self.regions[..after].last().filter(|r| address < r.range().end)
    }

    /// A pointer to `len` accessible bytes at `address`.
    fn host(&self, address: u64, len: usize) -> Result<*mut u8, OutsideRam> {
        let region = self.region(address).ok_or(OutsideRam(address))?;
        let range = region.range();
        if len as u64 > range.end - address {
            return Err(OutsideRam(range.end));
        }
        // As with the heap: there is nothing to go on with when the host is out of mappings.
        let added =
            region.touch(Range::sized(address, len as u64)).expect("a mapping of the host's");
        self.touched.fetch_add(added, Ordering::Relaxed);
        // SAFETY: the offset is below the length of the region's mapping.
        Ok(unsafe { region.host().add((address - range.start) as usize) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fill::PAGE;
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

    #[test]
    fn terabytes_that_nobody_touches_cost_nothing() {
        let tile = Tile::new(Fill(7)).unwrap();
        let start = 5 << 40;
        let mut ram = Ram::new(&tile, &[Range::new(start, start + (4 << 40))]).unwrap();
        let touched = [start, start + (1 << 40) + 0x18, start + (4 << 40) - 8];
        for address in touched {
            assert_eq!(ram.read_u64(address), Ok(Fill(7).word(address)), "{address:#x}");
        }
        assert_eq!(ram.written_pages(), [] as [u64; 0]);
        for address in touched {
            ram.write(address, &[1]).unwrap();
        }
        assert_eq!(ram.written_pages(), touched.map(|address| address & !(PAGE - 1)));
        assert_eq!(ram.touched.into_inner(), 3);
    }

    #[test]
    fn a_slice_may_span_tiles_that_were_never_touched() {
        let tile = Tile::new(Fill(7)).unwrap();
        let mut ram = Ram::new(&tile, &[Range::new(0x1000, 4 * TILE)]).unwrap();
        ram.write(2 * TILE, &[0xff; 8]).unwrap();
        let start = TILE - 0x1000;
        let slice = ram.slice(start, 2 * TILE as usize).unwrap();
        for (word, address) in slice.chunks_exact(8).zip((start..).step_by(8)) {
            let expected = if address == 2 * TILE { u64::MAX } else { Fill(7).word(address) };
            assert_eq!(word, expected.to_le_bytes(), "{address:#x}");
        }
    }

    #[test]
    fn threads_may_touch_the_same_ram_at_once() {
        let tile = Tile::new(Fill(7)).unwrap();
        let ram = Ram::new(&tile, &[Range::new(0, 64 * TILE)]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for address in (0..64 * TILE).step_by(TILE as usize) {
                        assert_eq!(ram.read_u64(address + 8), Ok(Fill(7).word(8)));
                    }
                });
            }
        });
        assert_eq!(ram.touched.into_inner(), 64);
    }
}
