// SPDX-License-Identifier: GPL-2.0-only
//! States of a machine that a session can go back to.
//!
//! A snapshot has every page that was written since the machine was made. Those that did not change since the snapshot before are
//! shared with it, so that all snapshots of a run together take about what the run writes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use unicorn_engine::{Context, uc_error};

use super::super::code::Code;
use super::super::devices::Devices;
use super::super::fill::PAGE;
use super::super::paging::Levels;
use super::super::ram::Ram;
use super::super::unicorn::Machine;

/// So many bytes of pages all snapshots of a session may hold; of more, every second snapshot is dropped.
pub const MOST_MEMORY: usize = 512 << 20;
/// So many snapshots are kept.
const MOST_SNAPSHOTS: usize = 96;

struct Page {
    bytes: Box<[u8]>,
    memory: Rc<Cell<usize>>,
}

impl Page {
    fn new(bytes: &[u8], memory: &Rc<Cell<usize>>) -> Rc<Page> {
        memory.set(memory.get() + bytes.len());
        Rc::new(Page { bytes: bytes.into(), memory: memory.clone() })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.memory.set(self.memory.get() - self.bytes.len());
    }
}

struct Snapshot {
    pages: BTreeMap<u64, Rc<Page>>,
    cpu: Context,
    code: Code,
    devices: Devices,
    levels: Levels,
    blocks: u64,
    page_faults: u64,
    script_reads: (u64, u64),
}

/// The snapshots of one session by position. There is always one at 0.
pub struct Snapshots {
    by_position: BTreeMap<u64, Snapshot>,
    memory: Rc<Cell<usize>>,
    most_memory: usize,
}

impl Snapshots {
    /// The first one, of `machine` before it runs.
    pub fn new(machine: &Machine, most_memory: usize) -> Result<Snapshots, uc_error> {
        let mut snapshots =
            Snapshots { by_position: BTreeMap::new(), memory: Rc::default(), most_memory };
        snapshots.take(machine, 0)?;
        Ok(snapshots)
    }

    /// Keeps the state of `machine`, which is at `position`.
    pub fn take(&mut self, machine: &Machine, position: u64) -> Result<(), uc_error> {
        if self.by_position.contains_key(&position) {
            return Ok(());
        }
        let state = machine.uc.get_data();
        let before = self.by_position.range(..position).next_back().map(|(_, before)| before);
        let mut pages = BTreeMap::new();
        for address in state.ram.written_pages() {
            let Some(bytes) = state.ram.slice(address, PAGE as usize) else { continue };
            let same = before
                .and_then(|before| before.pages.get(&address))
                .filter(|page| *page.bytes == *bytes);
            let page = match same {
                Some(page) => page.clone(),
                None => Page::new(bytes, &self.memory),
            };
            pages.insert(address, page);
        }
        let snapshot = Snapshot {
            pages,
            cpu: machine.uc.context_init()?,
            code: state.code.clone(),
            devices: state.devices.clone(),
            levels: state.levels.clone(),
            blocks: state.blocks,
            page_faults: machine.page_faults,
            script_reads: machine.script.reads(),
        };
        self.by_position.insert(position, snapshot);
        while self.by_position.len() > MOST_SNAPSHOTS || self.memory.get() > self.most_memory {
            if !self.thin() {
                break;
            }
        }
        Ok(())
    }

    /// Puts `machine` into the state of the latest snapshot that is not behind `position`, and says where that is.
    pub fn restore(&self, machine: &mut Machine, position: u64) -> Result<u64, uc_error> {
        let (at, snapshot) =
            self.by_position.range(..=position).next_back().expect("there is one at 0");
        let state = machine.uc.get_data_mut();
        put_back(&mut state.ram, &snapshot.pages);
        state.code = snapshot.code.clone();
        state.devices = snapshot.devices.clone();
        state.levels = snapshot.levels.clone();
        state.blocks = snapshot.blocks;
        state.stop = None;
        machine.page_faults = snapshot.page_faults;
        machine.script.set_reads(snapshot.script_reads);
        machine.uc.context_restore(&snapshot.cpu)?;
        machine.uc.ctl_flush_tb()?;
        machine.uc.ctl_flush_tlb()?;
        Ok(*at)
    }

    /// The latest snapshot that is not behind `position`.
    pub fn at_or_before(&self, position: u64) -> u64 {
        self.by_position.range(..=position).next_back().map_or(0, |(at, _)| *at)
    }

    /// Forgets all snapshots behind `position`: the run goes another way from there.
    pub fn forget_after(&mut self, position: u64) {
        self.by_position.split_off(&(position + 1));
    }

    /// Positions of all snapshots.
    #[cfg(test)]
    pub fn positions(&self) -> Vec<u64> {
        self.by_position.keys().copied().collect()
    }

    /// Drops every second snapshot; whether there was one to drop. The newest stays.
    fn thin(&mut self) -> bool {
        let count = self.by_position.len();
        let mut index = 0;
        self.by_position.retain(|_, _| {
            index += 1;
            index % 2 == 1 || index == count
        });
        self.by_position.len() < count
    }
}

fn put_back(ram: &mut Ram, pages: &BTreeMap<u64, Rc<Page>>) {
    for address in ram.written_pages() {
        let fill;
        let wanted: &[u8] = match pages.get(&address) {
            Some(page) => &page.bytes,
            None => {
                fill = ram.fill().page(address);
                &fill
            }
        };
        if ram.slice(address, PAGE as usize).is_some_and(|there| there != wanted) {
            // A page that was written is RAM.
            let _ = ram.write(address, wanted);
        }
    }
}
