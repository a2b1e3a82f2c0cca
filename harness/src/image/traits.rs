// SPDX-License-Identifier: GPL-2.0-only
//! What a stub knows of its surroundings, told by the words and constants in its code.
//!
//! Configuration options and backports change what a stub reads. Each leaves a text, or code of a shape that GCC and
//! the assembler have given it in all releases since 5.10.

use memchr::memmem;

/// What the stub's code knows; all `false` for one that was not recognized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// `no5lvl`: it can switch to five levels of page tables (arch/x86/boot/compressed/pgtable_64.c).
    pub five_levels: bool,
    /// It enters its low-memory trampoline only to change the number of levels (6.6, and stable releases of 6.1).
    pub trampoline_on_demand: bool,
    /// `efi_fake_mem=` (arch/x86/boot/compressed/kaslr.c, up to 6.9).
    pub efi_fake_mem: bool,
    /// `hugepages=` takes nothing but a number (kaslr.c, 7.2).
    pub strict_huge_pages: bool,
    /// A size multiplies by 1024 once per step of its suffix and may wrap; else it stays at the largest number, and a
    /// suffix without a number is none (lib/cmdline.c, 7.2).
    pub sizes_wrap: bool,
    /// It looks for the ACPI tables (CONFIG_ACPI; arch/x86/boot/compressed/acpi.c).
    pub acpi: bool,
    /// It reads the SRAT (CONFIG_MEMORY_HOTREMOVE; acpi.c).
    pub srat: bool,
    /// So many immovable regions in the SRAT are too many; `None` where the code does not show it.
    pub srat_limit: Option<u32>,
    /// `acpi_rsdp=` (CONFIG_KEXEC; acpi.c).
    pub acpi_rsdp: bool,
    /// An `acpi_rsdp=` that is too long is left out; else it is cut off.
    pub acpi_rsdp_checked: bool,
    /// It reads EFI's tables (CONFIG_EFI; acpi.c, efi.c).
    pub efi: bool,
    /// It finds EFI's tables by the helpers that SEV-SNP brought (arch/x86/boot/compressed/efi.c, 5.19).
    pub efi_helpers: bool,
    /// It leaves soft-reserved memory alone (CONFIG_EFI_SOFT_RESERVE; kaslr.c).
    pub soft_reserve: bool,
    /// Memory that has to be accepted is free memory for it (CONFIG_UNACCEPTED_MEMORY; kaslr.c, 6.5).
    pub unaccepted_memory: bool,
    /// `mem_encrypt=` (arch/x86/boot/compressed/misc.c, 6.8).
    pub mem_encrypt: bool,
    /// It clears `cc_blob_address` at its start (CONFIG_AMD_MEM_ENCRYPT; arch/x86/boot/compressed/sev.c, 5.19).
    pub sev_snp: bool,
    /// Its last words, if it is verbose, name the kernel's entry point (misc.c).
    pub tells_entry: bool,
}

impl Traits {
    /// Looks through the parts of the stub: what lies before and after the payload.
    pub(super) fn read(parts: [&[u8]; 2]) -> Traits {
        let find = |bytes: &[u8]| {
            let finder = memmem::Finder::new(bytes);
            parts.iter().find_map(|part| finder.find(part).map(|at| &part[at..]))
        };
        let has = |text: &str| find(text.as_bytes()).is_some();
        // `mov %rsp, %rbx; shr $32, %rbx`: how the trampoline keeps the upper half of the stack pointer.
        const KEEPS_STACK: &[u8] = b"\x48\x89\xe3\x48\xc1\xeb\x20";
        let srat = find(b"SRAT");
        Traits {
            five_levels: has("no5lvl"),
            trampoline_on_demand: find(KEEPS_STACK).is_some(),
            efi_fake_mem: has("efi_fake_mem"),
            strict_huge_pages: has("Failed to parse hugepages="),
            sizes_wrap: parts.iter().any(|part| multiplies_by_steps(part)),
            acpi: has("RSD PTR "),
            srat: srat.is_some(),
            srat_limit: srat.and_then(limit_behind),
            acpi_rsdp: has("acpi_rsdp\0"),
            acpi_rsdp_checked: has("acpi_rsdp= value too long"),
            efi: has("EFI config table"),
            efi_helpers: has("EFI support advertised"),
            soft_reserve: has("nosoftreserve"),
            unaccepted_memory: has("Unknown version of unaccepted memory table"),
            mem_encrypt: has("mem_encrypt=on"),
            sev_snp: has("SEV-SNP support indicated by CC blob"),
            tells_entry: has("Booting the kernel (entry_offset"),
        }
    }
}

