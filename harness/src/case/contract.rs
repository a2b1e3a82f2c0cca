// SPDX-License-Identifier: GPL-2.0-only
//! The loader's side of the boot protocol (Documentation/arch/x86/boot.rst): where it breaks that, nothing
//! can be said of the stub.

use super::error::{broken, impossible};
use super::memory::{FIRST_MEGABYTE, check_bounds};
use super::setup_data::least_len;
use super::{
    Acpi, Case, CaseError, EfiSignature, Protocol, SetupDataKind, boot_params, efi, identity_map,
};
use crate::image::{Image, WordSize};
use crate::machine::PAGE;
use crate::range::Range;

/// Longest command line with its NUL (COMMAND_LINE_SIZE, arch/x86/include/uapi/asm/setup.h).
pub(super) const COMMAND_LINE_SIZE: usize = 2048;
/// Blocks that a run may take at most: some minutes, and ten times what the largest kernels need.
const LARGEST_BUDGET: u64 = 1 << 38;
/// More setup_data than any loader passes on.
const MOST_NODES: usize = 1024;
const MOST_SETUP_DATA: u64 = 16 << 20;
const FOUR_GIB: u64 = 1 << 32;
const XLF_KERNEL_64: u16 = 1;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 2;

/// Something that the loader put into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// The field of the case that says where.
    pub field: &'static str,
    /// What a report calls it.
    pub what: &'static str,
    /// Where it lies.
    pub range: Range,
}

/// What the loader of `case` put into memory besides the image, but for its page tables.
pub fn objects(case: &Case) -> Vec<Object> {
    let mut objects = vec![
        Object {
            field: "places.boot_params",
            what: "boot_params",
            range: Range::sized(case.places.boot_params, boot_params::SIZE),
        },
        Object {
            field: "places.gdt",
            what: "GDT",
            range: Range::sized(
                case.places.gdt,
                super::gdt::bytes(case.protocol, case.entry.gdt).len() as u64,
            ),
        },
    ];
    let mut add = |field, what, range| objects.push(Object { field, what, range });
    if let Some(line) = &case.command_line {
        let range = Range::sized(case.places.command_line, line.len() as u64 + 1);
        add("places.command_line", "command line", range);
    }
    if let Some(initrd) = case.initrd {
        add("initrd", "initrd", initrd.range());
    }
    for node in &case.setup_data {
        add("setup_data", "setup_data", node.range());
        for span in node.points_to.iter().filter(|_| node.kind == SetupDataKind::Indirect) {
            add("setup_data", "indirect setup_data", span.range());
        }
    }
    if let Some(efi) = &case.efi {
        let kexec = efi::after_kexec(&case.setup_data);
        let tables = efi.table_bytes(case.acpi.as_ref(), kexec).len() as u64;
        add("efi.tables", "EFI tables", Range::sized(efi.tables, tables));
        add("efi.map", "EFI memory map", Range::sized(efi.map, efi.map_bytes().len() as u64));
    }
    for (field, address, bytes) in case.acpi.iter().flat_map(|acpi| acpi.pieces()) {
        add(field, "ACPI tables", Range::sized(address, bytes.len() as u64));
    }
    objects
}

/// The values that boot_params carry.
pub fn init_size(image: &Image, case: &Case) -> u64 {
    case.init_size.unwrap_or(image.init_size())
}

/// The stub where it is loaded, its bss included.
pub fn loaded(image: &Image, case: &Case) -> Range {
    let file = image.protected_mode().len() as u64;
    let size = image.stub_size().unwrap_or_else(|| init_size(image, case));
    Range::sized(case.load, size.max(file))
}

/// Where the stub moves before KASLR has a say: `init_size` bytes (boot.rst, `init_size`).
pub fn window(image: &Image, case: &Case) -> Range {
    let alignment = case.kernel_alignment.or(image.header().kernel_alignment.map(u64::from));
    let aligned = case.load.checked_next_multiple_of(alignment.unwrap_or(PAGE).max(1));
    let lowest = image.header().pref_address.unwrap_or(0);
    Range::sized(aligned.unwrap_or(u64::MAX).max(lowest), init_size(image, case))
}

