// SPDX-License-Identifier: GPL-2.0-only
//! Which code of the stub is its decompressor (lib/decompress_*.c, lib/zlib_inflate, lib/xz, lib/lz4, lib/zstd, lib/lzo):
//! what it does is judged by the kernel's bytes alone.

use super::{Blocks, Code, Symbols};

/// How the functions of the decompressors begin, in lower case.
const PREFIXES: [&str; 30] = [
    "zlib_",
    "inflate",
    "nofill",
    "gunzip",
    "bunzip2",
    "get_next_block",
    "get_bits",
    "read_bunzip",
    "start_bunzip",
    "unlzma",
    "rc_",
    "peek_old_byte",
    "write_byte",
    "copy_byte",
    "process_bit",
    "unxz",
    "xz_",
    "lzma",
    "dict_",
    "bcj_",
    "crc32",
    "unlzo",
    "lzo1x",
    "unlz4",
    "lz4_",
    "zstd",
    "huf_",
    "fse_",
    "xxh",
    "hist_",
];

/// How often a block may run for each word of the relocation table, if it is not one of the decompressor's.
const LOOPS: u64 = 4;
/// As many runs of a block are nothing unusual: page tables, memory maps, command lines.
const USUAL: u64 = 1 << 14;

/// Marks the decompressor's instructions: by the names of functions if there are symbols, else those of blocks that run more
/// often than any loop over the relocation table or over what a loader passes on.
pub fn mark(code: &mut Code, symbols: &Symbols, blocks: &[&Blocks], words: usize) {
    let most = LOOPS * words as u64 + USUAL;
    let hot: Vec<(usize, usize)> = blocks
        .iter()
        .flat_map(|blocks| blocks.iter())
        .filter(|(_, (_, count))| *count > most)
        .map(|((start, _), (len, _))| (*start, start + len))
        .collect();
    for instruction in &mut code.instructions {
        instruction.decompressor = match symbols.before(instruction.at) {
            Some((name, _)) => {
                let name = name.to_ascii_lowercase();
                PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            }
            None => hot.iter().any(|(start, end)| (*start..*end).contains(&instruction.at)),
        };
    }
}
