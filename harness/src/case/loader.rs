// SPDX-License-Identifier: GPL-2.0-only
//! The loader: puts an image and what it needs into memory, as a case says.

use std::sync::Arc;

use super::{Case, MAX_E820_ENTRIES, MemoryKind, Protocol, boot_params, identity_map};
use crate::image::{Image, WordSize};
use crate::machine::{
    BOOT_CS, BOOT_DS, CpuFeatures, EntryMode, EntryState, Fill, PAGE, Placed, Setup,
};
use crate::range::Range;

/// Where the loader puts what is not the image: all of it in the first megabyte, as real loaders do.
pub struct Layout;

impl Layout {
    /// Interrupt vectors and BIOS data.
    pub const BIOS_DATA: Range = Range { start: 0, end: 0x1000 };
    /// boot_params.
    pub const BOOT_PARAMS: Range = Range { start: 0x1_0000, end: 0x1_1000 };
    /// Command line with its NUL.
    pub const COMMAND_LINE: Range = Range { start: 0x2_0000, end: 0x2_1000 };
    /// The loader's GDT.
    pub const GDT: Range = Range { start: 0x3_0000, end: 0x3_1000 };
    /// The loader's page tables, for the 64-bit entry.
    pub const PAGE_TABLES: Range = Range { start: 0x4_0000, end: 0x8_0000 };
    /// Extended BIOS data, video memory and ROMs.
    pub const UPPER: Range = Range { start: 0x9_f000, end: 0x10_0000 };
    /// The text screen: a character and its colour for each place.
    pub const SCREEN: Range = Range { start: 0xb_8000, end: 0xb_8fa0 };
    /// What a PC always has at the bottom, whatever the memory map says.
    pub const FIRST_MEGABYTE: Range = Range { start: 0, end: 0x10_0000 };
}

/// Longest command line with its NUL (COMMAND_LINE_SIZE, arch/x86/include/uapi/asm/setup.h).
const COMMAND_LINE_SIZE: usize = 2048;
/// Offset of the 64-bit entry point (boot.rst, "64-bit Boot Protocol").
const ENTRY_64: u64 = 0x200;
/// Blocks that a run may take at most: some minutes, and ten times what the largest kernels need.
const LARGEST_BUDGET: u64 = 1 << 38;
/// Highest address bit that an x86 CPU can have.
const PHYSICAL_BITS: u32 = 52;

/// A case that cannot be run as it stands; the message names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct CaseError {
    /// The field of the case.
    pub field: &'static str,
    /// What was found and what was expected.
    pub problem: String,
}

pub(super) fn wrong(field: &'static str, problem: impl Into<String>) -> CaseError {
    CaseError { field, problem: problem.into() }
}

/// Puts `image`, whose kernel has word size `word`, into memory as `case` says.
///
/// # Errors
///
/// The case asks for something impossible, or breaks the boot protocol: then a failure would be the
/// loader's, not the stub's.
pub fn place(image: &Image, word: WordSize, case: &Case) -> Result<Setup, CaseError> {
    check_entry(image, word, case)?;
    let ram = ram(case)?;
    let stub =
        Placed { address: case.load, bytes: Arc::from(image.protected_mode()), what: "stub" };
    check_room(image, case, &stub, &ram)?;

    let mode = match case.protocol {
        Protocol::Bits32 => EntryMode::Protected,
        Protocol::Bits64 => {
            EntryMode::Long { page_tables: Layout::PAGE_TABLES.start, five_levels: false }
        }
    };
    let mut placed = vec![
        put(Layout::BIOS_DATA, bios_data(), "BIOS data"),
        put(Layout::UPPER, vec![0; Layout::UPPER.len() as usize], "BIOS and video memory"),
        put(
            Layout::BOOT_PARAMS,
            boot_params::build(image.header(), case, Layout::COMMAND_LINE.start as u32),
            "boot_params",
        ),
        put(Layout::COMMAND_LINE, command_line(case)?, "command line"),
        put(Layout::GDT, gdt(case.protocol), "loader's GDT"),
    ];
    if case.protocol == Protocol::Bits64 {
        let area = Layout::PAGE_TABLES;
        let tables = identity_map::build(area.start, area.len(), &ram)
            .ok_or_else(|| wrong("memory", "more RAM than the loader's page tables can map"))?;
        placed.push(put(area, tables, "loader's page tables"));
    }
    Ok(Setup {
        word,
        cpu: CpuFeatures::default(),
        mode,
        entry_state: EntryState::default(),
        entry: case.load + if case.protocol == Protocol::Bits64 { ENTRY_64 } else { 0 },
        payload: image.payload().range.clone(),
        stub,
        boot_params: Layout::BOOT_PARAMS.start,
        gdt: (Layout::GDT.start, (gdt(case.protocol).len() - 1) as u16),
        ram,
        fill: Fill(case.fill),
        placed,
        timer: case.timer.clone(),
        budget: case.budget,
    })
}

fn put(area: Range, bytes: Vec<u8>, what: &'static str) -> Placed {
    Placed { address: area.start, bytes: bytes.into(), what }
}