/// Checks what can be checked before memory is laid out.
pub fn check_fields(image: &Image, word: WordSize, case: &Case) -> Result<(), CaseError> {
    check_image(image, word, case)?;
    check_cpu(word, case)?;
    check_objects(case)?;
    if !(1..=LARGEST_BUDGET).contains(&case.budget) {
        let problem = format!("{}, expected 1 to {LARGEST_BUDGET} blocks", case.budget);
        return Err(impossible("budget", problem));
    }
    Ok(())
}

fn check_image(image: &Image, word: WordSize, case: &Case) -> Result<(), CaseError> {
    let header = image.header();
    let flags = header.xloadflags.unwrap_or(0);
    if case.protocol == Protocol::Bits64 && (word == WordSize::Bits32 || flags & XLF_KERNEL_64 == 0)
    {
        return Err(broken("protocol", "the image has no 64-bit entry point (xloadflags bit 0)"));
    }
    if !case.load.is_multiple_of(PAGE) {
        let problem = format!("{:#x} is not a multiple of {PAGE:#x}", case.load);
        return Err(impossible("load", problem));
    }
    for (field, given) in
        [("kernel_alignment", case.kernel_alignment), ("init_size", case.init_size)]
    {
        if given.is_some() && header.init_size.is_none() {
            let problem = format!("not the loader's to change in boot protocol {}", header.version);
            return Err(broken(field, problem));
        }
    }
    if let Some(alignment) = case.kernel_alignment {
        let least = 1 << header.min_alignment.unwrap_or(0).min(31);
        if !alignment.is_power_of_two() || alignment > 1 << 31 {
            let problem = format!("{alignment:#x} is no power of two up to 0x80000000");
            return Err(impossible("kernel_alignment", problem));
        }
        if alignment < least {
            let problem = format!("{alignment:#x} is less than min_alignment, {least:#x}");
            return Err(broken("kernel_alignment", problem));
        }
    }
    if let Some(given) = case.init_size {
        let own = header.init_size.map_or(0, u64::from);
        if given > u32::MAX.into() {
            return Err(impossible("init_size", format!("{given:#x} has more than 32 bits")));
        }
        if !given.is_multiple_of(PAGE) {
            // Page tables stand at the end of it.
            return Err(broken("init_size", format!("{given:#x} is not a multiple of {PAGE:#x}")));
        }
        if given < own {
            let problem = format!("{given:#x} is less than what the image asks for, {own:#x}");
            return Err(broken("init_size", problem));
        }
    }
    let end = case.load.saturating_add(init_size(image, case));
    if case.protocol == Protocol::Bits32 && end > FOUR_GIB {
        return Err(broken("load", "the 32-bit entry needs the kernel to end below 4 GiB"));
    }
    if end > FOUR_GIB && flags & XLF_CAN_BE_LOADED_ABOVE_4G == 0 {
        return Err(broken("load", "the image may not lie above 4 GiB (xloadflags bit 1)"));
    }
    Ok(())
}

fn check_cpu(word: WordSize, case: &Case) -> Result<(), CaseError> {
    if case.cpu.la57 && word == WordSize::Bits32 {
        return Err(impossible("cpu.la57", "a CPU without long mode has no five levels"));
    }
    if case.entry.five_levels && !case.cpu.la57 {
        return Err(impossible("entry.five_levels", "the CPU has only four (cpu.la57)"));
    }
    if case.entry.five_levels && case.protocol == Protocol::Bits32 {
        return Err(impossible("entry.five_levels", "the 32-bit entry has paging off"));
    }
    Ok(())
}

