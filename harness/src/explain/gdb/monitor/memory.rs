// SPDX-License-Identifier: GPL-2.0-only
//! What lies where: page tables, the memory map, relocations.

use std::fmt::Write;
use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::super::target::Debugged;
use crate::image::{RelocKind, WordSize};
use crate::machine::{Access, MachineError, Miss};
use crate::oracle;
use crate::reference::Prediction;

/// Bytes of one entry of the memory map.
const E820_ENTRY: u64 = 20;

/// How a linear address is translated.
pub fn page_tables(debugged: &Debugged, address: u64) -> Result<String, MachineError> {
    let session = &debugged.session;
    let paging = session.paging()?;
    let mut text = format!("cr0 {:#x} cr3 {:#x} cr4 {:#x}\n", paging.cr0, paging.cr3, paging.cr4);
    let walk = paging.walk_telling(session.ram(), address, Access::Read, |step| {
        let flags = [(0, "P"), (1, "W"), (2, "U"), (5, "A"), (6, "D"), (7, "PS"), (63, "NX")];
        let set = flags.iter().filter(|(bit, _)| step.entry >> bit & 1 != 0);
        let set: Vec<&str> = set.map(|(_, name)| *name).collect();
        let _ = writeln!(
            text,
            "level {} entry at {:#x}: {:#018x} {}",
            step.level,
            step.slot,
            step.entry,
            set.join(" ")
        );
    });
    let _ = match walk {
        Ok(found) if found.page_size == 0 => {
            writeln!(text, "paging is off: {address:#x} is physical {:#x}", found.physical)
        }
        Ok(found) => writeln!(
            text,
            "{address:#x} is physical {:#x}, in a page of {:#x} bytes",
            found.physical, found.page_size
        ),
        Err(Miss::PageFault(_)) => writeln!(text, "{address:#x} is not mapped"),
        Err(Miss::TableOutsideRam(slot)) => writeln!(text, "no RAM at the entry {slot:#x}"),
        Err(Miss::Unsupported) => writeln!(text, "paging outside long mode is not emulated"),
    };
    if let Ok(found) = walk
        && !session.ram().contains(found.physical)
    {
        text += "there is no RAM\n";
    }
    Ok(text)
}

/// The memory map that boot_params have now.
pub fn e820(debugged: &Debugged) -> String {
    let ram = debugged.session.ram();
    let at = debugged.debuggee.setup.boot_params;
    let mut count = [0];
    if ram.read(at.wrapping_add(offset_of!(boot_params, e820_entries) as u64), &mut count).is_err()
    {
        return format!("boot_params at {at:#x} are not in RAM\n");
    }
    let mut text = format!("boot_params at {at:#x}, {} entries\n", count[0]);
    let table = at.wrapping_add(offset_of!(boot_params, e820_table) as u64);
    for index in 0..u64::from(count[0]) {
        let mut entry = [0; E820_ENTRY as usize];
        if ram.read(table.wrapping_add(index * E820_ENTRY), &mut entry).is_err() {
            let _ = writeln!(text, "entry {index} is not in RAM");
            break;
        }
        let long = |from: usize| u64::from_le_bytes(entry[from..from + 8].try_into().expect("8"));
        let (start, size) = (long(0), long(8));
        let kind = match u32::from_le_bytes(entry[16..].try_into().expect("four")) {
            1 => "usable".to_owned(),
            2 => "reserved".to_owned(),
            3 => "ACPI data".to_owned(),
            4 => "ACPI NVS".to_owned(),
            5 => "unusable".to_owned(),
            7 => "persistent memory".to_owned(),
            other => format!("type {other:#x}"),
        };
        let _ = writeln!(text, "{start:#018x} to {:#018x} {kind}", start.wrapping_add(size));
    }
    text
}

/// The entry of the relocation table that names the byte at `address`, wherever the kernel is meant: where it lands, where it was
/// linked, or where it runs.
pub fn relocation(debugged: &Debugged, address: u64) -> String {
    let debuggee = debugged.debuggee;
    let subject = debuggee.subject;
    let (output, virt) = match oracle::plan(subject, debuggee.case, debuggee.setup) {
        Ok((_, Prediction { output, virt })) => (output, virt),
        Err(why) => return format!("where the kernel goes cannot be predicted: {why}\n"),
    };
    let link = subject.link;
    let linked = link.map.wrapping_add(link.physical);
    let (runs_at, delta) = match link.word {
        WordSize::Bits32 => {
            (link.map.wrapping_add(output) & 0xffff_ffff, output.wrapping_sub(link.physical))
        }
        WordSize::Bits64 => (link.map.wrapping_add(virt), virt.wrapping_sub(link.physical)),
    };
    let len = subject.moved.len() as u64;
    let bases = [
        ("where it lands", output),
        ("where it was linked", linked),
        ("as a table entry names it", linked & 0xffff_ffff),
        ("where it runs", runs_at),
    ];
    let Some((meaning, base)) =
        bases.into_iter().find(|(_, base)| address.wrapping_sub(*base) < len)
    else {
        return format!("{address:#x} is not in the kernel, which lands at {output:#x}\n");
    };
    let offset = address.wrapping_sub(base);
    let mut text = format!(
        "{address:#x} is in the kernel {meaning}: output + {offset:#x}, {}\n",
        subject.describe(offset)
    );
    let mut found = false;
    for group in &subject.table.groups {
        for (index, entry) in group.entries.iter().enumerate() {
            let field = link.field_offset(*entry);
            if offset.wrapping_sub(field) < group.kind.width() as u64 {
                found = true;
                let of = group.entries.len();
                let _ = writeln!(
                    text,
                    "{} entry {entry:#x}, number {index} of {of}, field at output + {field:#x} = {:#x}",
                    group.kind,
                    output.wrapping_add(field)
                );
                text += &values(debugged, group.kind, field, output, delta);
            }
        }
    }
    if !found {
        text += "no entry of the relocation table names it\n";
    }
    text
}

fn values(debugged: &Debugged, kind: RelocKind, field: u64, output: u64, delta: u64) -> String {
    let width = kind.width();
    let moved = &debugged.debuggee.subject.moved;
    let before = usize::try_from(field).ok().and_then(|at| moved.get(at..at.checked_add(width)?));
    let Some(before) = before else { return "its field is outside the kernel\n".to_owned() };
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..width].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let before = word(before);
    let after = match kind {
        RelocKind::Abs64 => before.wrapping_add(delta),
        RelocKind::Abs32 => u64::from((before as u32).wrapping_add(delta as u32)),
        RelocKind::Inverse32 => u64::from((before as u32).wrapping_sub(delta as u32)),
    };
    let mut now = [0; 8];
    let read = debugged.session.ram().read(output.wrapping_add(field), &mut now[..width]);
    let now = u64::from_le_bytes(now);
    let state = match read {
        Err(_) => "no RAM".to_owned(),
        Ok(()) if now == after => format!("{now:#x}, as after"),
        Ok(()) if now == before => format!("{now:#x}, as before"),
        Ok(()) => format!("{now:#x}, neither"),
    };
    format!("before {before:#x}\nafter  {after:#x}\nnow    {state}\n")
}
