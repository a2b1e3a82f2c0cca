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
