// SPDX-License-Identifier: GPL-2.0-only
//! How many levels of page tables the kernel is given, and where the code lies that changes their number
//! (arch/x86/boot/compressed/pgtable_64.c).

use super::firmware::e820;
use super::guest::Guest;
use super::options::CommandLine;
use crate::image::{Traits, WordSize};
use crate::range::Range;

const PAGE: u64 = 4096;
/// One page for the top-level table, one for the code.
const TRAMPOLINE: u64 = 2 * PAGE;

/// Page tables at the hand-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Whether CR4.LA57 is set.
    pub five_levels: bool,
    /// The two pages that the stub runs from while paging is off, and restores; `None` if it needs none.
    pub trampoline: Option<Range>,
}

/// What the stub asks for, given what the CPU can do and what the loader left.
pub fn levels(
    guest: &Guest,
    traits: Traits,
    command_line: Option<&CommandLine>,
    la57: bool,
    entered_with_five_levels: bool,
) -> Result<Paging, String> {
    if guest.word == WordSize::Bits32 {
        return Ok(Paging { five_levels: false, trampoline: None });
    }
    // Without a command line the search for the word fails, which the stub takes for the word.
    let forbidden = command_line.is_none_or(|line| line.position("no5lvl") != 0);
    let five_levels = la57 && traits.five_levels && !forbidden;
    let needed = !traits.trampoline_on_demand || five_levels != entered_with_five_levels;
    let trampoline = needed.then(|| trampoline(guest)).transpose()?;
    Ok(Paging { five_levels, trampoline })
}

/// `find_trampoline_placement()`.
fn trampoline(guest: &Guest) -> Result<Range, String> {
    const LOWEST_BIOS: u64 = 0x2_0000;
    const HIGHEST_BIOS: u64 = 0x9_f000;
    let (mut ebda, mut bios) = (0, 0);
    if !guest.page.booted_by_efi() {
        ebda = u64::from(guest.u16(0x40e, "the BIOS data area")?) << 4;
        bios = u64::from(guest.u16(0x413, "the BIOS data area")?) << 10;
    }
    if !(LOWEST_BIOS..=HIGHEST_BIOS).contains(&bios) {
        bios = HIGHEST_BIOS;
    }
    if ebda > LOWEST_BIOS {
        bios = bios.min(ebda);
    }
    bios = page_down(bios);
    for entry in e820::entries(guest).rev() {
        let entry = entry?;
        if bios <= entry.start || !entry.is_ram() {
            continue;
        }
        let end = page_down(bios.min(entry.start.wrapping_add(entry.size)));
        let lowest = end.wrapping_sub(TRAMPOLINE);
        if lowest < entry.start {
            continue;
        }
        if lowest <= bios {
            bios = end;
        }
        break;
    }
    let start = bios.wrapping_sub(TRAMPOLINE);
    Ok(Range::sized(start, TRAMPOLINE))
}

fn page_down(address: u64) -> u64 {
    address & !(PAGE - 1)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bytes, e820_table};
    use super::*;

    const PARAMS: u64 = 0x1_0000;

    fn both() -> Traits {
        Traits { five_levels: true, trampoline_on_demand: true, ..Traits::default() }
    }

    fn memory() -> Bytes {
        let mut memory = Bytes::new(0, 0x2_0000);
        memory.put(0x40e, &0x9fc0u16.to_le_bytes());
        memory.put(0x413, &639u16.to_le_bytes());
        memory.put(PARAMS + 0x228, &0x1_8000u32.to_le_bytes());
        e820_table(&mut memory, PARAMS, &[(0, 0x9_fc00, 1), (0x10_0000, 0x1000_0000, 1)]);
        memory
    }

    fn at(memory: &Bytes, traits: Traits, la57: bool, entered_with_five: bool) -> Paging {
        let guest = Guest::new(memory, WordSize::Bits64, PARAMS, [None; 2]).unwrap();
        let line = CommandLine::read(&guest).unwrap();
        levels(&guest, traits, line.as_ref(), la57, entered_with_five).unwrap()
    }

    #[test]
    fn five_levels_need_the_cpu_the_kernel_and_a_command_line_that_allows_them() {
        let five = |memory: &Bytes, traits, la57| at(memory, traits, la57, false).five_levels;
        assert!(five(&memory(), both(), true));
        assert!(!five(&memory(), both(), false));
        assert!(!five(&memory(), Traits::default(), true));
        let mut forbidden = memory();
        forbidden.put(0x1_8000, b"a no5lvl b");
        assert!(!five(&forbidden, both(), true));
        forbidden.put(0x1_8000, b"a no5lvlx ");
        assert!(five(&forbidden, both(), true));
        let mut absent = memory();
        absent.put(PARAMS + 0x228, &[0; 4]);
        assert!(!five(&absent, both(), true));
    }

    #[test]
    fn the_trampoline_is_used_always_or_on_demand() {
        let used =
            |traits, la57, entered| at(&memory(), traits, la57, entered).trampoline.is_some();
        assert!(!used(both(), false, false) && !used(both(), true, true));
        assert!(used(both(), true, false) && used(both(), false, true));
        assert!(used(Traits::default(), false, false));
    }

    #[test]
    fn the_trampoline_lies_below_the_bios() {
        let place = |change: &dyn Fn(&mut Bytes)| {
            let mut memory = memory();
            change(&mut memory);
            at(&memory, Traits::default(), false, false).trampoline.unwrap().start
        };
        let map = |entries: &'static [(u64, u64, u32)]| {
            move |memory: &mut Bytes| e820_table(memory, PARAMS, entries)
        };
        // 639 KiB and the extended BIOS data begin at 0x9fc00, in the page that is above the highest start.
        assert_eq!(place(&|_| {}), 0x9_d000);
        assert_eq!(place(&|m| m.put(0x40e, &0x8123u16.to_le_bytes())), 0x7_f000);
        assert_eq!(place(&|m| m.put(0x413, &512u16.to_le_bytes())), 0x7_e000);
        assert_eq!(place(&|m| m.put(0x413, &64u16.to_le_bytes())), 0x9_d000, "insane");
        assert_eq!(place(&|m| m.put(0x40e, &0x2000u16.to_le_bytes())), 0x9_d000, "too low");
        assert_eq!(place(&map(&[(0, 0x5_0800, 1)])), 0x4_e000, "rounded down");
        assert_eq!(place(&map(&[(0, 0x5_0000, 2)])), 0x9_d000, "reserved");
        assert_eq!(place(&map(&[(0, 0x4_0000, 1), (0x5_0000, 0x1fff, 1)])), 0x3_e000, "too small");
        assert_eq!(place(&map(&[(0, 0x4_0000, 1), (0x5_0000, 0x2000, 1)])), 0x5_0000, "just fits");
        assert_eq!(place(&map(&[(0, 0x1000, 1)])), 0x9_d000, "underflow");
        let efi = |m: &mut Bytes| {
            m.put(0x40e, &0x8123u16.to_le_bytes());
            m.put(PARAMS + 0x1c0, b"EL64");
        };
        assert_eq!(place(&efi), 0x9_d000, "EFI has no BIOS data");
    }
}