fn check_entry(image: &Image, word: WordSize, case: &Case) -> Result<(), CaseError> {
    const XLF_KERNEL_64: u16 = 1;
    const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 2;
    let flags = image.header().xloadflags.unwrap_or(0);
    let end = case.load.saturating_add(init_size(image));
    if case.protocol == Protocol::Bits64 && (word == WordSize::Bits32 || flags & XLF_KERNEL_64 == 0)
    {
        return Err(wrong("protocol", "the image has no 64-bit entry point (xloadflags bit 0)"));
    }
    if case.protocol == Protocol::Bits32 && end > 1 << 32 {
        return Err(wrong("load", "the 32-bit entry needs the kernel to end below 4 GiB"));
    }
    if end > 1 << 32 && flags & XLF_CAN_BE_LOADED_ABOVE_4G == 0 {
        return Err(wrong("load", "the image may not lie above 4 GiB (xloadflags bit 1)"));
    }
    if !case.load.is_multiple_of(PAGE) {
        return Err(wrong("load", format!("{:#x} is not a multiple of {PAGE:#x}", case.load)));
    }
    if !(1..=LARGEST_BUDGET).contains(&case.budget) {
        let problem = format!("{}, expected 1 to {LARGEST_BUDGET} blocks", case.budget);
        return Err(wrong("budget", problem));
    }
    if let Some(alignment) = case.kernel_alignment {
        let least = 1 << image.header().min_alignment.unwrap_or(0).min(31);
        if !alignment.is_power_of_two() || alignment < least || alignment > 1 << 31 {
            let problem =
                format!("{alignment:#x} is no power of two from {least:#x} to 0x80000000");
            return Err(wrong("kernel_alignment", problem));
        }
    }
    Ok(())
}

/// The loader keeps its side of the contract: where the image lies, and where it will move, there is RAM
/// and nothing else (boot.rst, `init_size`).
fn check_room(image: &Image, case: &Case, stub: &Placed, ram: &[Range]) -> Result<(), CaseError> {
    let low = Layout::FIRST_MEGABYTE;
    let window = Range::sized(case.load, init_size(image));
    if stub.range().start < low.end {
        return Err(wrong("load", format!("{:#x} is below 1 MiB", case.load)));
    }
    let fits = |range: Range| ram.iter().any(|part| part.covers(range));
    if !fits(window) || !fits(stub.range()) {
        return Err(wrong("load", format!("there is no RAM for all of {window}")));
    }
    let alignment = case.kernel_alignment.or(image.header().kernel_alignment.map(u64::from));
    let aligned = case.load.next_multiple_of(alignment.unwrap_or(PAGE).max(1));
    let lowest = image.header().pref_address.unwrap_or(0);
    let target = Range::sized(aligned.max(lowest), init_size(image));
    if !fits(target) {
        return Err(wrong(
            "load",
            format!("the kernel will move to {target}, which is not all RAM"),
        ));
    }
    Ok(())
}

fn init_size(image: &Image) -> u64 {
    image.header().init_size.map_or(image.protected_mode().len() as u64, u64::from)
}

