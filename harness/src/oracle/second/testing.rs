// SPDX-License-Identifier: GPL-2.0-only
//! A kernel with relocations, and the image that was made from it, for tests that change one of the two.

use super::super::testing::{build, fixture};
use crate::case::Case;
use crate::image::{Compression, WordSize};
use crate::mutate::compress;
use crate::oracle::Subject;
use crate::oracle::testing::Run;
use crate::vmlinux::fixture::{Elf, Sec};

/// x86_64's types of relocations: of an address in 64 and in 32 bits.
pub const X64: u32 = 1;
pub const X32S: u32 = 11;

/// A kernel of .text, .data and .notes with one address of 64 bits at .text+8, and one of 32 at .data+4.
pub fn elf() -> Elf {
    let mut elf = Elf::new(true);
    let text = elf.section(Sec::data(".text", 0x1000));
    let data = elf.section(Sec::data(".data", 0x1000));
    let notes = elf.section(Sec::note(".notes", 0x40));
    let foo = elf.symbol("foo", elf.address(data), data);
    elf.symbol("start", elf.address(text), text);
    elf.symbol("note", elf.address(notes), notes);
    elf.reloc(text, 8, X64, foo);
    elf.reloc(data, 4, X32S, foo);
    elf
}

/// The table that belongs to [`elf`], as words: 64 bits, inverse, 32 bits.
pub const TABLE: &[u32] = &[0, 0x8100_0008, 0, 0, 0x8100_1004];

/// The image that is packed from a kernel's file and a table.
pub fn subject(kernel: &[u8], table: &[u32], release: &str) -> Subject {
    let words = table.iter().flat_map(|word| word.to_le_bytes());
    let payload: Vec<u8> = kernel.iter().copied().chain(words).collect();
    let mut fixture = fixture(WordSize::Bits64, release, "");
    fixture.payload = compress::payload(Compression::Gzip, &payload).unwrap();
    Run::of(build(fixture), Case::default()).subject
}
