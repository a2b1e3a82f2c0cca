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
