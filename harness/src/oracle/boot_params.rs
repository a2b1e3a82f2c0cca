// SPDX-License-Identifier: GPL-2.0-only
//! Every byte of boot_params is as the kernel must find it: as the loader left it, but for what the stub has
//! to change.

use std::mem::{offset_of, size_of};

use linux_raw_sys::bootparam::{boot_params, setup_header};

use super::scene::Scene;
use super::{Finding, Rule};
use crate::machine::PAGE;

/// The fields that a stub reads or writes, in ascending order: name, offset and size.
const FIELDS: [(&str, usize, usize); 25] = [
    ("screen_info.orig_x", 0x00, 1),
    ("screen_info.orig_y", 0x01, 1),
    ("acpi_rsdp_addr", offset_of!(boot_params, acpi_rsdp_addr), 8),
    ("ext_ramdisk_image", offset_of!(boot_params, ext_ramdisk_image), 4),
    ("ext_ramdisk_size", offset_of!(boot_params, ext_ramdisk_size), 4),
    ("ext_cmd_line_ptr", offset_of!(boot_params, ext_cmd_line_ptr), 4),
    ("cc_blob_address", 0x13c, 4),
    ("edid_info", offset_of!(boot_params, edid_info), 128),
    ("efi_info", offset_of!(boot_params, efi_info), 32),
    ("scratch", offset_of!(boot_params, scratch), 4),
    ("e820_entries", offset_of!(boot_params, e820_entries), 1),
    ("sentinel", offset_of!(boot_params, sentinel), 1),
    ("hdr.type_of_loader", offset_of!(boot_params, hdr.type_of_loader), 1),
    ("hdr.loadflags", offset_of!(boot_params, hdr.loadflags), 1),
    ("hdr.code32_start", offset_of!(boot_params, hdr.code32_start), 4),
    ("hdr.ramdisk_image", offset_of!(boot_params, hdr.ramdisk_image), 4),
    ("hdr.ramdisk_size", offset_of!(boot_params, hdr.ramdisk_size), 4),
    ("hdr.cmd_line_ptr", offset_of!(boot_params, hdr.cmd_line_ptr), 4),
    ("hdr.kernel_alignment", offset_of!(boot_params, hdr.kernel_alignment), 4),
    ("hdr.xloadflags", offset_of!(boot_params, hdr.xloadflags), 2),
    ("hdr.setup_data", offset_of!(boot_params, hdr.setup_data), 8),
    ("hdr.pref_address", offset_of!(boot_params, hdr.pref_address), 8),
    ("hdr.init_size", offset_of!(boot_params, hdr.init_size), 4),
    ("hdr", offset_of!(boot_params, hdr), size_of::<setup_header>()),
    ("e820_table", offset_of!(boot_params, e820_table), 128 * 20),
];

/// Judges the page after the run.
pub fn judge(scene: &Scene) -> Vec<Finding> {
    let Ok(expected) = &scene.hand_over else { return Vec::new() };
    let address = scene.setup.boot_params;
    let Some(actual) = scene.outcome.ram.slice(address, PAGE as usize) else { return Vec::new() };
    let unknown = |at: &usize| expected.unknown.iter().any(|range| range.contains(at));
    let mut findings: Vec<Finding> = Vec::new();
    for at in (0..PAGE as usize).filter(|at| !unknown(at)) {
        if expected.bytes[at] == actual[at] {
            continue;
        }
        let (name, start, end) = field(at);
        if let Some(known) = findings.iter_mut().find(|finding| finding.place == name) {
            known.bytes += 1;
            continue;
        }
        let shown = start..end.min(start + 8);
        findings.push(Finding {
            address: Some(address + at as u64),
            bytes: 1,
            ..Finding::new(
                Rule::BootParams,
                name,
                hex(&expected.bytes[shown.clone()]),
                hex(&actual[shown]),
            )
        });
    }
    findings
}

