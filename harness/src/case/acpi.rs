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
    /// Where the tables behind the RSDP lie, if not right behind it.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub tables: Option<u64>,
    /// The RSDP's revision. Before 2 it knows no XSDT, and has garbage where later ones name it.
    #[serde(default = "with_xsdt", skip_serializing_if = "has_xsdt")]
    pub revision: u8,
    /// So many other tables stand before the SRAT in the list of tables.
    #[serde(default, skip_serializing_if = "is_default")]
    pub other_tables: u32,
    /// Memory of which the SRAT tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affinity: Vec<Affinity>,
    /// The SRAT begins with so many more structures about memory, a page each.
    #[serde(default, skip_serializing_if = "is_default")]
    pub small_affinities: u32,
    /// Of so many processors the SRAT tells as well: one before each of the structures about memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub processors: u32,
    /// Another RSDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondRoot>,
}

/// An RSDP that a stub must not take: by its tables there is no memory for a kernel that cannot be unplugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondRoot {
    /// Where it lies, and its tables behind it; a multiple of 16.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub address: u64,
    /// Whether its bytes add up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checksums: Checksums,
    /// The loader writes its address into boot_params.
    #[serde(default, skip_serializing_if = "is_default")]
    pub in_boot_params: bool,
}

/// The two checksums of an RSDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Checksums {
    /// Both are right.
    #[default]
    Right,
    /// The one of the first 20 bytes is wrong.
    Wrong,
    /// The one of all 36 bytes is wrong.
    WrongExtended,
}

fn with_xsdt() -> u8 {
    WITH_XSDT
}

