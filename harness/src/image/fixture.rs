// SPDX-License-Identifier: GPL-2.0-only
//! Small bzImages for the unit tests of this module.

pub use crate::mutate::compress;

use super::Compression;

pub const INVERSE: &str = "inverse 32-bit relocation outside of kernel!\n\0";
pub const BITS64: &str = "64-bit relocation outside of kernel!\n\0";
pub const BITS32: &str = "32-bit relocation outside of kernel!\n\0";
pub const SETUP_SIZE: usize = 5 * 512;
const SHDR64: usize = 64;
const SHDR32: usize = 40;

/// A bzImage to be; the fields are what tests vary.
pub struct Fixture {
    pub version: u16,
    pub relocatable: u8,
    pub init_size: u32,
    pub kernel_version: String,
    pub stub_text: String,
    pub payload: Vec<u8>,
}

impl Fixture {
    /// A well-formed image around the given payload bytes.
    pub fn with_payload(payload: Vec<u8>) -> Fixture {
        Fixture {
            version: 0x020f,
            relocatable: 1,
            init_size: 64 << 20,
            kernel_version: "6.1.192 (builder@host) #1 SMP".to_owned(),
            stub_text: format!("6.1.192 (builder@host) (cc 12) #1 SMP\0{INVERSE}{BITS64}"),
            payload,
        }
    }

    /// A well-formed image around a kernel.
    pub fn new(compression: Compression, kernel: &[u8]) -> Fixture {
        Fixture::with_payload(compress::payload(compression, kernel).unwrap())
    }

    pub fn build(&self) -> Vec<u8> {
        let mut stub = vec![0x90; 0x200];
        // What 2.6.20 to 2.6.25 have in front of the payload.
        stub.extend((self.payload.len() as u32).to_le_bytes());
        let payload_offset = stub.len() as u32;
        stub.extend(&self.payload);
        stub.extend(self.stub_text.as_bytes());
        stub.resize(stub.len().next_multiple_of(16), 0);

        let mut file = vec![0; SETUP_SIZE];
        let mut put =
            |offset: usize, bytes: &[u8]| file[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0x1f1, &[4]);
        put(0x1f4, &((stub.len() / 16) as u32).to_le_bytes());
        put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
        put(0x202, b"HdrS");
        put(0x206, &self.version.to_le_bytes());
        put(0x20e, &0x100u16.to_le_bytes());
        put(0x211, &[1]);
        put(0x214, &0x10_0000u32.to_le_bytes());
        put(0x230, &0x20_0000u32.to_le_bytes());
        put(0x234, &[self.relocatable, 21]);
        put(0x236, &3u16.to_le_bytes());
        put(0x248, &payload_offset.to_le_bytes());
        put(0x24c, &(self.payload.len() as u32).to_le_bytes());
        put(0x258, &0x100_0000u64.to_le_bytes());
        put(0x260, &self.init_size.to_le_bytes());
        put(0x300, self.kernel_version.as_bytes());
        file.extend(stub);
        file
    }
}

/// A payload: an ELF file of one PT_LOAD with 64 bytes, then the words of a table.
pub fn kernel(bits64: bool, table: &[u32]) -> Vec<u8> {
    let mut file = if bits64 { elf64() } else { elf32() };
    file.extend(table.iter().flat_map(|word| word.to_le_bytes()));
    file
}

/// Bytes of the ELF file that [`kernel`] starts with.
pub fn elf_len(bits64: bool) -> usize {
    0x140 + if bits64 { SHDR64 } else { SHDR32 }
}

fn elf64() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x100_0c43u64, 64, 0x140] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64u16, 56, 1, SHDR64 as u16, 1, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes());
    }
    for word in [0x100u64, 0xffff_ffff_8100_0000, 0x100_0000, 0x40, 0x40, 0x20_0000] {
        file.extend(word.to_le_bytes());
    }
    file.resize(0x100, 0);
    file.extend([0xcc; 0x40]);
    file.resize(elf_len(true), 0);
    file
}

fn elf32() -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 3, 0, 1, 0, 0, 0]);
    for word in [0x100_0000u32, 52, 0x140, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, SHDR32 as u16, 1, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [1u32, 0x100, 0xc100_0000, 0x100_0000, 0x40, 0x40, 5, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.resize(0x100, 0);
    file.extend([0xcc; 0x40]);
    file.resize(elf_len(false), 0);
    file
}
