// SPDX-License-Identifier: GPL-2.0-only
//! Kernels of some kilobytes, which nobody runs: bytes with addresses among them, and the table that names those.

use crate::image::{LINKED, PAGE_OFFSET};

/// What the stub decompresses.
pub struct Kernel {
    /// Kernel and table.
    pub payload: Vec<u8>,
    /// The table's entries, ascending.
    pub entries: Vec<u32>,
}

/// Bytes of the flat kernel: no whole number of words, and more than two pages.
const FLAT: usize = 0x6003;
/// Headers in front of the first segment, and so the distance by which that moves down.
const HEADERS: usize = 0x1000;
/// Segments of the ELF kernel: the first is longer than it moves, and there is a gap behind it.
const TEXT: usize = 0x2a00;
const DATA: usize = 0x1200;
const DATA_AT: usize = 0x3000;
/// The second segment's size in memory.
const DATA_WITH_BSS: usize = 0x5000;

/// A flat binary, as before 2.6.26.
pub fn flat() -> Kernel {
    let mut payload = noise(FLAT);
    let places: Vec<usize> = [3, 8].into_iter().chain((0x40..FLAT - 8).step_by(0x1f3)).collect();
    let entries = relocated(&mut payload, 0, &[&places[..], &[FLAT - 4]].concat());
    Kernel { payload: with_table(payload, &entries), entries }
}

/// An ELF file with two segments.
pub fn elf() -> Kernel {
    let (text_at, data_at) = (HEADERS, HEADERS + TEXT);
    let end = data_at + DATA;
    let mut text = noise(TEXT);
    let mut data = noise(DATA);
    let every = |len: usize| [3].into_iter().chain((0x20..len - 4).step_by(0x1f3)).collect();
    let text_places: Vec<usize> = every(TEXT);
    let data_places: Vec<usize> = every(DATA);
    let mut entries = relocated(&mut text, 0, &text_places);
    entries.extend(relocated(&mut data, DATA_AT, &data_places));

    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    halves(&mut file, &[2, 3]);
    words(&mut file, &[1, LINKED, 52, end as u32, 0]);
    halves(&mut file, &[52, 32, 2, 40, 1, 0]);
    for (from, to, filesz, memsz) in
        [(text_at, 0, TEXT, TEXT), (data_at, DATA_AT, DATA, DATA_WITH_BSS)]
    {
        let paddr = LINKED + to as u32;
        let (filesz, memsz) = (filesz as u32, memsz as u32);
        words(&mut file, &[1, from as u32, PAGE_OFFSET + paddr, paddr, filesz, memsz, 7, 0x1000]);
    }
    file.resize(HEADERS, 0);
    file.extend(text);
    file.extend(data);
    file.resize(end + 40, 0);
    Kernel { payload: with_table(file, &entries), entries }
}

/// The link address of the byte at `offset` of the output.
pub fn address(offset: usize) -> u32 {
    PAGE_OFFSET + LINKED + offset as u32
}

/// Puts addresses into `bytes`, which will lie at `base` of the output, and returns the entries that name them.
fn relocated(bytes: &mut [u8], base: usize, places: &[usize]) -> Vec<u32> {
    for place in places {
        bytes[*place..place + 4].copy_from_slice(&address(base + 7 * place % 0x2000).to_le_bytes());
    }
    places.iter().map(|place| address(base + place)).collect()
}

fn with_table(mut file: Vec<u8>, entries: &[u32]) -> Vec<u8> {
    words(&mut file, &[0]);
    words(&mut file, entries);
    file
}

/// Bytes without a zero among them, every other 256 of which repeat.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..len)
        .map(|at| match at >> 8 & 1 {
            0 => {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8 | 1
            }
            _ => 0x90 | (at >> 12) as u8,
        })
        .collect()
}

fn words(file: &mut Vec<u8>, words: &[u32]) {
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

fn halves(file: &mut Vec<u8>, halves: &[u16]) {
    file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
}
