// SPDX-License-Identifier: GPL-2.0-only
//! The list of `setup_data` nodes (arch/x86/include/uapi/asm/setup_data.h).

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::super::guest::Guest;

/// Size of a node's head in bytes.
pub const HEAD: u64 = 16;
/// A stub that has seen more nodes is taken to walk in a circle, where it would stay for ever.
const MOST_NODES: usize = 10_000;

/// One node of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where its head lies.
    pub address: u64,
    /// Its type.
    pub kind: u32,
    /// Length of its data in bytes.
    pub len: u32,
}

impl Node {
    /// Where its data lie.
    pub fn data(self) -> u64 {
        self.address.wrapping_add(HEAD)
    }
}

/// The nodes in the order of the list.
///
/// # Errors
///
/// A node is not in RAM, or the list has no end.
pub fn nodes(guest: &Guest) -> Result<Vec<Node>, String> {
    let mut nodes = Vec::new();
    let mut address = guest.long(guest.page.u64(offset_of!(boot_params, hdr.setup_data)));
    while address != 0 {
        if nodes.len() == MOST_NODES {
            return Err(format!("the list of setup_data has no end after {MOST_NODES} nodes"));
        }
        let head = guest.vec(address, HEAD as usize, "setup_data")?;
        let field = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
        nodes.push(Node { address, kind: field(8), len: field(12) });
        address = guest.long(u64::from(field(4)) << 32 | u64::from(field(0)));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Bytes, PARAMS, guest};
    use crate::image::WordSize;

    fn list(first: u64, nodes: &[(u64, u64)], word: WordSize) -> Result<Vec<u64>, String> {
        let mut memory = Bytes::new(0, 0x2_0000);
        memory.put(PARAMS + 0x250, &first.to_le_bytes());
        for (at, next) in nodes {
            memory.put(*at, &next.to_le_bytes());
        }
        Ok(super::nodes(&guest(&memory, word))?.iter().map(|node| node.address).collect())
    }

    #[test]
    fn the_list_ends_at_a_null_pointer() {
        let wide = WordSize::Bits64;
        assert_eq!(list(0, &[], wide), Ok(vec![]));
        assert_eq!(list(0x100, &[(0x100, 0x200)], wide), Ok(vec![0x100, 0x200]));
    }

    #[test]
    fn a_circle_and_a_hole_are_told() {
        let wide = WordSize::Bits64;
        let circle = list(0x100, &[(0x100, 0x200), (0x200, 0x100)], wide);
        assert!(circle.unwrap_err().contains("no end"));
        let hole = list(0x100, &[(0x100, 0x1_0000_0200)], wide);
        assert!(hole.unwrap_err().contains("not RAM"));
    }

    #[test]
    fn i386_cuts_pointers_off() {
        let narrow = WordSize::Bits32;
        assert_eq!(list(0x1_0000_0100, &[(0x100, 7 << 32)], narrow), Ok(vec![0x100]));
    }
}