/// The name of the field at `offset`, and where it lies.
fn field(offset: usize) -> (String, usize, usize) {
    let known = FIELDS.iter().find(|(_, start, size)| (*start..start + size).contains(&offset));
    match known {
        Some((name, start, size)) if *size <= 8 => (name.to_string(), *start, start + size),
        Some((name, start, size)) => {
            let end = (start + size).min(PAGE as usize);
            (format!("{name}+{:#x}", (offset - start) & !7), offset & !7, end)
        }
        None => (format!("offset {:#x}", offset & !7), offset & !7, (offset & !7) + 8),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, build, fixture};
    use super::*;
    use crate::case::Case;
    use crate::image::WordSize;

    #[test]
    fn small_fields_are_named_as_a_whole_and_large_ones_by_place() {
        assert_eq!(field(0x1e6), ("scratch".into(), 0x1e4, 0x1e8));
        assert_eq!(field(0x211), ("hdr.loadflags".into(), 0x211, 0x212));
        assert_eq!(field(0x2d0 + 21), ("e820_table+0x10".into(), 0x2e0, 0xcd0));
        assert_eq!(field(0x1f5).0, "hdr+0x0");
        assert_eq!(field(0x2d0 + 128 * 20 - 1).0, "e820_table+0x9f8");
        assert_eq!(field(0x2d0 + 128 * 20).0, "offset 0xcd0");
        assert_eq!(field(0xeed), ("offset 0xee8".into(), 0xee8, 0xef0));
    }

    #[test]
    fn each_field_is_one_finding_with_its_bytes() {
        let mut run = Run::new(WordSize::Bits64);
        let at = run.setup.boot_params;
        for offset in [0x1e4, 0x1e6, 0x236, 0xff8, 0xfff] {
            run.flip(at + offset);
        }
        let found = run.judge().findings;
        let shown: Vec<_> = found
            .iter()
            .map(|f| {
                (&f.place[..], f.address.unwrap() - at, f.bytes, &f.expected[..], &f.actual[..])
            })
            .collect();
        let zeros = "00 00 00 00 00 00 00 00";
        assert_eq!(
            shown,
            [
                ("scratch", 0x1e4, 2, "0b 00 00 01", "0a 00 01 01"),
                ("hdr.xloadflags", 0x236, 1, "03 00", "02 00"),
                ("offset 0xff8", 0xff8, 2, zeros, "01 00 00 00 00 00 00 01"),
            ]
        );
        assert!(found.iter().all(|found| found.rule == Rule::BootParams));
        let mut run = Run::new(WordSize::Bits64);
        run.flip(at + 0x2d0 + 16);
        let found = &run.judge().findings[0];
        assert_eq!(found.place, "e820_table+0x10");
        assert_eq!(found.expected, "01 00 00 00 00 00 10 00", "eight bytes of it");
    }

    #[test]
    fn what_cannot_be_known_is_not_judged() {
        // Without the string that KASLR hashes first its choice is not known, and so neither is what it prints.
        let mut fixture = fixture(WordSize::Bits64, "6.1.192", "nokaslr\0");
        fixture.stub_text = fixture.stub_text.replace("6.1.192 (", "6.1.192_(");
        let case = Case { command_line: Some("quiet".into()), screen: true, ..Case::default() };
        let mut run = Run::of(build(fixture), case);
        assert_eq!(run.said(), [] as [&str; 0]);
        assert!(run.judge().unpredicted.unwrap().starts_with("KASLR's choice: the build string"));
        let at = run.setup.boot_params;
        run.flip(at);
        run.flip(at + 1);
        assert_eq!(run.said(), [] as [&str; 0], "the cursor");
        run.flip(at + 2);
        assert_eq!(run.said(), ["boot-params: offset 0x0"]);
    }

    #[test]
    fn without_a_model_nothing_is_said() {
        let mut run = Run::new(WordSize::Bits64);
        run.subject.model = Err("none".into());
        run.flip(run.setup.boot_params + 0x1e4);
        assert_eq!(run.said(), [] as [&str; 0]);
        assert_eq!(run.judge().unpredicted.as_deref(), Some("boot_params: none"));
    }
}
