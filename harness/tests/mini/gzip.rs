// SPDX-License-Identifier: GPL-2.0-only
//! gzip files (RFC 1952) with deflate blocks (RFC 1951) of choice.

use flate2::{Compress, Compression, Crc, FlushCompress};

/// How the data is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As the kernel build does it.
    Best,
    /// In blocks that are not compressed.
    Stored,
    /// As the build does it, but so many bytes at the end in stored blocks of one byte each: the compressed data grows as
    /// fast as it can.
    Swelling(usize),
}

/// The file for `data`.
pub fn pack(data: &[u8], packing: Packing) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    let tail = match packing {
        Packing::Best => 0,
        Packing::Stored => data.len(),
        Packing::Swelling(tail) => tail,
    };
    let (head, tail) = data.split_at(data.len() - tail);
    let finish = if tail.is_empty() { FlushCompress::Finish } else { FlushCompress::Full };
    if !head.is_empty() {
        let mut blocks = Vec::with_capacity(2 * head.len() + 100);
        Compress::new(Compression::best(), false)
            .compress_vec(head, &mut blocks, finish)
            .expect("deflate compresses anything");
        file.extend(blocks);
    }
    let most = if packing == Packing::Stored { 0xffff } else { 1 };
    let count = tail.len().div_ceil(most);
    for (index, block) in tail.chunks(most).enumerate() {
        let len = block.len() as u16;
        file.push(u8::from(index + 1 == count));
        file.extend(len.to_le_bytes());
        file.extend((!len).to_le_bytes());
        file.extend(block);
    }
    let mut crc = Crc::new();
    crc.update(data);
    file.extend(crc.sum().to_le_bytes());
    file.extend((data.len() as u32).to_le_bytes());
    file
}