fn check_objects(case: &Case) -> Result<(), CaseError> {
    check_addresses(case)?;
    let devices = &case.devices;
    for (field, place, size) in [
        ("devices.cursor_column", devices.cursor_column, boot_params::SCREEN_COLUMNS),
        ("devices.cursor_line", devices.cursor_line, boot_params::SCREEN_LINES),
    ] {
        if usize::from(place) >= size {
            let problem = format!("{place}, but the text screen has {size}");
            return Err(impossible(field, problem));
        }
    }
    if let Some(address) = case.cc_blob_address.filter(|address| *address > u32::MAX.into()) {
        return Err(impossible("cc_blob_address", format!("{address:#x} has more than 32 bits")));
    }
    if let Some(line) = &case.command_line {
        if line.contains('\0') {
            return Err(impossible("command_line", "contains a NUL"));
        }
        if line.len() >= COMMAND_LINE_SIZE {
            let problem = format!("{} bytes, at most {} fit", line.len(), COMMAND_LINE_SIZE - 1);
            return Err(impossible("command_line", problem));
        }
    }
    for node in &case.setup_data {
        let least = least_len(node);
        if node.len < least {
            let problem = format!("len is {}, at least {least} is needed", node.len);
            return Err(impossible("setup_data", problem));
        }
        for span in &node.points_to {
            check_bounds("setup_data", span.range())?;
        }
    }
    let total: u64 = case.setup_data.iter().map(|node| node.range().len()).sum();
    if case.setup_data.len() > MOST_NODES || total > MOST_SETUP_DATA {
        let problem = format!("more than {MOST_NODES} nodes or {MOST_SETUP_DATA:#x} bytes");
        return Err(impossible("setup_data", problem));
    }
    if let Some(efi) = &case.efi {
        if !(efi::LEAST_DESCRIPTOR..=4096).contains(&efi.descriptor_size) {
            let problem = format!(
                "{} bytes, expected {} to 4096",
                efi.descriptor_size,
                efi::LEAST_DESCRIPTOR
            );
            return Err(impossible("efi.descriptor_size", problem));
        }
        if efi.memory.len() > 4096 {
            return Err(impossible("efi.memory", "more than 4096 descriptors"));
        }
        for entry in &efi.memory {
            check_bounds("efi.memory", entry.range())?;
        }
        if efi.signature == EfiSignature::EL32 && efi.tables.saturating_add(PAGE) > FOUR_GIB {
            return Err(impossible("efi.tables", "32-bit firmware has no tables above 4 GiB"));
        }
    }
    if let Some(acpi) = &case.acpi {
        check_acpi(acpi)?;
    }
    for object in objects(case) {
        check_bounds(object.field, object.range)?;
    }
    Ok(())
}

fn check_acpi(acpi: &Acpi) -> Result<(), CaseError> {
    const MOST: u32 = 4096;
    let roots = [("acpi.address", Some(acpi.address)), ("acpi.tables", acpi.tables)];
    let second = ("acpi.second", acpi.second.map(|second| second.address));
    for (field, address) in roots.into_iter().chain([second]) {
        if let Some(address) = address.filter(|at| !at.is_multiple_of(16) || *at == 0) {
            let problem = format!("{address:#x} is no multiple of 16 above 0");
            return Err(impossible(field, problem));
        }
    }
    for (field, count) in [
        ("acpi.affinity", acpi.affinity.len()),
        ("acpi.small_affinities", acpi.small_affinities as usize),
        ("acpi.processors", acpi.processors as usize),
        ("acpi.other_tables", acpi.other_tables as usize),
    ] {
        if count > MOST as usize {
            return Err(impossible(field, format!("more than {MOST} entries")));
        }
    }
    if acpi.in_boot_params && acpi.second.is_some_and(|second| second.in_boot_params) {
        return Err(impossible("acpi.second", "boot_params name only one RSDP"));
    }
    Ok(())
}

