// SPDX-License-Identifier: GPL-2.0-only
//! A case: everything that determines one run of one image. Two runs of a case are identical.

mod acpi;
mod boot_params;
mod contract;
mod devices;
mod efi;
mod entry;
mod error;
mod features;
mod file;
mod gdt;
mod identity_map;
mod loader;
mod memory;
mod objects;
mod preset;
mod setup_data;
mod strategy;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hex;

pub use acpi::{Acpi, Affinity, Checksums, SecondRoot};
pub use boot_params::{SCREEN_COLUMNS, SCREEN_LINES};
pub use contract::{Object, objects};
pub use devices::Devices;
pub use efi::{AcpiGuids, Efi, EfiEntry, EfiKind, EfiSignature};
pub use entry::{CpuFeatures, EntryState, GdtLayout, IdentityMap};
pub use error::{CaseError, Fault};
pub use file::{CaseFile, CaseFileError, ImageRef};
pub use loader::place;
pub use memory::{FIRST_MEGABYTE, MAX_E820_ENTRIES, MemoryEntry, MemoryKind};
pub use objects::{BiosData, Places, SETUP_DATA_HEADER, SetupData, SetupDataKind, Span};
pub use preset::Loader;
pub use strategy::{Demands, Protocols, Space, budget, cases, offers};

/// How the loader enters the stub.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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

/// One run of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// How the stub is entered.
    pub protocol: Protocol,
    /// Physical address of the stub's first byte; a multiple of 4096.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub load: u64,
    /// The loader whose habits the case has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loader: Loader,
    /// `kernel_alignment` as the loader passes it on, when it is not the image's own: boot.rst allows any
    /// power of two from `min_alignment` up.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub kernel_alignment: Option<u64>,
    /// `init_size` as the loader passes it on, when it is more than the image's own.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub init_size: Option<u64>,
    /// The command line, at most 2047 bytes. Absent: the loader passes no pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    /// Whether boot_params describe a text screen of 80 by 25 characters, on which the stub prints.
    pub screen: bool,
    /// What the timer answers when the stub asks it for entropy, over and over.
    pub timer: Vec<u16>,
    /// The other devices.
    #[serde(default, skip_serializing_if = "is_default")]
    pub devices: Devices,
    /// Seed of the pattern that untouched RAM holds.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub fill: u64,
    /// Seed of another pattern: the run is repeated with it, and must end in the same way.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub second_fill: Option<u64>,
    /// The run ends after this many translated blocks.
    pub budget: u64,
    /// boot_params have their sentinel set, and garbage made of this seed wherever a stub must then clean up.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub sentinel: Option<u64>,
    /// `cc_blob_address` as the loader leaves it: the stub's to write.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub cc_blob_address: Option<u64>,
    /// The loader leaves the flag set by which a stub tells the kernel that KASLR ran.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stale_kaslr_flag: bool,
    /// The memory map.
    pub memory: Vec<MemoryEntry>,
    /// The initial RAM disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<Span>,
    /// The chain of setup_data, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setup_data: Vec<SetupData>,
    /// What the BIOS says of the first megabyte.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bios: BiosData,
    /// Where the loader's own structures lie.
    #[serde(default, skip_serializing_if = "is_default")]
    pub places: Places,
    /// What the CPU can do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu: CpuFeatures,
    /// How the loader leaves the CPU.
    #[serde(default, skip_serializing_if = "is_default")]
    pub entry: EntryState,
    /// EFI's memory map and tables. Absent: not an EFI machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efi: Option<Efi>,
    /// ACPI's tables. Absent: none are to be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acpi: Option<Acpi>,
}

impl Default for Case {
    /// An image at 16 MiB on a PC of 1 GiB, entered at 32 bits without KASLR.
    fn default() -> Case {
        Case {
            protocol: Protocol::Bits32,
            load: 0x100_0000,
            loader: Loader::default(),
            kernel_alignment: None,
            init_size: None,
            command_line: Some("nokaslr".into()),
            screen: false,
            timer: vec![0],
            devices: Devices::default(),
            fill: 0,
            second_fill: None,
            budget: 1 << 32,
            sentinel: None,
            cc_blob_address: None,
            stale_kaslr_flag: false,
            memory: vec![
                MemoryEntry::usable(0, 0x9_fc00),
                MemoryEntry::usable(FIRST_MEGABYTE.end, 1 << 30),
            ],
            initrd: None,
            setup_data: Vec::new(),
            bios: BiosData::default(),
            places: Places::default(),
            cpu: CpuFeatures::default(),
            entry: EntryState::default(),
            efi: None,
            acpi: None,
        }
    }
}

impl Case {
    /// Whether the command line has this word, as a stub sees words: it knows no quotes
    /// (arch/x86/boot/cmdline.c).
    pub fn has_word(&self, wanted: &str) -> bool {
        let line = self.command_line.as_deref().unwrap_or_default();
        line.split(|c| c <= ' ').any(|word| word == wanted)
    }

    /// Whether the command line lets the stub choose the kernel's address. Without one it may not: it takes
    /// the error of looking for `nokaslr` for a yes.
    pub fn asks_for_kaslr(&self) -> bool {
        self.command_line.is_some() && !self.has_word("nokaslr")
    }

    /// Whether the stub has something to print its errors on.
    pub fn has_console(&self) -> bool {
        let line = self.command_line.as_deref().unwrap_or_default();
        self.screen || line.contains("earlyprintk=") || line.contains("console=uart")
    }
}

/// Whether a field of a case file can be left out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
