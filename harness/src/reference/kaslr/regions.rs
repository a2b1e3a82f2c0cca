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

#[cfg(test)]
mod tests {
    use super::super::super::firmware::setup_data;
    use super::super::super::testing::{Bytes, PARAMS, e820_table, guest};
    use super::super::slots::Area;
    use super::*;

    const MIB: u64 = 1 << 20;
    const MAP: u64 = 0x1_8000;
    const NODE: u64 = 0x2000;

    fn traits() -> Traits {
        Traits { efi: true, soft_reserve: true, ..Traits::default() }
    }

    /// Places for 16 MiB at every 2 MiB, as (first, count) in MiB.
    fn found_with(
        memory: &Bytes,
        traits: Traits,
        word: WordSize,
        immovable: &[Span],
        handover: Handover,
    ) -> Result<Vec<(u64, u64)>, String> {
        let mut guest = guest(memory, word);
        let nodes = setup_data::nodes(&guest)?;
        let console = Console::new(&guest.page, false);
        let slots = Slots {
            avoided: &[],
            minimum: 16 * MIB,
            limit: 1 << 46,
            alignment: 2 * MIB,
            needed: 16 * MIB,
            gib_pages: 0,
            word_mask: u64::MAX,
            areas: Vec::new(),
            comparisons: 0,
        };
        let mut search = Search { guest: &mut guest, traits, console, immovable, slots };
        search.run(&nodes, handover)?;
        let in_mib = |area: &Area| (area.start / MIB, area.count);
        Ok(search.slots.areas.iter().map(in_mib).collect())
    }

    fn found(memory: &Bytes, traits: Traits) -> Vec<(u64, u64)> {
        found_with(memory, traits, WordSize::Bits64, &[], Handover::Unknown).unwrap()
    }

    fn memory() -> Bytes {
        let mut memory = Bytes::new(0, 0x2_0000);
        let map = [(0, 32 * MIB, 1), (32 * MIB, 64 * MIB, 2), (96 * MIB, 18 * MIB, 1)];
        e820_table(&mut memory, PARAMS, &map);
        memory
    }

    /// Type, start and size in MiB, and attributes.
    fn efi(descriptors: &[(u32, u64, u64, u64)], size: u32) -> Bytes {
        let mut memory = memory();
        memory.put(PARAMS + 0x1c0, b"EL64");
        memory.put(PARAMS + 0x1c8, &size.to_le_bytes());
        memory.put(PARAMS + 0x1d0, &(MAP as u32).to_le_bytes());
        memory.put(PARAMS + 0x1d4, &(descriptors.len() as u32 * size + size - 1).to_le_bytes());
        for (index, (kind, start, len, attributes)) in descriptors.iter().enumerate() {
            let at = MAP + index as u64 * u64::from(size);
            memory.put(at, &kind.to_le_bytes());
            memory.put(at + 8, &(start * MIB).to_le_bytes());
            memory.put(at + 24, &(len * MIB / 4096).to_le_bytes());
            memory.put(at + 32, &attributes.to_le_bytes());
        }
        memory
    }

    #[test]
    fn the_loaders_map_lists_free_ram() {
        assert_eq!(found(&memory(), traits()), [(16, 1), (96, 2)]);
    }

    #[test]
    fn efis_map_is_preferred() {
        let map = [(7, 32, 16, 0xf), (4, 64, 16, 0xf), (7, 96, 18, 0xf)];
        for size in [40, 48] {
            assert_eq!(found(&efi(&map, size), traits()), [(32, 1), (96, 2)]);
        }
        let without = Traits { efi: false, ..traits() };
        assert_eq!(found(&efi(&map, 48), without), [(16, 1), (96, 2)], "CONFIG_EFI off");
        let mut legacy = efi(&map, 48);
        legacy.put(PARAMS + 0x1c0, b"EL65");
        assert_eq!(found(&legacy, traits()), [(16, 1), (96, 2)]);
    }

    #[test]
    fn attributes_and_unaccepted_memory() {
        let reserved = [(7, 32, 16, 0x4_000f), (7, 96, 16, 0xf)];
        assert_eq!(found(&efi(&reserved, 48), traits()), [(96, 1)]);
        let unaware = Traits { soft_reserve: false, ..traits() };
        assert_eq!(found(&efi(&reserved, 48), unaware), [(32, 1), (96, 1)]);
        let mirrored = [(7, 32, 16, 0xf), (7, 96, 16, 0x1_000f)];
        assert_eq!(found(&efi(&mirrored, 48), traits()), [(96, 1)]);
        let mirrored_code = [(7, 32, 16, 0xf), (1, 96, 16, 0x1_000f)];
        assert_eq!(found(&efi(&mirrored_code, 48), traits()), []);
        let unaccepted = [(15, 32, 16, 0xf)];
        assert_eq!(found(&efi(&unaccepted, 48), traits()), []);
        let accepting = Traits { unaccepted_memory: true, ..traits() };
        assert_eq!(found(&efi(&unaccepted, 48), accepting), [(32, 1)]);
    }

