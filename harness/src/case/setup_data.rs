// SPDX-License-Identifier: GPL-2.0-only
//! The setup_data chain in memory (struct setup_data, arch/x86/include/uapi/asm/setup_data.h).

use super::objects::{SETUP_DATA_HEADER, SetupData, SetupDataKind};

/// Type of what an indirect node points to: an extension of the memory map.
const POINTED_TO: u32 = 1 | 1 << 31;
/// Where `tables` lies in the data of an EFI node (struct efi_setup_data).
const EFI_TABLES: usize = 16;
/// struct kho_data, in bytes.
const KHO_DATA: usize = 32;
/// struct kho_scratch, in bytes.
const KHO_AREA: usize = 16;
/// struct setup_indirect, in bytes.
const INDIRECT: usize = 24;

/// The bytes of node `index` of `chain`, its header first. `configuration` is the physical address of
/// EFI's configuration tables, 0 if there are none.
pub fn node_bytes(chain: &[SetupData], index: usize, configuration: u64) -> Vec<u8> {
    let node = &chain[index];
    let next = chain.get(index + 1).map_or(0, |next| next.address);
    let mut bytes = vec![0; SETUP_DATA_HEADER as usize + node.len as usize];
    bytes[0..8].copy_from_slice(&next.to_le_bytes());
    bytes[8..12].copy_from_slice(&node.kind.number().to_le_bytes());
    bytes[12..16].copy_from_slice(&node.len.to_le_bytes());
    let data = &mut bytes[SETUP_DATA_HEADER as usize..];
    let mut put = |offset: usize, value: u64| {
        data[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    };
    match node.kind {
        SetupDataKind::Efi => put(EFI_TABLES, configuration),
        SetupDataKind::Indirect => {
            let target = node.points_to.first().map(|span| span.range());
            put(0, POINTED_TO.into());
            put(8, target.map_or(0, |range| range.len()));
            put(16, target.map_or(0, |range| range.start));
        }
        SetupDataKind::KexecKho => {
            put(16, node.address + SETUP_DATA_HEADER + KHO_DATA as u64);
            put(24, (node.points_to.len() * KHO_AREA) as u64);
            for (area, span) in node.points_to.iter().enumerate() {
                put(KHO_DATA + area * KHO_AREA, span.start);
                put(KHO_DATA + area * KHO_AREA + 8, span.range().len());
            }
        }
        _ => {}
    }
    bytes
}

/// The least `len` of a node of this kind.
pub fn least_len(node: &SetupData) -> u32 {
    let bytes = match node.kind {
        SetupDataKind::Efi => EFI_TABLES + 8,
        SetupDataKind::Indirect => INDIRECT,
        SetupDataKind::KexecKho => KHO_DATA + node.points_to.len() * KHO_AREA,
        _ => 0,
    };
    bytes as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Span;

    #[test]
    fn nodes_are_chained_and_point_to_their_payload() {
        let span = Span { start: 0x5000_0000, end: 0x5000_0100 };
        let node = |address, kind, len, points_to| SetupData { address, kind, len, points_to };
        let chain = [
            node(0x1000, SetupDataKind::Indirect, 24, vec![span]),
            node(0x2000, SetupDataKind::KexecKho, 48, vec![span]),
        ];
        let first = node_bytes(&chain, 0, 0);
        assert_eq!(first[0..8], 0x2000u64.to_le_bytes());
        assert_eq!(first[8..16], [0, 0, 0, 0x80, 24, 0, 0, 0]);
        assert_eq!(first[24..32], 0x100u64.to_le_bytes());
        assert_eq!(first[32..40], 0x5000_0000u64.to_le_bytes());
        let second = node_bytes(&chain, 1, 0);
        assert_eq!(second[0..8], [0; 8]);
        assert_eq!(second[32..40], 0x2030u64.to_le_bytes());
        assert_eq!(second[40..48], 16u64.to_le_bytes());
        assert_eq!(second[48..56], 0x5000_0000u64.to_le_bytes());
        assert_eq!(second.len() as u32 - 16, least_len(&chain[1]));
    }
}
