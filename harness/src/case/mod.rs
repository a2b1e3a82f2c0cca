// SPDX-License-Identifier: GPL-2.0-only
//! A case: everything that determines one run of one image. Two runs of a case are identical.

mod boot_params;
mod file;
mod hex;
mod identity_map;
mod loader;
mod strategy;

use serde::{Deserialize, Serialize};

use crate::range::Range;

pub use boot_params::{MAX_E820_ENTRIES, SCREEN_COLUMNS, SCREEN_LINES};
pub use file::{CaseFile, CaseFileError, ImageRef};
pub use loader::{CaseError, Layout, place};
pub use strategy::{Protocols, Space, cases};

/// How the loader enters the stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// The 32-bit boot protocol: protected mode, paging off, at the stub's first byte.
    #[serde(rename = "32")]
    Bits32,
    /// The 64-bit boot protocol: long mode, at offset 0x200.
    #[serde(rename = "64")]
    Bits64,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Protocol::Bits32 => "32",
            Protocol::Bits64 => "64",
        })
    }
}

/// The kinds of memory that a loader reports (`enum e820_type`, arch/x86/include/uapi/asm/setup_data.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryKind {
    /// Free RAM.
    Usable,
    /// Not to be touched.
    Reserved,
    /// ACPI tables, free once they are read.
    Acpi,
    /// ACPI non-volatile storage.
    Nvs,
    /// Broken RAM.
    Unusable,
}

/// One entry of the memory map that the loader passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryEntry {
    /// First address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address behind.
    #[serde(with = "hex")]
    pub end: u64,
    /// What it is.
    pub kind: MemoryKind,
}

impl MemoryEntry {
    /// The addresses.
    pub fn range(&self) -> Range {
        Range::new(self.start, self.end)
    }
}

/// One run of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// How the stub is entered.
    pub protocol: Protocol,
    /// Physical address of the stub's first byte; a multiple of 4096.
    #[serde(with = "hex")]
    pub load: u64,
    /// `kernel_alignment` as the loader passes it on, when it is not the image's own: boot.rst allows any
    /// power of two from `min_alignment` up.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    pub kernel_alignment: Option<u64>,
    /// The command line. KASLR is on unless it has the word `nokaslr`.
    pub command_line: String,
    /// Whether boot_params describe a text screen of 80 by 25 characters, on which the stub prints.
    pub screen: bool,
    /// What the timer answers when the stub asks it for entropy, over and over.
    pub timer: Vec<u16>,
    /// Seed of the pattern that untouched RAM holds.
    #[serde(with = "hex")]
    pub fill: u64,
    /// The run ends after this many translated blocks.
    pub budget: u64,
    /// The memory map.
    pub memory: Vec<MemoryEntry>,
}

impl Case {
    /// Whether the command line lets the stub choose the kernel's address.
    pub fn asks_for_kaslr(&self) -> bool {
        !self.command_line.split_ascii_whitespace().any(|word| word == "nokaslr")
    }
}