/// Nothing begins where no address is.
fn check_addresses(case: &Case) -> Result<(), CaseError> {
    let mut addresses = vec![("places.page_tables", case.places.page_tables)];
    addresses.extend(case.setup_data.iter().map(|node| ("setup_data", node.address)));
    if let Some(acpi) = &case.acpi {
        addresses.push(("acpi.address", acpi.address));
        addresses.extend(acpi.tables.map(|tables| ("acpi.tables", tables)));
        addresses.extend(acpi.second.map(|second| ("acpi.second", second.address)));
    }
    if let Some(efi) = &case.efi {
        addresses.extend([("efi.tables", efi.tables), ("efi.map", efi.map)]);
    }
    for (field, address) in addresses {
        check_bounds(field, Range::sized(address, 1))?;
    }
    Ok(())
}

/// What lies above 4 GiB although nothing can name an address there, and what lies over something else.
pub fn check_places(image: &Image, case: &Case, all: &[Object]) -> Result<(), CaseError> {
    let low_only = case.protocol == Protocol::Bits32;
    for object in all {
        // What boot_params name by 64 bits, the stub of a 64-bit kernel reaches wherever it is.
        let wide = matches!(object.what, "setup_data" | "indirect setup_data" | "initrd");
        if low_only && object.range.end > FOUR_GIB && !wide {
            return Err(broken(object.field, "above 4 GiB, where the 32-bit entry cannot reach"));
        }
        let lost = matches!(object.what, "command line" | "initrd");
        if case.sentinel.is_some() && lost && object.range.end > FOUR_GIB {
            return Err(broken(object.field, "above 4 GiB: lost, because the sentinel is set"));
        }
    }
    let stub = loaded(image, case);
    if stub.start < FIRST_MEGABYTE.end {
        return Err(broken("load", format!("{:#x} is below 1 MiB", case.load)));
    }
    let moved = window(image, case);
    for (index, object) in all.iter().enumerate() {
        for (taken, whose) in [(stub, "where the kernel is loaded"), (moved, "where it moves to")] {
            if object.range.overlaps(taken) {
                let problem = format!("{} {} lies {whose}, {taken}", object.what, object.range);
                return Err(broken(object.field, problem));
            }
        }
        if let Some(other) = all[..index].iter().find(|other| other.range.overlaps(object.range)) {
            let problem = format!("{} lies over {} {}", object.what, other.what, other.range);
            return Err(impossible(object.field, problem));
        }
    }
    Ok(())
}

/// The loader's page tables cover what boot.rst asks for.
pub fn mapped(image: &Image, case: &Case, ram: &[Range]) -> Vec<Range> {
    let reach = Range::new(0, if case.entry.five_levels { 1 << 56 } else { 1 << 47 });
    let clipped = |range: &Range| Range::new(range.start, range.end.min(reach.end));
    match case.entry.identity_map {
        super::IdentityMap::Ram => ram.iter().map(clipped).filter(|r| !r.is_empty()).collect(),
        super::IdentityMap::Required => {
            let mut ranges =
                vec![Range::sized(case.load, init_size(image, case)), window(image, case)];
            let needed = ["boot_params", "command line", "GDT"];
            ranges
                .extend(objects(case).iter().filter(|o| needed.contains(&o.what)).map(|o| o.range));
            ranges
        }
    }
}

/// Page tables that map `ranges`, for the 64-bit entry.
pub fn page_tables(case: &Case, ranges: &[Range]) -> Result<Vec<u8>, CaseError> {
    const LIMIT: u64 = 64 << 20;
    let base = case.places.page_tables;
    if !base.is_multiple_of(PAGE) {
        return Err(impossible("places.page_tables", format!("{base:#x} is not on a page")));
    }
    let shape = identity_map::Shape {
        five_levels: case.entry.five_levels,
        gib_pages: case.cpu.gib_pages,
        ignored_bits: case.entry.ignored_bits,
    };
    identity_map::build(base, LIMIT, shape, ranges).ok_or_else(|| {
        impossible("entry.identity_map", "tables of more than 64 MiB; try gib_pages")
    })
}
