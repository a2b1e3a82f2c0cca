// SPDX-License-Identifier: GPL-2.0-only
//! Kinds of memory in words, and their classes in the style sheets.

use crate::case::MemoryKind;

/// The class of a kind of memory in the style sheet.
pub fn memory_class(kind: MemoryKind) -> &'static str {
    match kind {
        MemoryKind::Usable => "m-ram",
        MemoryKind::Reserved => "m-rsv",
        MemoryKind::Acpi => "m-acpi",
        MemoryKind::Nvs => "m-nvs",
        MemoryKind::Unusable => "m-bad",
        MemoryKind::Pmem => "m-pmem",
        MemoryKind::Unlisted => "m-unl",
    }
}

/// A word for a kind of memory that fits into a narrow strip, and what it stands for.
pub fn memory_words(kind: MemoryKind) -> (&'static str, &'static str) {
    match kind {
        MemoryKind::Usable => ("RAM", "usable RAM"),
        MemoryKind::Reserved => ("rsv", "reserved, no RAM"),
        MemoryKind::Acpi => ("ACPI", "ACPI tables"),
        MemoryKind::Nvs => ("NVS", "ACPI non-volatile storage"),
        MemoryKind::Unusable => ("bad", "broken RAM"),
        MemoryKind::Pmem => ("pmem", "persistent memory"),
        MemoryKind::Unlisted => ("unl", "RAM in no memory map"),
    }
}
