// SPDX-License-Identifier: GPL-2.0-only
//! Memory as the loader left it, for the reference: the machine's setup before it runs.

use crate::machine::{PAGE, Placed, Setup};
use crate::range::Range;
use crate::reference::Memory;

/// The memory of a machine that has not run.
pub struct Loaded<'a>(pub &'a Setup);

impl Memory for Loaded<'_> {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let Loaded(setup) = self;
        let wanted = Range::sized(address, bytes.len() as u64);
        if wanted.len() < bytes.len() as u64 || !setup.ram.iter().any(|ram| ram.covers(wanted)) {
            return false;
        }
        let placed = || std::iter::once(&setup.stub).chain(&setup.placed);
        if !placed().any(|p| p.range().covers(wanted)) {
            fill(setup, wanted, bytes);
        }
        for placed in placed() {
            copy(placed, wanted, bytes);
        }
        true
    }
}

fn fill(setup: &Setup, wanted: Range, bytes: &mut [u8]) {
    let mut at = wanted.start;
    while at < wanted.end {
        let page = setup.fill.page(at & !(PAGE - 1));
        let from = (at % PAGE) as usize;
        let len = (PAGE - at % PAGE).min(wanted.end - at);
        let to = (at - wanted.start) as usize;
        bytes[to..to + len as usize].copy_from_slice(&page[from..from + len as usize]);
        at += len;
    }
}

/// Copies what `placed` and `wanted` have in common.
fn copy(placed: &Placed, wanted: Range, bytes: &mut [u8]) {
    let range = placed.range();
    if range.overlaps(wanted) {
        let common = Range::new(range.start.max(wanted.start), range.end.min(wanted.end));
        let from = (common.start - range.start) as usize;
        let to = (common.start - wanted.start) as usize;
        let len = common.len() as usize;
        bytes[to..to + len].copy_from_slice(&placed.bytes[from..from + len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::WordSize;
    use crate::machine::{EntryMode, Fill};

    fn setup() -> Setup {
        let placed = |address, bytes: &[u8]| Placed { address, bytes: bytes.into(), what: "x" };
        Setup {
            cpu: Default::default(),
            entry_state: Default::default(),
            word: WordSize::Bits64,
            mode: EntryMode::Protected,
            entry: 0,
            stub: placed(0x3000, &[1; 0x1000]),
            payload: 0..0,
            boot_params: 0x1000,
            gdt: (0, 0),
            ram: vec![Range::new(0x1000, 0x5000)],
            fill: Fill(7),
            placed: vec![placed(0x2ffe, &[2; 4]), placed(0x2fff, &[3])],
            timer: Vec::new(),
            devices: Default::default(),
            budget: 1,
        }
    }

    #[test]
    fn later_placements_win_and_the_rest_is_fill() {
        let setup = setup();
        let mut bytes = [0; 8];
        assert!(Loaded(&setup).read(0x2ffc, &mut bytes));
        let fill = Fill(7).page(0x2000);
        assert_eq!(bytes, [fill[0xffc], fill[0xffd], 2, 3, 2, 2, 1, 1]);
    }

    #[test]
    fn holes_and_ends_are_no_ram() {
        let setup = setup();
        assert!(!Loaded(&setup).read(0x4ffd, &mut [0; 4]));
        assert!(!Loaded(&setup).read(0xfff, &mut [0; 2]));
        assert!(!Loaded(&setup).read(u64::MAX, &mut [0; 2]));
        assert!(Loaded(&setup).read(0x4ffc, &mut [0; 4]));
        let last = Range::new(u64::MAX - 0xfff, u64::MAX);
        let top = Setup { ram: vec![last], ..setup };
        assert!(!Loaded(&top).read(u64::MAX - 3, &mut [0; 8]), "beyond the last address");
    }

    #[test]
    fn the_fill_goes_on_from_page_to_page() {
        let setup = Setup { ram: vec![Range::new(0, 0x5000)], ..setup() };
        let mut bytes = [0; 0x1800];
        assert!(Loaded(&setup).read(0, &mut bytes));
        assert!(
            bytes[..0x1000] == Fill(7).page(0) && bytes[0x1000..] == Fill(7).page(0x1000)[..0x800]
        );
        assert!(Loaded(&setup).read(0x800, &mut bytes[..0x1000]));
        assert!(bytes[..0x800] == Fill(7).page(0)[0x800..]);
        assert!(bytes[0x800..0x1000] == Fill(7).page(0x1000)[..0x800]);
    }
}
