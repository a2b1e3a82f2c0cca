// SPDX-License-Identifier: GPL-2.0-only
//! The report of `inspect` for people.

use anstyle::Style;

use super::report::{HeaderFacts, Hex, KernelFacts, Report, TableFacts};

const HEADING: Style = Style::new().bold();
const NAME: Style = Style::new().dimmed();
/// Width of the column of field names.
const NAME_WIDTH: usize = 20;

/// Lines under construction.
struct Lines(String);

impl Lines {
    fn heading(&mut self, text: &str) {
        self.0 += &format!("\n{HEADING}{text}{HEADING:#}\n");
    }

    fn field(&mut self, name: &str, value: impl ToString) {
        self.0 += &format!("  {NAME}{name:NAME_WIDTH$}{NAME:#} {}\n", value.to_string());
    }

    fn optional(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    fn row(&mut self, text: &str) {
        self.0 += &format!("  {}\n", text.trim_end());
    }

    fn column_names(&mut self, text: &str) {
        self.0 += &format!("  {NAME}{}{NAME:#}\n", text.trim_end());
    }
}

/// The whole report, with colours as escape sequences.
pub fn render(report: &Report) -> String {
    let mut lines = Lines(format!("{HEADING}{}{HEADING:#}\n", report.path));
    if let Some(file) = &report.file {
        lines.optional("version", file.kernel_version.as_deref());
        lines.field("file", format!("{} bytes", grouped(file.size)));
        lines.field("sha256", &file.sha256);
        lines.field("setup code", format!("{} bytes", file.setup_size));
        lines.field("protected-mode code", format!("{} bytes", file.protected_mode_size));
        if file.trailing_size != Hex(0) {
            lines
                .field("behind that", format!("{} bytes (signature, padding)", file.trailing_size));
        }
    }
    if let Some(header) = &report.header {
        header_lines(&mut lines, header);
    }
    if let Some(stub) = &report.stub {
        lines.heading("Stub");
        lines.field("relocation loops", list(&stub.relocation_loops));
        lines.field("build_str", stub.build_str.as_deref().unwrap_or("not found"));
    }
    if let Some(payload) = &report.payload {
        lines.heading("Payload");
        lines.field("compression", &payload.compression);
        lines.field(
            "compressed",
            format!("{} bytes at {} of the stub", payload.length, payload.offset),
        );
        lines.field("decompressed", with_size(payload.output_len));
    }
    if let Some(kernel) = &report.kernel {
        let pref_address = report.header.as_ref().and_then(|header| header.pref_address);
        kernel_lines(&mut lines, kernel, pref_address);
        table_lines(&mut lines, &kernel.table);
    }
    if let Some(vmlinux) = &report.vmlinux {
        let equal = vmlinux.equal_entries.map(|equal| format!("{} entries equal", grouped(equal)));
        lines.optional("against vmlinux", equal);
        lines.optional("not against vmlinux", vmlinux.not_compared.as_deref());
        vmlinux.findings.iter().for_each(|finding| lines.row(finding));
    }
    lines.0.push('\n');
    lines.0
}

fn header_lines(lines: &mut Lines, header: &HeaderFacts) {
    lines.heading("What the header asks of a loader");
    lines.field("boot protocol", &header.version);
    lines.field("relocatable", yes_no(header.relocatable));
    lines.optional("kernel_alignment", header.kernel_alignment.map(with_size));
    lines.optional("min_alignment", header.min_alignment.map(with_size));
    lines.optional("pref_address", header.pref_address.map(with_size));
    lines.optional("init_size", header.init_size.map(with_size));
    lines.field("entry protocols", list(&header.entries));
    lines.field("above 4 GiB", yes_no(header.above_4g));
    lines.field("code32_start", header.code32_start);
    lines.field("loadflags", header.loadflags);
    lines.optional("xloadflags", header.xloadflags);
    lines.optional("initrd_addr_max", header.initrd_addr_max);
    lines.optional("cmdline_size", header.cmdline_size);
    lines.optional("handover_offset", header.handover_offset);
    lines.optional("kernel_info_offset", header.kernel_info_offset);
}

fn kernel_lines(lines: &mut Lines, kernel: &KernelFacts, pref_address: Option<Hex>) {
    lines.heading("Kernel");
    lines.field("word size", format!("{} bits", kernel.bits));
    let distance = pref_address.and_then(|base| kernel.entry.0.checked_sub(base.0)).map(Hex);
    lines.field(
        "entry point",
        match distance {
            Some(distance) => format!("{} (pref_address + {distance})", kernel.entry),
            None => kernel.entry.to_string(),
        },
    );
    let file = if kernel.flat { "flat binary" } else { "ELF file" };
    lines.field(file, format!("{} bytes", kernel.elf_len));
    lines.0.push('\n');
    let names = ("offset", "paddr", "vaddr", "filesz", "memsz", "align", "flags");
    lines.column_names(&format!(
        "{:>11} {:>11} {:>18} {:>11} {:>11} {:>9}  {}",
        names.0, names.1, names.2, names.3, names.4, names.5, names.6
    ));
    for segment in &kernel.segments {
        lines.row(&format!(
            "{:>11} {:>11} {:>18} {:>11} {:>11} {:>9}  {}",
            segment.offset,
            segment.paddr,
            segment.vaddr,
            segment.filesz,
            segment.memsz,
            segment.align,
            segment.flags
        ));
    }
}

fn table_lines(lines: &mut Lines, table: &TableFacts) {
    lines.heading("Relocation table, in the order in which the stub applies it");
    if table.words == 0 {
        lines.row("none: the payload ends with the ELF file");
    } else {
        lines.field(
            "place",
            format!("{} words at {} of the kernel", grouped(table.words), table.offset),
        );
        lines.0.push('\n');
        lines.column_names(&format!(
            "{:16} {:>9} {:>11} {:>11}",
            "group", "entries", "first", "last"
        ));
    }
    for group in &table.groups {
        let address = |value: Option<Hex>| value.map_or("-".to_owned(), |value| value.to_string());
        lines.row(&format!(
            "{:16} {:>9} {:>11} {:>11}",
            group.kind,
            grouped(group.entries),
            address(group.first),
            address(group.last)
        ));
    }
    let oddities = [
        (table.unread_words, "words in front that no loop reads"),
        (table.missing_terminators, "loops without a terminator"),
        (table.trailing_bytes, "bytes that make no whole word"),
    ];
    for (count, what) in oddities.into_iter().filter(|(count, _)| *count != 0) {
        lines.row(&format!("odd: {count} {what}"));
    }
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn list(items: &[impl AsRef<str>]) -> String {
    if items.is_empty() {
        return "none found".to_owned();
    }
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// "0x1000000 (16 MiB)"; one decimal where it is not a whole number.
fn with_size(value: Hex) -> String {
    let (unit, name) = match value.0 {
        0..0x400 => return value.to_string(),
        0x400..0x10_0000 => (1 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    let tenths = u128::from(value.0) * 10 / unit;
    match tenths % 10 {
        _ if u128::from(value.0) % unit == 0 => format!("{value} ({} {name})", tenths / 10),
        tenth => format!("{value} ({}.{tenth} {name})", tenths / 10),
    }
}

/// A count with its thousands set apart: 1,234,567.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down_to_a_tenth() {
        assert_eq!(with_size(Hex(0x20)), "0x20");
        assert_eq!(with_size(Hex(0x2000)), "0x2000 (8 KiB)");
        assert_eq!(with_size(Hex(0x100_0000)), "0x1000000 (16 MiB)");
        assert_eq!(with_size(Hex(0x2d5_e000)), "0x2d5e000 (45.3 MiB)");
        assert_eq!(with_size(Hex(u64::MAX)), "0xffffffffffffffff (17179869183.9 GiB)");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