    #[test]
    fn efis_map_may_be_out_of_reach_or_broken() {
        let mut high = efi(&[(7, 32, 16, 0xf)], 48);
        high.put(PARAMS + 0x1dc, &1u32.to_le_bytes());
        let narrow =
            |memory: &Bytes| found_with(memory, traits(), WordSize::Bits32, &[], Handover::Unknown);
        assert_eq!(narrow(&high), Ok(vec![(16, 1), (96, 2)]));
        let wide = found_with(&high, traits(), WordSize::Bits64, &[], Handover::Unknown);
        assert!(wide.unwrap_err().contains("not RAM"));
        let mut zero = efi(&[], 48);
        zero.put(PARAMS + 0x1c8, &[0; 4]);
        assert!(narrow(&zero).unwrap_err().contains("divides"));
        zero.put(PARAMS + 0x1c8, &[1]);
        zero.put(PARAMS + 0x1d4, &[0xff; 4]);
        assert!(narrow(&zero).is_err());
    }

    #[test]
    fn immovable_regions_narrow_the_choice_in_their_order() {
        let immovable = [
            Span { start: 98 * MIB, size: 100 * MIB },
            Span { start: 40 * MIB, size: MIB },
            Span { start: 0, size: 40 * MIB },
        ];
        let found =
            |spans| found_with(&memory(), traits(), WordSize::Bits64, spans, Handover::Unknown);
        assert_eq!(found(&immovable), Ok(vec![(16, 1), (98, 1)]));
        assert_eq!(found(&immovable[1..]), Ok(vec![(16, 1)]));
        assert!(found(&[Span { start: 20 * MIB, size: u64::MAX - 2 * MIB }]).is_err());
    }

    /// One node of kexec's, with this many bytes of scratch areas: one at 16 MiB, one at 64 MiB.
    fn kexec(size: u64) -> Bytes {
        let mut memory = memory();
        memory.put(PARAMS + 0x250, &NODE.to_le_bytes());
        memory.put(NODE + 8, &10u32.to_le_bytes());
        memory.put(NODE + 32, &MAP.to_le_bytes());
        memory.put(NODE + 40, &size.to_le_bytes());
        for (index, word) in [16 * MIB, 18 * MIB, 64 * MIB, 20 * MIB].iter().enumerate() {
            memory.put(MAP + index as u64 * 8, &word.to_le_bytes());
        }
        memory
    }

    #[test]
    fn only_scratch_areas_are_used_behind_a_kernel_that_hands_memory_over() {
        let found =
            |size, handover| found_with(&kexec(size), traits(), WordSize::Bits64, &[], handover);
        assert_eq!(found(32, Handover::Known), Ok(vec![(16, 2), (64, 3)]));
        assert_eq!(found(31, Handover::Known), Ok(vec![(16, 2)]));
        assert_eq!(found(15, Handover::Known), Ok(vec![(16, 1), (96, 2)]), "no area");
        assert_eq!(found(1 << 36 | 32, Handover::Known), Ok(vec![(16, 2), (64, 3)]), "an int");
        assert_eq!(found(1 << 35, Handover::Known), Ok(vec![]), "a negative int");
        assert_eq!(found(32, Handover::Unknown), Ok(vec![(16, 1), (96, 2)]));
        assert!(found(32, Handover::Unclear).is_err());
        assert!(found(1 << 30, Handover::Known).is_err(), "too many");
    }

    #[test]
    fn lists_have_an_end() {
        // Descriptors of one byte, each read as 40.
        let mut memory = efi(&[], 1);
        let mut found = |count: u32| {
            memory.put(PARAMS + 0x1d4, &count.to_le_bytes());
            memory.put(PARAMS + 0x1d0, &0u32.to_le_bytes());
            found_with(&memory, traits(), WordSize::Bits64, &[], Handover::Unknown)
        };
        assert!(found(MOST_ENTRIES as u32).is_ok());
        assert!(found(MOST_ENTRIES as u32 + 1).unwrap_err().contains("65537 entries"));

        let mut memory = Bytes::new(0, 0x20_0000);
        memory.put(PARAMS + 0x250, &NODE.to_le_bytes());
        memory.put(NODE + 8, &10u32.to_le_bytes());
        memory.put(NODE + 32, &0x2_0000u64.to_le_bytes());
        let mut found = |count: u64| {
            memory.put(NODE + 40, &(count * 16).to_le_bytes());
            found_with(&memory, traits(), WordSize::Bits64, &[], Handover::Known)
        };
        assert_eq!(found(MOST_ENTRIES), Ok(vec![]));
        assert!(found(MOST_ENTRIES + 1).unwrap_err().contains("65537 entries"));
    }
}
