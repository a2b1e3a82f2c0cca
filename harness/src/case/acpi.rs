// SPDX-License-Identifier: GPL-2.0-only
//! The ACPI tables that a stub reads: from the RSDP to the SRAT, which says what memory can be unplugged
//! (ACPI specification, sections 5.2.5 to 5.2.8 and 5.2.16).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::hex;

/// ACPI tables in memory. A stub finds them in boot_params, by EFI, or because they lie where a BIOS puts
/// them, from 0xe0000 to 1 MiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acpi {
    /// Where the tables lie, the RSDP first; a multiple of 16.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub address: u64,
    /// The loader writes the RSDP's address into boot_params.
    #[serde(default, skip_serializing_if = "is_default")]
    pub in_boot_params: bool,
    /// Memory of which the SRAT tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affinity: Vec<Affinity>,
}

/// A memory affinity structure of the SRAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affinity {
    /// First address.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub start: u64,
    /// First address behind.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub end: u64,
    /// It can be unplugged while the machine runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hot_pluggable: bool,
}

const RSDP_SIZE: usize = 36;
const HEADER_SIZE: usize = 36;
const RSDT: usize = 0x40;
const XSDT: usize = 0x80;
const SRAT: usize = 0xc0;
/// Behind the SRAT's header: a revision and a reserved field.
const SRAT_FIXED: usize = 12;
const AFFINITY_SIZE: usize = 40;
const ENABLED: u32 = 1;
const HOT_PLUGGABLE: u32 = 2;

impl Acpi {
    /// All tables, from `address` on.
    pub fn bytes(&self) -> Vec<u8> {
        let srat = table(b"SRAT", &self.srat_body());
        let at = |offset: usize| self.address + offset as u64;
        // A root table of 32 bits cannot name what lies above 4 GiB.
        let narrow = u32::try_from(at(SRAT)).is_ok();
        let rsdt = table(b"RSDT", &(if narrow { at(SRAT) as u32 } else { 0 }).to_le_bytes());
        let xsdt = table(b"XSDT", &at(SRAT).to_le_bytes());

        let mut bytes = vec![0; SRAT + srat.len()];
        let mut rsdp = [0; RSDP_SIZE];
        rsdp[0..8].copy_from_slice(b"RSD PTR ");
        rsdp[9..15].copy_from_slice(b"RELOCK");
        rsdp[15] = 2;
        rsdp[16..20].copy_from_slice(&(if narrow { at(RSDT) as u32 } else { 0 }).to_le_bytes());
        rsdp[20..24].copy_from_slice(&(RSDP_SIZE as u32).to_le_bytes());
        rsdp[24..32].copy_from_slice(&at(XSDT).to_le_bytes());
        rsdp[8] = checksum(&rsdp[..20]);
        rsdp[32] = checksum(&rsdp);
        for (offset, part) in [(0, &rsdp[..]), (RSDT, &rsdt), (XSDT, &xsdt), (SRAT, &srat)] {
            bytes[offset..offset + part.len()].copy_from_slice(part);
        }
        bytes
    }

    fn srat_body(&self) -> Vec<u8> {
        let mut body = vec![0; SRAT_FIXED];
        body[0] = 1;
        for (node, affinity) in self.affinity.iter().enumerate() {
            let mut entry = [0; AFFINITY_SIZE];
            let flags = ENABLED | if affinity.hot_pluggable { HOT_PLUGGABLE } else { 0 };
            entry[0] = 1;
            entry[1] = AFFINITY_SIZE as u8;
            entry[2..6].copy_from_slice(&(node as u32).to_le_bytes());
            entry[8..16].copy_from_slice(&affinity.start.to_le_bytes());
            let len = affinity.end.saturating_sub(affinity.start);
            entry[16..24].copy_from_slice(&len.to_le_bytes());
            entry[28..32].copy_from_slice(&flags.to_le_bytes());
            body.extend(entry);
        }
        body
    }
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE];
    bytes[0..4].copy_from_slice(signature);
    bytes[4..8].copy_from_slice(&((HEADER_SIZE + body.len()) as u32).to_le_bytes());
    bytes[8] = 1;
    bytes[10..16].copy_from_slice(b"RELOCK");
    bytes.extend(body);
    bytes[9] = checksum(&bytes);
    bytes
}

/// What makes the bytes add up to zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn the_tables_lead_from_the_rsdp_to_the_srat() {
        let affinity =
            vec![Affinity { start: 0x1000_0000, end: 0x3000_0000, hot_pluggable: true }; 2];
        let acpi = Acpi { address: 0xe_1000, in_boot_params: false, affinity };
        let bytes = acpi.bytes();
        assert_eq!((sum(&bytes[..20]), sum(&bytes[..36])), (0, 0));
        let pointer = u64::from_le_bytes(bytes[24..32].try_into().unwrap()) - acpi.address;
        let root = &bytes[pointer as usize..];
        assert_eq!((&root[..4], root[4]), (&b"XSDT"[..], 44));
        assert_eq!(sum(&root[..44]), 0);
        let srat = u64::from_le_bytes(root[36..44].try_into().unwrap()) - acpi.address;
        let srat = &bytes[srat as usize..];
        assert_eq!((&srat[..4], srat[4]), (&b"SRAT"[..], 48 + 80));
        assert_eq!(sum(srat), 0);
        assert_eq!(srat[48 + 40 + 8..48 + 40 + 16], 0x1000_0000u64.to_le_bytes());
        assert_eq!(srat[48 + 28], 3);
    }

    #[test]
    fn above_4_gib_there_is_no_32_bit_root_table() {
        let acpi = Acpi { address: 1 << 33, in_boot_params: true, affinity: vec![] };
        assert_eq!(acpi.bytes()[16..20], [0; 4]);
    }
}