/// Three or more shifts by ten in a row, of one register or, on i386, of a pair.
fn multiplies_by_steps(code: &[u8]) -> bool {
    let wide = |bytes: &[u8]| {
        matches!(
            bytes,
            [0x48, 0xc1, 0xe0..=0xe7, 10, 0x48, 0xc1, 0xe0..=0xe7, 10, 0x48, 0xc1, 0xe0..=0xe7, 10]
        )
    };
    let pair = |bytes: &[u8]| {
        matches!(
            bytes,
            [0x0f, 0xa4, _, 10, 0xc1, 0xe0..=0xe7, 10, 0x0f, 0xa4, _, 10, 0xc1, 0xe0..=0xe7, 10]
        )
    };
    code.windows(12).any(wide) || code.windows(14).any(pair)
}

/// The constant of the comparison `num >= MAX_NUMNODES * 2`, which follows the one with the table's name:
/// `cmp $limit - 1, register; jg`. It is a power of two; where none is compared, one that is missed by one is taken for it.
fn limit_behind(code: &[u8]) -> Option<u32> {
    const LEAST: u32 = 2;
    /// No other comparison there has a constant of this size.
    const LEAST_WHERE_MISSED: u32 = 64;
    const MOST: u32 = 4096;
    let limits: Vec<u32> = compared_behind(code).collect();
    let exact = limits
        .iter()
        .copied()
        .find(|limit| limit.is_power_of_two() && (LEAST..=MOST).contains(limit));
    let missed = || {
        let mut near = limits.iter().flat_map(|limit| [limit - 1, limit + 1]);
        near.find(|limit| limit.is_power_of_two() && (LEAST_WHERE_MISSED..=MOST).contains(limit))
    };
    exact.or_else(missed)
}

/// The least numbers that are greater, in comparisons with a jump to where something is greater.
fn compared_behind(code: &[u8]) -> impl Iterator<Item = u32> {
    const REACH: usize = 0x180;
    let code = &code[..code.len().min(REACH)];
    (0..code.len()).filter_map(|at| {
        let (compared, rest) = match &code[at..] {
            [0x81, 0xf8..=0xff, a, b, c, d, rest @ ..] | [0x3d, a, b, c, d, rest @ ..] => {
                (u32::from_le_bytes([*a, *b, *c, *d]), rest)
            }
            [0x83, 0xf8..=0xff, a @ 0..=0x7f, rest @ ..] => (u32::from(*a), rest),
            _ => return None,
        };
        let greater = matches!(rest, [0x0f, 0x8f, ..] | [0x7f, ..]);
        (greater && compared < i32::MAX as u32).then_some(compared + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_either_part() {
        let traits = Traits::read([b"..no5lvl\0", b"..SRAT\x41\x81\xf8\xff\x07\0\0\x0f\x8f"]);
        assert!(traits.five_levels && traits.srat && !traits.efi);
        assert_eq!(traits.srat_limit, Some(2048));
        assert_eq!(Traits::read([b"", b"no5lv"]), Traits::default());
    }

    #[test]
    fn the_limit_is_a_power_of_two_that_is_compared() {
        assert_eq!(limit_behind(b"SRAT\x83\xf8\x7f\x7f\x10"), Some(128));
        assert_eq!(limit_behind(b"SRAT\x3d\xff\x00\x00\x00\x0f\x8f"), Some(256));
        assert_eq!(limit_behind(b"SRAT\x83\xf8\x04\x7f\x83\xff\x04\x75"), None);
        assert_eq!(limit_behind(b"SRAT"), None);
        assert_eq!(limit_behind(b"SRAT\x3d\x00\x08\x00\x00\x0f\x8f"), Some(2048), "jg, not jge");
        assert_eq!(limit_behind(b"SRAT\x3d\xfe\x07\x00\x00\x0f\x8f"), Some(2048), "one less");
        let both = b"SRAT\x3d\x00\x08\x00\x00\x7f\x00\x83\xf8\x7f\x7f";
        assert_eq!(limit_behind(both), Some(128), "an exact one is believed first");
    }

    #[test]
    fn steps_of_ten_bits_are_told_from_one_shift() {
        let wide = b"\x48\xc1\xe0\x0a".repeat(3);
        assert!(multiplies_by_steps(&wide));
        assert!(!multiplies_by_steps(&wide[..11]));
        assert!(multiplies_by_steps(&b"\x0f\xa4\xc2\x0a\xc1\xe0\x0a".repeat(2)));
    }
}