/// The RAM of the machine: what the memory map calls usable, in whole pages, and the first megabyte.
fn ram(case: &Case) -> Result<Vec<Range>, CaseError> {
    if case.memory.len() > MAX_E820_ENTRIES {
        let problem = format!("{} entries, boot_params has room for 128", case.memory.len());
        return Err(wrong("memory", problem));
    }
    let mut ranges = vec![Layout::FIRST_MEGABYTE];
    for entry in &case.memory {
        if entry.end <= entry.start || entry.end > 1 << PHYSICAL_BITS {
            let problem = format!("{} is empty or passes {PHYSICAL_BITS} bits", entry.range());
            return Err(wrong("memory", problem));
        }
        if entry.kind == MemoryKind::Usable {
            let whole = Range::new(entry.start.next_multiple_of(PAGE), entry.end & !(PAGE - 1));
            if !whole.is_empty() {
                ranges.push(whole);
            }
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    Ok(merged)
}

fn command_line(case: &Case) -> Result<Vec<u8>, CaseError> {
    let mut bytes = case.command_line.clone().into_bytes();
    if bytes.contains(&0) {
        return Err(wrong("command_line", "contains a NUL"));
    }
    if bytes.len() >= COMMAND_LINE_SIZE {
        let problem = format!("{} bytes, at most {} fit", bytes.len(), COMMAND_LINE_SIZE - 1);
        return Err(wrong("command_line", problem));
    }
    bytes.push(0);
    Ok(bytes)
}

/// What the stub reads of the BIOS data area: where extended BIOS data and lower memory end.
fn bios_data() -> Vec<u8> {
    const EBDA_SEGMENT: usize = 0x40e;
    const LOWER_MEMORY_KIB: usize = 0x413;
    let mut bytes = vec![0; Layout::BIOS_DATA.len() as usize];
    bytes[EBDA_SEGMENT..][..2].copy_from_slice(&0x9fc0u16.to_le_bytes());
    bytes[LOWER_MEMORY_KIB..][..2].copy_from_slice(&639u16.to_le_bytes());
    bytes
}

/// Flat descriptors at the selectors that boot.rst names, and a TSS at 0x20, which 64-bit stubs before
/// 5.7 load from the loader's table.
fn gdt(protocol: Protocol) -> Vec<u8> {
    const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
    const CODE_64: u64 = 0x00af_9b00_0000_ffff;
    const DATA: u64 = 0x00cf_9300_0000_ffff;
    const TSS: u64 = 0x0080_8900_0000_0000;
    let code = if protocol == Protocol::Bits64 { CODE_64 } else { CODE_32 };
    let mut table = [0u64; 6];
    table[usize::from(BOOT_CS) / 8] = code;
    table[usize::from(BOOT_DS) / 8] = DATA;
    table[4] = TSS;
    table.iter().flat_map(|descriptor| descriptor.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::MemoryEntry;
    use crate::image::fixture::{Fixture, kernel};

    fn image() -> Image {
        let payload = kernel(true, &[0, 0, 0]);
        Image::parse(Fixture::new(crate::image::Compression::Gzip, &payload).build()).unwrap()
    }

    fn case() -> Case {
        let usable = MemoryKind::Usable;
        Case {
            protocol: Protocol::Bits32,
            load: 0x200_0000,
            kernel_alignment: None,
            command_line: "nokaslr".into(),
            screen: false,
            timer: vec![1],
            fill: 2,
            budget: 3,
            memory: vec![
                MemoryEntry { start: 0, end: 0x9_fc00, kind: usable },
                MemoryEntry { start: 0x10_0000, end: 0x4000_0000, kind: usable },
            ],
        }
    }

    fn field(change: impl FnOnce(&mut Case)) -> &'static str {
        let mut case = case();
        change(&mut case);
        place(&image(), WordSize::Bits64, &case).expect_err("the case is impossible").field
    }

    #[test]
    fn impossible_cases_are_refused_by_field() {
        assert_eq!(field(|case| case.load += 1), "load");
        assert_eq!(field(|case| case.load = 0xf_f000), "load");
        assert_eq!(field(|case| case.load = 0x3f00_0000), "load");
        assert_eq!(field(|case| case.load = 0xffff_f000), "load");
        assert_eq!(field(|case| case.load = u64::MAX - 0xfff), "load");
        assert_eq!(field(|case| case.kernel_alignment = Some(0)), "kernel_alignment");
        assert_eq!(field(|case| case.kernel_alignment = Some(0x30_0000)), "kernel_alignment");
        assert_eq!(field(|case| case.kernel_alignment = Some(0x10_0000)), "kernel_alignment");
        assert_eq!(field(|case| case.budget = 0), "budget");
        assert_eq!(field(|case| case.budget = 1 << 39), "budget");
        assert_eq!(field(|case| case.command_line = "x".repeat(2048)), "command_line");
        assert_eq!(field(|case| case.command_line = "a\0b".into()), "command_line");
        assert_eq!(field(|case| case.memory[0].end = 0), "memory");
        assert_eq!(field(|case| case.memory[1].end = 1 << 53), "memory");
        assert_eq!(field(|case| case.memory = vec![case.memory[1]; 129]), "memory");
    }

    #[test]
    fn an_i386_kernel_has_no_64_bit_entry() {
        let case = Case { protocol: Protocol::Bits64, ..case() };
        assert_eq!(place(&image(), WordSize::Bits32, &case).unwrap_err().field, "protocol");
        assert_eq!(place(&image(), WordSize::Bits64, &case).unwrap().entry, 0x200_0200);
    }

    #[test]
    fn neighbouring_ram_is_one_range() {
        let mut case = case();
        case.memory.push(MemoryEntry {
            start: 0x4000_0000,
            end: 0x4000_2800,
            kind: MemoryKind::Usable,
        });
        let setup = place(&image(), WordSize::Bits64, &case).unwrap();
        assert_eq!(setup.ram, [Range::new(0, 0x4000_2000)]);
    }

    #[test]
    fn boot_params_hold_the_header_and_the_memory_map() {
        let image = image();
        let setup = place(&image, WordSize::Bits64, &case()).unwrap();
        let page = setup.placed.iter().find(|p| p.address == setup.boot_params).unwrap();
        let header = image.header().raw();
        assert_eq!(page.bytes[0x202..0x206], *b"HdrS");
        assert_eq!(page.bytes[0x230..0x1f1 + header.len()], header[0x230 - 0x1f1..]);
        assert_eq!(page.bytes[0x1ef], 0, "a sentinel would make the stub clean up");
        assert_eq!(page.bytes[0x228..0x22c], 0x2_0000u32.to_le_bytes());
        assert_eq!(page.bytes[0x1e8], 2);
        assert_eq!(page.bytes[0x2d0 + 20..0x2d0 + 28], 0x10_0000u64.to_le_bytes());
        assert_eq!(page.bytes[0x2d0 + 28..0x2d0 + 36], 0x3ff0_0000u64.to_le_bytes());
        assert_eq!(page.bytes[0x2d0 + 36..0x2d0 + 40], 1u32.to_le_bytes());
    }
}
