// SPDX-License-Identifier: GPL-2.0-only
//! Tells of stores into a few pages, and lets all other accesses be as fast as ever.
//!
//! With a hook on memory accesses, the engine translates every load and every store such that it leaves translated code.
//! A page without permission to write is another matter: only stores into that page leave it, for a hook that may allow
//! them. What the engine does not do for such a page, this hook does: it writes. What neither does is to notice that code
//! was overwritten, so a run in which that happens has to be done over again without guards.

use std::cell::Cell;
use std::rc::Rc;

use unicorn_engine::{HookType, Prot, Unicorn, uc_error};

use super::fill::PAGE;
use super::hooks::State;
use super::observe::{Event, WIDEST_STORE, tell};
use crate::range::Range;

/// For more pages than this, a hook on all accesses is quicker: each guarded one is a mapping of the engine's.
const MOST: u64 = 64;

/// The pages to guard for stores into `ranges`, merged; `None` if those are too many.
pub fn pages(ranges: &[Range]) -> Option<Vec<Range>> {
    let reach = |range: &Range| {
        let start = range.start.saturating_sub(WIDEST_STORE - 1);
        Some(Range::new(start & !(PAGE - 1), range.end.checked_next_multiple_of(PAGE)?))
    };
    let mut all = ranges.iter().map(reach).collect::<Option<Vec<Range>>>()?;
    all.sort();
    let mut merged: Vec<Range> = Vec::new();
    for range in all {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    let count: u64 = merged.iter().map(|range| range.len() / PAGE).sum();
    (count <= MOST).then_some(merged)
}

/// Guards `pages`, as far as there is RAM, and tells the observer of stores into `ranges`. The result becomes true when code
/// is overwritten.
pub fn install(
    uc: &mut Unicorn<State>,
    pages: &[Range],
    ranges: &[Range],
) -> Result<Rc<Cell<bool>>, uc_error> {
    let overwritten = Rc::new(Cell::new(false));
    let code = uc.get_data().code.clone();
    for guarded in pages {
        for page in (guarded.start..guarded.end).step_by(PAGE as usize) {
            if uc.get_data().ram.contains(page) {
                uc.mem_protect(page, PAGE, Prot::READ | Prot::EXEC)?;
            }
        }
        let mut guard = Guard {
            ranges: ranges.to_vec(),
            to_come: Range::new(0, 0),
            overwritten: overwritten.clone(),
        };
        let last = guarded.end - 1;
        let kind = HookType::MEM_WRITE_PROT;
        uc.add_mem_hook(kind, guarded.start, last, move |uc, _, address, size, value| {
            guard.store(uc, address, size, value as u64)
        })?;
    }
    // The engine drops translations of a page whose permissions change, and looks it up as if the guest fetched from it.
    let state = uc.get_data_mut();
    state.code = code;
    state.stop = None;
    state.stop_at_fetch = false;
    Ok(overwritten)
}

/// The guard of some pages.
struct Guard {
    ranges: Vec<Range>,
    /// The engine does a store that is not aligned byte by byte, after it has told of all of it: these bytes.
    to_come: Range,
    overwritten: Rc<Cell<bool>>,
}

impl Guard {
    /// Tells of a store and does it. Whether it could be done.
    fn store(&mut self, uc: &mut Unicorn<State>, address: u64, size: usize, value: u64) -> bool {
        if size == 1 && address == self.to_come.start && !self.to_come.is_empty() {
            self.to_come.start += 1;
        } else {
            let store = Range::sized(address, size as u64);
            if self.ranges.iter().any(|range| range.overlaps(store)) {
                tell(uc, &Event::Write { address, size, value });
            }
            if !address.is_multiple_of(size as u64) {
                self.to_come = store;
                return true;
            }
        }
        let state = uc.get_data_mut();
        if state.code.has_run_from(address & !(PAGE - 1)) {
            self.overwritten.set(true);
        }
        state.ram.write(address, &value.to_le_bytes()[..size]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_may_reach_into_a_range_from_the_page_before() {
        let pages = |ranges: &[Range]| pages(ranges).unwrap();
        assert_eq!(pages(&[Range::new(0x2000, 0x2001)]), [Range::new(0x1000, 0x3000)]);
        assert_eq!(pages(&[Range::new(0x2010, 0x3001)]), [Range::new(0x2000, 0x4000)]);
        let apart =
            [Range::new(0x9010, 0x9018), Range::new(0x10, 0x11), Range::new(0xa000, 0xa001)];
        assert_eq!(pages(&apart), [Range::new(0, 0x1000), Range::new(0x9000, 0xb000)]);
    }

    #[test]
    fn many_pages_are_not_guarded() {
        assert_eq!(pages(&[Range::new(0, u64::MAX)]), None);
        assert_eq!(pages(&[Range::new(0x10, MOST * PAGE + 1)]), None);
        assert!(pages(&[Range::new(0x10, MOST * PAGE)]).is_some());
    }
}
