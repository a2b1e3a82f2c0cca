// SPDX-License-Identifier: GPL-2.0-only
//! Which symbol names a place.

use super::{Home, Vmlinux};

/// The symbols of all sections, sorted.
pub struct Places {
    /// Section, address, rank, index of the symbol.
    sorted: Vec<(usize, u64, u8, usize)>,
}

impl Places {
    pub fn new(vmlinux: &Vmlinux) -> Places {
        let symbols = (0..vmlinux.symbol_count()).filter_map(|index| {
            let symbol = vmlinux.symbol(index)?;
            let Home::Section(section) = symbol.home else { return None };
            Some((section, symbol.value, symbol.rank?, index))
        });
        let mut sorted: Vec<_> = symbols.collect();
        sorted.sort_unstable();
        Places { sorted }
    }

    /// The best symbol at the highest address that is not above `address`, and the distance.
    pub fn find(&self, section: usize, address: u64) -> Option<(usize, u64)> {
        let behind =
            self.sorted.partition_point(|symbol| (symbol.0, symbol.1) <= (section, address));
        let symbol = self.sorted.get(behind.checked_sub(1)?)?;
        (symbol.0 == section).then(|| (symbol.3, address - symbol.1))
    }
}
