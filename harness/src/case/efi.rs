// SPDX-License-Identifier: GPL-2.0-only
//! What an EFI loader leaves for the stub to read: the memory map, the system table and the configuration
//! tables (UEFI specification, sections 4.3, 4.6 and 7.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Acpi, SetupDataKind, is_default};
use crate::hex;
use crate::range::Range;

/// EFI as boot_params describe it (`efi_info`, arch/x86/include/uapi/asm/bootparam.h).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Efi {
    /// Word size of the firmware.
    pub signature: EfiSignature,
    /// Where the system table and the configuration tables lie.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub tables: u64,
    /// Where the memory map lies.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub map: u64,
    /// Size of a descriptor in bytes; firmware uses more than the 40 that the specification defines.
    pub descriptor_size: u32,
    /// How the configuration tables name ACPI's tables, if there are any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub acpi: AcpiGuids,
    /// The memory map.
    pub memory: Vec<EfiEntry>,
}

/// By which of two GUIDs the configuration tables name an RSDP. The older one is that of the case's second RSDP, if
/// it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AcpiGuids {
    /// ACPI 2.0.
    #[default]
    Newer,
    /// ACPI 1.0: the case's first RSDP, since there is no other entry.
    Older,
    /// Both, first ACPI 2.0.
    NewerFirst,
    /// Both, first ACPI 1.0.
    OlderFirst,
}

/// The signature by which boot_params name the firmware's word size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EfiSignature {
    /// 64-bit firmware.
    EL64,
    /// 32-bit firmware.
    EL32,
}

impl EfiSignature {
    /// The four bytes.
    pub fn bytes(self) -> [u8; 4] {
        match self {
            EfiSignature::EL64 => *b"EL64",
            EfiSignature::EL32 => *b"EL32",
        }
    }
}

/// One descriptor of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EfiEntry {
    /// First address, a multiple of 4096.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub start: u64,
    /// First address behind, a multiple of 4096.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub end: u64,
    /// The type.
    pub kind: EfiKind,
    /// The memory is mirrored (EFI_MEMORY_MORE_RELIABLE).
    #[serde(default, skip_serializing_if = "is_default")]
    pub mirror: bool,
    /// The memory is for a special purpose (EFI_MEMORY_SP).
    #[serde(default, skip_serializing_if = "is_default")]
    pub soft_reserved: bool,
}

impl EfiEntry {
    /// The addresses.
    pub fn range(&self) -> Range {
        Range::new(self.start, self.end)
    }
}

/// Types of memory (UEFI specification, "Memory Type Usage").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EfiKind {
    /// Not to be used.
    Reserved,
    /// Code of the loader.
    LoaderCode,
    /// Data of the loader.
    LoaderData,
    /// Code of boot services, free once they have ended.
    BootServicesCode,
    /// Data of boot services, free once they have ended.
    BootServicesData,
    /// Code of runtime services.
    RuntimeServicesCode,
    /// Data of runtime services.
    RuntimeServicesData,
    /// Free memory.
    Conventional,
    /// Broken memory.
    Unusable,
    /// ACPI tables.
    AcpiReclaim,
    /// ACPI non-volatile storage.
    AcpiNvs,
    /// Device registers.
    Mmio,
    /// Persistent memory.
    Persistent,
    /// Memory that the guest of a confidential machine has not accepted yet.
    Unaccepted,
}

impl EfiKind {
    fn number(self) -> u32 {
        match self {
            EfiKind::Reserved => 0,
            EfiKind::LoaderCode => 1,
            EfiKind::LoaderData => 2,
            EfiKind::BootServicesCode => 3,
            EfiKind::BootServicesData => 4,
            EfiKind::RuntimeServicesCode => 5,
            EfiKind::RuntimeServicesData => 6,
            EfiKind::Conventional => 7,
            EfiKind::Unusable => 8,
            EfiKind::AcpiReclaim => 9,
            EfiKind::AcpiNvs => 10,
            EfiKind::Mmio => 11,
            EfiKind::Persistent => 14,
            EfiKind::Unaccepted => 15,
        }
    }
}

