// SPDX-License-Identifier: GPL-2.0-only
//! What a loader puts into memory besides the image, and where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hex;
use crate::range::Range;

/// Where the loader's own structures lie. What is not given lies in the first megabyte, as with most
/// loaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Places {
    /// boot_params, one page.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub boot_params: u64,
    /// The command line.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub command_line: u64,
    /// The loader's descriptor table.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub gdt: u64,
    /// 64-bit entry: the loader's page tables; a multiple of 4096.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub page_tables: u64,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            boot_params: 0x1_0000,
            command_line: 0x2_0000,
            gdt: 0x3_0000,
            page_tables: 0x4_0000,
        }
    }
}

/// What a stub reads of the BIOS data area (arch/x86/boot/compressed/pgtable_64.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BiosData {
    /// Segment of the extended BIOS data area: its address divided by 16.
    pub ebda_segment: u16,
    /// Memory below it, in KiB.
    pub lower_memory_kib: u16,
}

impl Default for BiosData {
    fn default() -> BiosData {
        BiosData { ebda_segment: 0x9fc0, lower_memory_kib: 639 }
    }
}

/// A range of addresses in a case file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First address.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub start: u64,
    /// First address behind.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub end: u64,
}

impl Span {
    /// The addresses.
    pub fn range(&self) -> Range {
        Range::new(self.start, self.end)
    }
}

/// One node of the setup_data chain (boot.rst, field `setup_data`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupData {
    /// Where the node lies, its header of 16 bytes first.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub address: u64,
    /// What it is.
    pub kind: SetupDataKind,
    /// Bytes behind the header.
    pub len: u32,
    /// What a node of kind `indirect` points to; `kexec-kho`: the scratch areas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points_to: Vec<Span>,
}

/// Kinds of setup_data (`SETUP_*`, arch/x86/include/uapi/asm/setup_data.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SetupDataKind {
    /// More e820 entries.
    E820Ext,
    /// A device tree.
    Dtb,
    /// A PCI option ROM.
    Pci,
    /// EFI's tables for a kernel that was started by kexec.
    Efi,
    /// A seed for the random number generator.
    RngSeed,
    /// What a kernel hands over to the one that it starts by kexec (6.16 and later).
    KexecKho,
    /// A payload that lies elsewhere.
    Indirect,
}

impl SetupDataKind {
    /// The number of the type.
    pub fn number(self) -> u32 {
        match self {
            SetupDataKind::E820Ext => 1,
            SetupDataKind::Dtb => 2,
            SetupDataKind::Pci => 3,
            SetupDataKind::Efi => 4,
            SetupDataKind::RngSeed => 9,
            SetupDataKind::KexecKho => 10,
            SetupDataKind::Indirect => 1 << 31,
        }
    }
}

/// Size of a node's header in bytes.
pub const SETUP_DATA_HEADER: u64 = 16;

impl SetupData {
    /// The addresses of header and data.
    pub fn range(&self) -> Range {
        Range::sized(self.address, SETUP_DATA_HEADER + u64::from(self.len))
    }
}