fn has_xsdt(revision: &u8) -> bool {
    *revision == WITH_XSDT
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

/// The first revision of the RSDP that names an XSDT.
const WITH_XSDT: u8 = 2;
const RSDP_SIZE: usize = 36;
/// Up to where the first checksum counts.
const OLD_RSDP_SIZE: usize = 20;
const HEADER_SIZE: usize = 36;
/// Where a table may begin, counted from the RSDP.
const STEP: u64 = 0x40;
/// Behind the SRAT's header: a revision and a reserved field.
const SRAT_FIXED: usize = 12;
const PAGE: u64 = 4096;
const ENABLED: u32 = 1;
const HOT_PLUGGABLE: u32 = 2;
/// Types of structures in the SRAT, and their sizes in bytes.
const LOCAL_APIC: (u8, usize) = (0, 16);
const MEMORY: (u8, usize) = (1, 40);
const LOCAL_X2APIC: (u8, usize) = (2, 24);
/// Offsets in them.
const APIC_FLAGS: usize = 4;
const CLOCK_DOMAIN: usize = 16;
/// An address that nothing has.
const GARBAGE: u8 = 0x5a;

impl Acpi {
    /// The plainest tables, at `address`.
    pub fn at(address: u64) -> Acpi {
        Acpi {
            address,
            in_boot_params: false,
            tables: None,
            revision: WITH_XSDT,
            other_tables: 0,
            affinity: Vec::new(),
            small_affinities: 0,
            processors: 0,
            second: None,
        }
    }

    /// Everything with its address: the RSDP with the tables behind it or apart, and the second RSDP with its own.
    pub fn pieces(&self) -> Vec<(&'static str, u64, Vec<u8>)> {
        let tables = self.tables.unwrap_or(self.address + STEP);
        let mut rsdp = self.rsdp(tables);
        let mut pieces = Vec::new();
        if self.tables.is_some() {
            pieces.push(("acpi.tables", tables, self.tables_at(tables)));
        } else {
            rsdp.resize(STEP as usize, 0);
            rsdp.extend(self.tables_at(tables));
        }
        pieces.insert(0, ("acpi.address", self.address, rsdp));
        if let Some(second) = self.second {
            pieces.push(("acpi.second", second.address, second.bytes()));
        }
        pieces
    }

    /// The address that boot_params name, if they do.
    pub fn named_in_boot_params(&self) -> Option<u64> {
        let second = self.second.filter(|second| second.in_boot_params);
        second.map(|second| second.address).or(self.in_boot_params.then_some(self.address))
    }

    fn rsdp(&self, tables: u64) -> Vec<u8> {
        let list = self.list_size();
        // A root table of 32 bits cannot name what lies above 4 GiB.
        let rsdt = u32::try_from(tables + list).map_or(0, |_| tables as u32);
        let mut rsdp = vec![0; RSDP_SIZE];
        rsdp[0..8].copy_from_slice(b"RSD PTR ");
        rsdp[9..15].copy_from_slice(b"RELOCK");
        rsdp[15] = self.revision;
        rsdp[16..20].copy_from_slice(&rsdt.to_le_bytes());
        rsdp[8] = checksum(&rsdp[..OLD_RSDP_SIZE]);
        if self.revision < WITH_XSDT {
            rsdp[OLD_RSDP_SIZE..].fill(GARBAGE);
            return rsdp;
        }
        rsdp[20..24].copy_from_slice(&(RSDP_SIZE as u32).to_le_bytes());
        rsdp[24..32].copy_from_slice(&(tables + list).to_le_bytes());
        rsdp[32] = checksum(&rsdp);
        rsdp
    }

    /// Room for either list of tables.
    fn list_size(&self) -> u64 {
        (HEADER_SIZE as u64 + 8 * (1 + u64::from(self.other_tables))).next_multiple_of(STEP)
    }

    /// The two lists of tables, the other tables and the SRAT, from `start` on.
    fn tables_at(&self, start: u64) -> Vec<u8> {
        let other = table(b"FACP", &[]);
        let list = self.list_size();
        let first = start + 2 * list;
        let listed: Vec<u64> =
            (0..=u64::from(self.other_tables)).map(|index| first + index * STEP).collect();
        let narrow = u32::try_from(*listed.last().expect("the SRAT")).is_ok();
        let short = |at: &u64| (if narrow { *at as u32 } else { 0 }).to_le_bytes();
        let rsdt: Vec<u8> = listed.iter().flat_map(short).collect();
        let xsdt: Vec<u8> = listed.iter().flat_map(|at| at.to_le_bytes()).collect();

        let mut bytes = Vec::new();
        let mut put = |at: u64, part: &[u8]| {
            bytes.resize((at - start) as usize, 0);
            bytes.extend(part);
        };
        put(start, &table(b"RSDT", &rsdt));
        put(start + list, &table(b"XSDT", &xsdt));
        for at in &listed[..listed.len() - 1] {
            put(*at, &other);
        }
        put(listed[listed.len() - 1], &table(b"SRAT", &self.srat_body()));
        bytes
    }

    fn srat_body(&self) -> Vec<u8> {
        let mut body = vec![0; SRAT_FIXED];
        body[0] = 1;
        let small = (0..u64::from(self.small_affinities)).map(|index| {
            let start = index * PAGE;
            Affinity { start, end: start + PAGE, hot_pluggable: false }
        });
        let memory: Vec<Affinity> = small.chain(self.affinity.iter().copied()).collect();
        let processors = self.processors as usize;
        for index in 0..memory.len().max(processors) {
            if index < processors {
                body.extend(processor(index));
            }
            if let Some(affinity) = memory.get(index) {
                body.extend(affinity.bytes(index as u32));
            }
        }
        body
    }
}

impl SecondRoot {
    /// The RSDP and its tables.
    pub fn bytes(&self) -> Vec<u8> {
        let acpi = Acpi { small_affinities: 1, ..Acpi::at(self.address) };
        let mut bytes = acpi.pieces().remove(0).2;
        match self.checksums {
            Checksums::Right => {}
            Checksums::Wrong => bytes[8] ^= 1,
            Checksums::WrongExtended => bytes[32] ^= 1,
        }
        bytes
    }
}

impl Affinity {
    fn bytes(&self, node: u32) -> Vec<u8> {
        let mut entry = vec![0; MEMORY.1];
        let flags = ENABLED | if self.hot_pluggable { HOT_PLUGGABLE } else { 0 };
        entry[0] = MEMORY.0;
        entry[1] = MEMORY.1 as u8;
        entry[2..6].copy_from_slice(&node.to_le_bytes());
        entry[8..16].copy_from_slice(&self.start.to_le_bytes());
        let len = self.end.saturating_sub(self.start);
        entry[16..24].copy_from_slice(&len.to_le_bytes());
        entry[28..32].copy_from_slice(&flags.to_le_bytes());
        entry
    }
}

/// Processors with an APIC and an x2APIC by turns. Those with an x2APIC are off, and their clock domain is such that who takes
/// them for memory sees all of it below 4 GiB.
fn processor(index: usize) -> Vec<u8> {
    let (kind, size) = if index.is_multiple_of(2) { LOCAL_APIC } else { LOCAL_X2APIC };
    let mut entry = vec![0; size];
    entry[0] = kind;
    entry[1] = size as u8;
    let (field, value) =
        if kind == LOCAL_APIC.0 { (APIC_FLAGS, ENABLED) } else { (CLOCK_DOMAIN, u32::MAX) };
    entry[field..field + 4].copy_from_slice(&value.to_le_bytes());
    entry
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

    fn word(bytes: &[u8], at: u64) -> u64 {
        u64::from_le_bytes(bytes[at as usize..][..8].try_into().unwrap())
    }

    fn only(acpi: &Acpi) -> Vec<u8> {
        let pieces = acpi.pieces();
        assert_eq!((pieces.len(), pieces[0].1), (1, acpi.address));
        pieces[0].2.clone()
    }

    #[test]
    fn the_tables_lead_from_the_rsdp_to_the_srat() {
        let affinity =
            vec![Affinity { start: 0x1000_0000, end: 0x3000_0000, hot_pluggable: true }; 2];
        let acpi = Acpi { affinity, ..Acpi::at(0xe_1000) };
        let bytes = only(&acpi);
        assert_eq!((sum(&bytes[..20]), sum(&bytes[..36])), (0, 0));
        let root = &bytes[(word(&bytes, 24) - acpi.address) as usize..];
        assert_eq!((&root[..4], root[4]), (&b"XSDT"[..], 44));
        assert_eq!(sum(&root[..44]), 0);
        let srat = &bytes[(word(root, 36) - acpi.address) as usize..];
        assert_eq!((&srat[..4], srat[4]), (&b"SRAT"[..], 48 + 80));
        assert_eq!(sum(srat), 0);
        assert_eq!(srat[48 + 40 + 8..48 + 40 + 16], 0x1000_0000u64.to_le_bytes());
        assert_eq!(srat[48 + 28], 3);
    }

    #[test]
    fn an_older_root_has_only_the_list_of_short_pointers() {
        for revision in [0, 1] {
            let acpi = Acpi { revision, other_tables: 2, ..Acpi::at(0xe_1000) };
            let bytes = only(&acpi);
            assert_eq!((sum(&bytes[..20]), bytes[15]), (0, revision));
            assert_eq!(bytes[20..36], [GARBAGE; 16]);
            let root = &bytes[(word(&bytes, 16) as u32 as u64 - acpi.address) as usize..];
            assert_eq!((&root[..4], root[4], sum(&root[..48])), (&b"RSDT"[..], 48, 0));
            let names = [36, 40, 44].map(|at| {
                let at = (word(root, at) as u32 as u64 - acpi.address) as usize;
                bytes[at..at + 4].to_vec()
            });
            assert_eq!(names, [b"FACP".to_vec(), b"FACP".to_vec(), b"SRAT".to_vec()]);
        }
    }

    #[test]
    fn above_4_gib_there_is_no_32_bit_root_table() {
        assert_eq!(only(&Acpi::at(1 << 33))[16..20], [0; 4]);
    }

    #[test]
    fn processors_stand_between_memory() {
        let affinity = vec![Affinity { start: 0, end: 1, hot_pluggable: false }];
        let acpi = Acpi { affinity, processors: 3, small_affinities: 1, ..Acpi::at(0x1_0000) };
        let body = acpi.srat_body();
        let mut kinds = Vec::new();
        let mut at = SRAT_FIXED;
        while at < body.len() {
            kinds.push(body[at]);
            at += usize::from(body[at + 1]);
        }
        assert_eq!((kinds, at), (vec![0, 1, 2, 1, 0], body.len()));
    }

    #[test]
    fn tables_may_lie_apart_and_a_second_root_leads_elsewhere() {
        let second = SecondRoot {
            address: 0xe_0000,
            checksums: Checksums::WrongExtended,
            in_boot_params: true,
        };
        let acpi = Acpi { tables: Some(0x5000), second: Some(second), ..Acpi::at(0xf_0000) };
        let pieces = acpi.pieces();
        let places: Vec<_> = pieces.iter().map(|(field, at, _)| (*field, *at)).collect();
        let expected =
            [("acpi.address", 0xf_0000), ("acpi.tables", 0x5000), ("acpi.second", 0xe_0000)];
        assert_eq!(places, expected);
        assert_eq!(pieces[0].2.len(), RSDP_SIZE);
        assert_eq!(word(&pieces[0].2, 16) as u32, 0x5000);
        assert_eq!(pieces[1].2[..4], *b"RSDT");
        let root = &pieces[2].2;
        assert_eq!((sum(&root[..20]), sum(&root[..36]) == 0), (0, false));
        assert_eq!(acpi.named_in_boot_params(), Some(0xe_0000));
        assert_eq!(Acpi::at(0x10).named_in_boot_params(), None);
        assert_eq!(
            Acpi { in_boot_params: true, ..Acpi::at(0x10) }.named_in_boot_params(),
            Some(0x10)
        );
    }
}
