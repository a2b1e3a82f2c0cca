// SPDX-License-Identifier: GPL-2.0-only
//! A machine with a dozen bytes of guest code, for tests.

use std::sync::Arc;

use super::{CpuFeatures, EntryMode, EntryState, Fill, Placed, Setup};
use crate::image::WordSize;
use crate::range::Range;

/// Where the stub is loaded.
pub const LOAD: u64 = 0x20_0000;
/// Bytes of the stub.
pub const STUB: u64 = 0x2000;

/// A machine whose stub is `code`, entered at 32 bits.
pub fn setup(code: &[u8]) -> Setup {
    let mut bytes = code.to_vec();
    bytes.resize(STUB as usize, 0x90);
    Setup {
        word: WordSize::Bits32,
        cpu: CpuFeatures::default(),
        mode: EntryMode::Protected,
        entry_state: EntryState::default(),
        entry: LOAD,
        stub: Placed { address: LOAD, bytes: Arc::from(bytes), what: "stub" },
        payload: 0x1000..0x1800,
        boot_params: 0x1_0000,
        gdt: (0x3_0000, 0x2f),
        ram: vec![Range::new(0, 0x40_0000)],
        fill: Fill(3),
        placed: vec![Placed { address: 0x3_0000, bytes: words(&GDT), what: "GDT" }],
        timer: vec![7],
        devices: Default::default(),
        budget: 10_000,
    }
}

/// Flat code at 0x10, flat data at 0x18.
const GDT: [u64; 6] = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0];

/// As they lie in memory.
pub fn words(words: &[u64]) -> Arc<[u8]> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