/// The least size of a descriptor in bytes.
pub const LEAST_DESCRIPTOR: u32 = 40;
const PAGE_SHIFT: u32 = 12;
const MORE_RELIABLE: u64 = 1 << 16;
const SPECIAL_PURPOSE: u64 = 1 << 18;
/// Where the configuration tables begin, behind the system table.
const CONFIGURATION: usize = 0x100;
const SYSTEM_TABLE_SIGNATURE: &[u8; 8] = b"IBI SYST";
/// 8868e871-e4f1-11d3-bc22-0080c73c8881.
const ACPI_20: [u8; 16] =
    [0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0, 0x80, 0xc7, 0x3c, 0x88, 0x81];
/// eb9d2d30-2d88-11d3-9a16-0090273fc14d.
const ACPI_10: [u8; 16] =
    [0x30, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11, 0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d];
/// eb9d2d31-2d88-11d3-9a16-0090273fc14d, SMBIOS: a table that no stub looks for.
const SMBIOS: [u8; 16] =
    [0x31, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11, 0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d];
/// Where a running kernel has mapped the configuration tables: no physical address.
const VIRTUAL: u64 = 0xffff_fffe_ff00_0000;

impl Efi {
    /// The bytes of the memory map.
    pub fn map_bytes(&self) -> Vec<u8> {
        let size = self.descriptor_size as usize;
        let mut bytes = vec![0; size * self.memory.len()];
        for (entry, bytes) in self.memory.iter().zip(bytes.chunks_exact_mut(size)) {
            let pages = entry.range().len() >> PAGE_SHIFT;
            let attribute = if entry.mirror { MORE_RELIABLE } else { 0 }
                | if entry.soft_reserved { SPECIAL_PURPOSE } else { 0 };
            bytes[0..4].copy_from_slice(&entry.kind.number().to_le_bytes());
            bytes[8..16].copy_from_slice(&entry.start.to_le_bytes());
            bytes[24..32].copy_from_slice(&pages.to_le_bytes());
            bytes[32..40].copy_from_slice(&attribute.to_le_bytes());
        }
        bytes
    }

    /// Physical address of the configuration tables.
    pub fn configuration(&self) -> u64 {
        self.tables + CONFIGURATION as u64
    }

    /// The system table, and the configuration tables behind it, which name the RSDPs of `acpi`.
    ///
    /// After a kexec the system table holds the address at which the first kernel mapped the configuration
    /// tables: the setup_data node of kind [`SetupDataKind::Efi`] has the physical one.
    pub fn table_bytes(&self, acpi: Option<&Acpi>, kexec: bool) -> Vec<u8> {
        let wide = self.signature == EfiSignature::EL64;
        let mut entries = vec![(SMBIOS, 0xf_0000)];
        if let Some(acpi) = acpi {
            let newer = (ACPI_20, acpi.address);
            let older = (ACPI_10, acpi.second.map_or(acpi.address, |second| second.address));
            match self.acpi {
                AcpiGuids::Newer => entries.push(newer),
                AcpiGuids::Older => entries.push((ACPI_10, acpi.address)),
                AcpiGuids::NewerFirst => entries.extend([newer, older]),
                AcpiGuids::OlderFirst => entries.extend([older, newer]),
            }
        }
        let tables = if kexec { VIRTUAL } else { self.configuration() };
        let count = entries.len() as u32;

        let mut bytes = vec![0; CONFIGURATION];
        bytes[0..8].copy_from_slice(SYSTEM_TABLE_SIGNATURE);
        if wide {
            bytes[104..108].copy_from_slice(&count.to_le_bytes());
            bytes[112..120].copy_from_slice(&tables.to_le_bytes());
        } else {
            bytes[64..68].copy_from_slice(&count.to_le_bytes());
            bytes[68..72].copy_from_slice(&(tables as u32).to_le_bytes());
        }
        for (guid, table) in entries {
            bytes.extend(guid);
            if wide {
                bytes.extend(table.to_le_bytes());
            } else {
                bytes.extend((table as u32).to_le_bytes());
            }
        }
        bytes
    }
}

