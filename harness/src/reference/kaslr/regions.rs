// SPDX-License-Identifier: GPL-2.0-only
//! The memory that KASLR chooses from: what another kernel handed over, else EFI's map, else the loader's
//! (`process_kho_entries()`, `process_efi_entries()`, `process_e820_entries()`, arch/x86/boot/compressed/kaslr.c).

use std::mem::offset_of;

use linux_raw_sys::bootparam::{SETUP_KEXEC_KHO, boot_params};

use super::super::console::Console;
use super::super::firmware::e820;
use super::super::firmware::setup_data::Node;
use super::super::guest::Guest;
use super::slots::Slots;
use super::span::Span;
use crate::image::{Traits, WordSize};

/// More entries are not believed.
const MOST_ENTRIES: u64 = 1 << 16;

/// Whether the kernel knows handed-over memory (CONFIG_KEXEC_HANDOVER, 6.16 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// It does.
    Known,
    /// It does not.
    Unknown,
    /// The image does not tell.
    Unclear,
}

/// The search through the regions.
pub struct Search<'a, 's> {
    /// The stub's memory.
    pub guest: &'a mut Guest<'s>,
    /// What the stub knows.
    pub traits: Traits,
    /// Where it complains.
    pub console: Console,
    /// The SRAT's immovable regions; none means that there is no choice to be narrowed.
    pub immovable: &'a [Span],
    /// What was found.
    pub slots: Slots<'a>,
}

impl Search<'_, '_> {
    /// Looks at all regions.
    ///
    /// # Errors
    ///
    /// A map is not in RAM, or the stub would not come to an end.
    pub fn run(&mut self, nodes: &[Node], handover: Handover) -> Result<(), String> {
        if self.handed_over(nodes, handover)? || self.traits.efi && self.efi()? {
            return Ok(());
        }
        self.e820()
    }

    fn handed_over(&mut self, nodes: &[Node], handover: Handover) -> Result<bool, String> {
        const ENTRY: u64 = 16;
        let Some(node) = nodes.iter().find(|node| node.kind == SETUP_KEXEC_KHO) else {
            return Ok(false);
        };
        match handover {
            Handover::Known => {}
            Handover::Unknown => return Ok(false),
            Handover::Unclear => {
                return Err("whether the kernel knows handed-over memory is not known".into());
            }
        }
        let what = "kexec's list of scratch areas";
        let list = self.guest.u64(node.data().wrapping_add(16), what)?;
        let count = (self.guest.u64(node.data().wrapping_add(24), what)? / ENTRY) as i32;
        if i64::from(count) > MOST_ENTRIES as i64 {
            return Err(format!("{what} has {count} entries"));
        }
        for index in 0..count.max(0) as u64 {
            let at = list.wrapping_add(index * ENTRY);
            let start = self.guest.u64(at, what)?;
            let region = Span { start, size: self.guest.u64(at.wrapping_add(8), what)? };
            if self.process(region)? {
                break;
            }
        }
        Ok(count != 0)
    }

    /// Whether EFI's map was used.
    fn efi(&mut self) -> Result<bool, String> {
        const CONVENTIONAL: u32 = 7;
        const UNACCEPTED: u32 = 15;
        const MORE_RELIABLE: u64 = 0x1_0000;
        const SOFT_RESERVED: u64 = 0x4_0000;
        const PAGE_SHIFT: u32 = 12;
        let page = &self.guest.page;
        if !page.booted_by_efi() {
            return Ok(false);
        }
        let high = offset_of!(boot_params, efi_info.efi_memmap_hi);
        if self.guest.word == WordSize::Bits32 && page.u32(high) != 0 {
            let text = "EFI memmap is above 4GB, can't be handled now on x86_32. EFI should be disabled.\n";
            self.console.warn(&mut self.guest.page, text);
            return Ok(false);
        }
        let map = page.halves(offset_of!(boot_params, efi_info.efi_memmap), high);
        let len = page.u32(offset_of!(boot_params, efi_info.efi_memmap_size));
        let size = page.u32(offset_of!(boot_params, efi_info.efi_memdesc_size));
        let count = len.checked_div(size).ok_or("the stub divides by EFI's descriptor size, 0")?;
        if u64::from(count) > MOST_ENTRIES {
            return Err(format!("EFI's memory map has {count} entries"));
        }
        let mut descriptors = Vec::new();
        for index in 0..count {
            let at = self.guest.long(map.wrapping_add(u64::from(index.wrapping_mul(size))));
            descriptors.push(self.guest.vec(at, 40, "EFI's memory map")?);
        }
        let long = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().expect("eight"));
        let attributes = |descriptor: &[u8]| long(&descriptor[32..]);
        let mirrored = descriptors.iter().any(|d| attributes(d) & MORE_RELIABLE != 0);
        for descriptor in &descriptors {
            let kind = u32::from_le_bytes(descriptor[..4].try_into().expect("four"));
            let free = kind == CONVENTIONAL || self.traits.unaccepted_memory && kind == UNACCEPTED;
            let reserved = self.traits.soft_reserve && attributes(descriptor) & SOFT_RESERVED != 0;
            let lesser = mirrored && attributes(descriptor) & MORE_RELIABLE == 0;
            if !free || reserved || lesser {
                continue;
            }
            let size = long(&descriptor[24..]) << PAGE_SHIFT;
            if self.process(Span { start: long(&descriptor[8..]), size })? {
                break;
            }
        }
        Ok(true)
    }

    fn e820(&mut self) -> Result<(), String> {
        let entries: Vec<_> = e820::entries(self.guest).collect();
        for entry in entries {
            let entry = entry?;
            if entry.is_ram() && self.process(Span { start: entry.start, size: entry.size })? {
                break;
            }
        }
        Ok(())
    }

    /// `process_mem_region()`: whether the search is over because there is no room for more areas.
    fn process(&mut self, region: Span) -> Result<bool, String> {
        let full = if self.immovable.is_empty() {
            self.slots.add_region(region)?;
            "Aborted e820/efi memmap scan (slot_areas full)!\n"
        } else {
            for immovable in self.immovable {
                if self.slots.is_full() {
                    break;
                }
                if !region.overlaps(*immovable) {
                    continue;
                }
                if immovable.wraps() {
                    return Err("a region of the SRAT wraps at the end of memory".into());
                }
                let start = region.start.clamp(immovable.start, immovable.end());
                let end = region.end().clamp(immovable.start, immovable.end());
                self.slots.add_region(Span { start, size: end.wrapping_sub(start) })?;
            }
            "Aborted e820/efi memmap scan when walking immovable regions(slot_areas full)!\n"
        };
        if self.slots.is_full() {
            self.console.debug(&mut self.guest.page, full);
        }
        Ok(self.slots.is_full())
    }
}
