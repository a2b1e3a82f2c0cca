// SPDX-License-Identifier: GPL-2.0-only
//! Lies in the setup header (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").

use super::dice::Dice;
use super::mutant::{Class, Edit, Mutant};
use super::twin::Twin;

/// The kinds of mistake.
pub const KINDS: &[&str] =
    &["size", "address", "alignment", "payload", "layout", "flags", "version", "other"];

/// A field: kind of lie, name, offset in the file, bytes.
type Field = (&'static str, &'static str, usize, usize);

const FIELDS: [Field; 24] = [
    ("size", "init_size", 0x260, 4),
    ("address", "pref_address", 0x258, 8),
    ("alignment", "kernel_alignment", 0x230, 4),
    ("alignment", "min_alignment", 0x235, 1),
    ("payload", "payload_offset", 0x248, 4),
    ("payload", "payload_length", 0x24c, 4),
    ("layout", "setup_sects", 0x1f1, 1),
    ("layout", "syssize", 0x1f4, 4),
    ("layout", "jump", 0x201, 1),
    ("flags", "relocatable_kernel", 0x234, 1),
    ("flags", "xloadflags", 0x236, 2),
    ("flags", "loadflags", 0x211, 1),
    ("version", "version", 0x206, 2),
    ("version", "boot_flag", 0x1fe, 2),
    ("version", "header", 0x202, 4),
    ("address", "code32_start", 0x214, 4),
    ("other", "kernel_version", 0x20e, 2),
    ("other", "initrd_addr_max", 0x22c, 4),
    ("other", "cmdline_size", 0x238, 4),
    ("other", "setup_data", 0x250, 8),
    ("other", "hardware_subarch", 0x23c, 4),
    ("other", "handover_offset", 0x264, 4),
    ("other", "kernel_info_offset", 0x268, 4),
    ("other", "heap_end_ptr", 0x224, 2),
];

/// Draws up to `count` different lies: fewer if there are no more.
pub fn draw(twin: &Twin, count: usize, dice: &mut Dice) -> Vec<Mutant> {
    let image = &twin.subject().image;
    let end = crate::image::HEADER_START + image.header().raw().len();
    let mut by_kind: Vec<Vec<Mutant>> = KINDS
        .iter()
        .map(|kind| {
            let fields = FIELDS.iter().filter(|(k, _, at, width)| k == kind && at + width <= end);
            let mut lies: Vec<Mutant> =
                fields.flat_map(|field| lies(image.file(), *field)).collect();
            dice.shuffle(&mut lies);
            lies
        })
        .collect();
    let mut mutants = Vec::new();
    while mutants.len() < count && by_kind.iter().any(|lies| !lies.is_empty()) {
        mutants.extend(by_kind.iter_mut().filter_map(Vec::pop));
    }
    mutants.truncate(count);
    mutants
}

/// The lies about one field: each bit of a flag the other way, numbers that are a little or far off.
fn lies(file: &[u8], (kind, name, at, width): Field) -> Vec<Mutant> {
    let bytes = &file[at..at + width];
    let before = bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let mut values: Vec<u64> = match kind {
        "flags" => (0..8 * width.min(1) as u32).map(|bit| before ^ 1 << bit).collect(),
        "version" if name == "version" => {
            vec![
                0x0100, 0x0200, 0x0204, 0x0205, 0x0206, 0x0208, 0x0209, 0x020a, 0x020c, 0x020e,
                0x0210,
            ]
        }
        _ => {
            let steps = [
                1i64, -1, 2, 4, 16, -16, 0x1000, -0x1000, 0x2000, 0x1_0000, -0x1_0000, 0x20_0000,
                -0x20_0000,
            ];
            steps
                .iter()
                .map(|step| before.wrapping_add_signed(*step))
                .chain([0, before << 1, before >> 1])
                .collect()
        }
    };
    let mask = if width == 8 { u64::MAX } else { (1 << (8 * width)) - 1 };
    for value in &mut values {
        *value &= mask;
    }
    values.sort_unstable();
    values.dedup();
    values.retain(|value| *value != before);
    values
        .into_iter()
        .map(|after| Mutant {
            class: Class::Header,
            kind,
            place: name.into(),
            before: format!("{before:#x}"),
            after: format!("{after:#x}"),
            edit: Edit::File(at, after.to_le_bytes()[..width].to_vec()),
            reached: u64::MAX,
        })
        .collect()
}