/// Whether the chain has the node with which one kernel tells the next where EFI's tables are.
pub fn after_kexec(chain: &[super::SetupData]) -> bool {
    chain.iter().any(|node| node.kind == SetupDataKind::Efi)
}

#[cfg(test)]
mod tests {
    use super::super::SecondRoot;
    use super::*;

    fn efi(signature: EfiSignature) -> Efi {
        let entry = |start, end, kind| EfiEntry {
            start,
            end,
            kind,
            mirror: kind == EfiKind::Conventional,
            soft_reserved: kind == EfiKind::Persistent,
        };
        let memory = vec![
            entry(0x10_0000, 0x40_0000, EfiKind::Conventional),
            entry(0x40_0000, 0x40_1000, EfiKind::Persistent),
        ];
        let acpi = AcpiGuids::Newer;
        Efi { signature, tables: 0x9_0000, map: 0x9_1000, descriptor_size: 48, acpi, memory }
    }

    #[test]
    fn descriptors_count_pages() {
        let bytes = efi(EfiSignature::EL64).map_bytes();
        assert_eq!(bytes.len(), 96);
        assert_eq!(bytes[0..4], 7u32.to_le_bytes());
        assert_eq!(bytes[8..16], 0x10_0000u64.to_le_bytes());
        assert_eq!(bytes[24..32], 0x300u64.to_le_bytes());
        assert_eq!(bytes[32..40], 0x1_0000u64.to_le_bytes());
        assert_eq!(bytes[48 + 32..48 + 40], 0x4_0000u64.to_le_bytes());
    }

    #[test]
    fn tables_name_acpi_in_either_word_size() {
        let wide = efi(EfiSignature::EL64).table_bytes(Some(&Acpi::at(0xe_0000)), false);
        assert_eq!(wide[104], 2);
        assert_eq!(wide[112..120], 0x9_0100u64.to_le_bytes());
        assert_eq!(wide[0x100 + 24 + 16..], 0xe_0000u64.to_le_bytes());
        let narrow = efi(EfiSignature::EL32).table_bytes(None, false);
        assert_eq!((narrow[64], narrow.len()), (1, 0x100 + 20));
        assert_eq!(narrow[68..72], 0x9_0100u32.to_le_bytes());
    }

    #[test]
    fn the_older_table_is_another_root_where_there_are_two() {
        let second =
            SecondRoot { address: 0xe_8000, checksums: Default::default(), in_boot_params: false };
        let one = Acpi::at(0xe_0000);
        let two = Acpi { second: Some(second), ..one.clone() };
        let first = (ACPI_20, 0xe_0000);
        for (guids, acpi, expected) in [
            (AcpiGuids::Older, &two, vec![(ACPI_10, 0xe_0000)]),
            (AcpiGuids::NewerFirst, &two, vec![first, (ACPI_10, 0xe_8000)]),
            (AcpiGuids::OlderFirst, &two, vec![(ACPI_10, 0xe_8000), first]),
            (AcpiGuids::OlderFirst, &one, vec![(ACPI_10, 0xe_0000), first]),
        ] {
            let efi = Efi { acpi: guids, ..efi(EfiSignature::EL64) };
            let bytes = efi.table_bytes(Some(acpi), false);
            let entries: Vec<([u8; 16], u64)> = bytes[CONFIGURATION + 24..]
                .chunks_exact(24)
                .map(|entry| {
                    let (guid, table) = entry.split_at(16);
                    (guid.try_into().unwrap(), u64::from_le_bytes(table.try_into().unwrap()))
                })
                .collect();
            assert_eq!((entries, bytes[104]), (expected.clone(), expected.len() as u8 + 1));
        }
    }
}
