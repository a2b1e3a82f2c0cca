// SPDX-License-Identifier: GPL-2.0-only
//! The catalogue and the patches that the binary carries.

use crate::corpus::CorpusError;

/// What errors call the catalogue.
pub const CATALOGUE_NAME: &str = "the built-in catalogue of bugs";

/// The catalogue.
pub const CATALOGUE: &str = include_str!("../../../../corpus/bugs/bugs.toml");

macro_rules! patches {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../corpus/bugs/patches/", $name, ".patch")))),*]
    };
}

const PATCHES: &[(&str, &str)] = patches![
    "above-4g-not-promised",
    "above-physical-memory",
    "absolute-symbol-lost",
    "acpi-1-ignored",
    "baud-rate-ignored",
    "bios-area-read-under-efi",
    "boot-params-not-avoided",
    "boot-params-not-mapped",
    "boot-services-memory-used",
    "bss-not-cleared",
    "command-line-before-sanitize",
    "command-line-end-not-avoided",
    "command-line-not-avoided",
    "command-line-not-mapped",
    "cr4-inherited",
    "decompressor-not-avoided",
    "ebda-by-paragraph",
    "efi-info-forgotten",
    "efi-memory-map-ignored",
    "first-option-wins",
    "first-root-entry-only",
    "five-to-four-levels-keeps-flags",
    "gdt-left-behind-i386",
    "gdt-left-behind",
    "gdt-limit-one-too-large",
    "heap-too-small",
    "huge-pages-ignored",
    "idt-left-on",
    "indirect-setup-data-not-avoided",
    "init-size-without-kernel",
    "initrd-not-avoided",
    "inverse-relocations-added",
    "inverse-relocations-missing",
    "inverse-relocations-skipped",
    "jump-to-output",
    "last-slot-lost",
    "lower-tables-inherited",
    "memmap-first-only",
    "memmap-ignored",
    "memory-limit-ignored",
    "mirrored-memory-not-preferred",
    "movable-memory-used",
    "narrow-relocation-address",
    "nokaslr-by-its-beginning",
    "notes-relocated",
    "page-table-buffer-too-small",
    "paging-levels-not-toggled",
    "refusal-lost",
    "relocated-by-load-address",
    "room-not-rounded",
    "room-without-bss",
    "rsdp-by-virtual-address",
    "rsdp-checksum-ignored",
    "scrolls-too-far",
    "second-serial-port-lost",
    "secure-boot-forgotten",
    "segments-aligned-to-pages",
    "segments-copied-backwards",
    "serial-port-awaited-for-ever",
    "setup-data-header-mapped-only",
    "setup-data-not-avoided",
    "setup-data-not-mapped",
    "signed-load-address-i386",
    "signed-load-address",
    "slot-areas-overflow",
    "slot-before-obstacle-lost",
    "soft-reserved-memory-used",
    "srat-limit-off-by-one",
    "srat-type-ignored",
    "stale-kaslr-flag-kept",
    "timer-not-ready-ignored",
    "timer-operands-swapped",
    "trampoline-ignores-memory-map",
    "trampoline-in-reserved-memory",
    "trampoline-in-small-entry",
    "trampoline-not-restored",
    "trampoline-without-start",
    "virtual-address-follows-output",
    "xsdt-of-revision-1",
];

/// The place and the text of a patch.
///
/// # Errors
/// The binary has no such patch.
pub fn patch(name: &str) -> Result<(String, String), CorpusError> {
    let place = format!("corpus/bugs/patches/{name}.patch");
    match PATCHES.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Ok((place, (*text).to_owned())),
        None => Err(CorpusError::Manifest {
            place,
            problem: String::from("this relocheck has no such patch built in"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patch_of_the_repository_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/bugs/patches");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let known: Vec<String> = PATCHES.iter().map(|(name, _)| format!("{name}.patch")).collect();
        assert_eq!(there, known);
    }
}
