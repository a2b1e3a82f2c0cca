// SPDX-License-Identifier: GPL-2.0-only
//! What a place of the kernel is called.

use crate::image::WordSize;
use crate::reference::Link;
use crate::vmlinux::Vmlinux;

/// Symbol and section of a link-time virtual address, such as `init_task+0x10, .data`; `None` where nothing is loaded. Per-cpu
/// data that is linked at 0 is found where its template is loaded.
pub fn place(vmlinux: &Vmlinux, link: Link, address: u64) -> Option<String> {
    let address = match link.word {
        WordSize::Bits32 => address & 0xffff_ffff,
        WordSize::Bits64 => address,
    };
    let physical = match link.word {
        WordSize::Bits32 => address.wrapping_sub(link.map) & 0xffff_ffff,
        WordSize::Bits64 => address.wrapping_sub(link.map),
    };
    let (index, linked) = vmlinux.loaded().find_map(|(index, section)| {
        let load = vmlinux.load_address(section)?;
        let inside = (load..load.saturating_add(section.sh_size)).contains(&physical);
        inside.then(|| (index, section.sh_addr.wrapping_add(physical - load)))
    })?;
    Some(format!("{}, {}", vmlinux.place(index, linked), vmlinux.section_name(index)))
}

/// The link-time virtual address that a table entry names.
pub fn full(link: Link, entry: u32) -> u64 {
    match link.word {
        WordSize::Bits32 => entry.into(),
        WordSize::Bits64 => i64::from(entry as i32) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::elf;
    use super::*;
    use crate::vmlinux::fixture::{Elf, Sec};

    const WIDE: Link =
        Link { physical: 0x100_0000, map: 0xffff_ffff_8000_0000, word: WordSize::Bits64 };
    const NARROW: Link = Link { physical: 0x100_0000, map: 0xc000_0000, word: WordSize::Bits32 };

    #[test]
    fn a_place_has_a_symbol_and_a_section() {
        let vmlinux = Vmlinux::parse(elf().build()).unwrap();
        let at = |address| place(&vmlinux, WIDE, address);
        assert_eq!(at(0xffff_ffff_8100_1000).as_deref(), Some("foo+0x0, .data"));
        assert_eq!(at(0xffff_ffff_8100_103f).as_deref(), Some("foo+0x3f, .data"));
        assert_eq!(at(0xffff_ffff_8100_203f).as_deref(), Some("note+0x3f, .notes"));
        assert_eq!(at(0xffff_ffff_8100_2040), None);
        assert_eq!(at(0xffff_ffff_80ff_ffff), None);
    }

    #[test]
    fn i386_computes_in_32_bits() {
        let mut elf = Elf::new(false);
        let text = elf.section(Sec::data(".text", 0x40));
        elf.symbol("start", elf.address(text), text);
        let vmlinux = Vmlinux::parse(elf.build()).unwrap();
        for address in [0xc100_0004, 0x5_c100_0004] {
            assert_eq!(place(&vmlinux, NARROW, address).as_deref(), Some("start+0x4, .text"));
        }
        assert_eq!(full(NARROW, 0xc100_0004), 0xc100_0004);
        assert_eq!(full(WIDE, 0x8100_0004), 0xffff_ffff_8100_0004);
    }

    #[test]
    fn per_cpu_data_is_found_where_its_template_is_loaded() {
        let mut elf = Elf::new(true);
        elf.section(Sec::data(".text", 0x40));
        let per_cpu = elf.section(Sec::per_cpu(0x80));
        elf.symbol("this_cpu_off", 0x10, per_cpu);
        let vmlinux = Vmlinux::parse(elf.build()).unwrap();
        let found = place(&vmlinux, WIDE, 0xffff_ffff_8100_1018);
        assert_eq!(found.as_deref(), Some("this_cpu_off+0x8, .data..percpu"));
    }
}
