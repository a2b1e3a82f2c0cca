// SPDX-License-Identifier: GPL-2.0-only
//! What guest RAM holds before anyone writes to it: a pattern that repeats, one tile of it in a memory file.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use rustix::fs::MemfdFlags;

/// The smallest unit of mapping and protection, in bytes.
pub const PAGE: u64 = 4096;

/// The fill repeats after this many bytes; larger means fewer host mappings per machine.
pub(super) const TILE: u64 = 16 << 20;

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
    pub(super) fill: Fill,
    pub(super) file: Arc<File>,
}

impl Tile {
    /// Writes the tile of `fill` into a fresh memory file.
    ///
    /// # Errors
    ///
    /// The host refused memory.
    pub fn new(fill: Fill) -> io::Result<Tile> {
        let mut file = File::from(rustix::fs::memfd_create("guest-ram", MemfdFlags::CLOEXEC)?);
        for address in (0..TILE).step_by(PAGE as usize) {
            file.write_all(&fill.page(address))?;
        }
        Ok(Tile { fill, file: Arc::new(file) })
    }
}
