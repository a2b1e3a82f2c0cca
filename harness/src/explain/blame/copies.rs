// SPDX-License-Identifier: GPL-2.0-only
//! Where in the image an instruction comes from that runs in one of the stub's copies.

use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use crate::machine::{Ram, Setup};

/// So many bytes tell a copy, as they do for the machine.
const TELLING: usize = 32;

/// The copies of one run, in the order of their first use.
pub struct Copies {
    image: Arc<[u8]>,
    payload: Range<usize>,
    /// For each the address of the image's first byte, or where it would be.
    bases: Vec<u64>,
}

impl Copies {
    /// The image as it was loaded.
    pub fn new(setup: &Setup) -> Copies {
        let (image, payload) = (setup.stub.bytes.clone(), setup.payload.clone());
        Copies { image, payload, bases: vec![setup.stub.address] }
    }

    /// Code of a new copy runs at the physical address `address`.
    pub fn learn(&mut self, ram: &Ram, address: u64) {
        let Some(needle) = ram.slice(address, TELLING) else { return };
        let parts = [0..self.payload.start, self.payload.end..self.image.len()];
        let found = parts.into_iter().find_map(|part| {
            memmem::find(self.image.get(part.clone())?, needle).map(|at| part.start + at)
        });
        self.bases.extend(found.map(|offset| address.wrapping_sub(offset as u64)));
    }

    /// The offset in the image of the instruction `bytes` at `address`, in the newest copy that has it there.
    pub fn offset(&self, address: u64, bytes: &[u8]) -> Option<u64> {
        let offsets = self.bases.iter().rev().map(|base| address.wrapping_sub(*base));
        let mut offsets = offsets.filter(|offset| {
            let there = usize::try_from(*offset).ok().and_then(|offset| self.image.get(offset..));
            there.is_some_and(|there| there.starts_with(bytes))
        });
        offsets.next()
    }
}
