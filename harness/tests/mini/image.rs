// SPDX-License-Identifier: GPL-2.0-only
//! bzImages of boot protocols 2.05 to 2.09 around the stub.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flate2::Crc;

use crate::gzip::{Packing, pack};
use crate::kernel::{self, Kernel};
use crate::stub;

/// CONFIG_PHYSICAL_START, and so LOAD_PHYSICAL_ADDR.
pub const LINKED: u32 = 0x10_0000;
/// CONFIG_PHYSICAL_ALIGN.
pub const ALIGNMENT: u32 = 0x10_0000;
/// `__PAGE_OFFSET`.
pub const PAGE_OFFSET: u32 = 0xc000_0000;
const SETUP_SECTS: usize = 4;
const VERSION_AT: usize = 0x300;

/// A time at which stubs were alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Boot protocol 2.05, a flat kernel, the first stack where nothing was.
    V2_6_20,
    /// Boot protocol 2.07, the first stack in a field of its own.
    V2_6_24,
    /// Boot protocol 2.09, an ELF kernel, which the header tells how to find.
    V2_6_26,
}

impl Generation {
    pub const ALL: [Generation; 3] =
        [Generation::V2_6_20, Generation::V2_6_24, Generation::V2_6_26];

    fn protocol(self) -> u16 {
        match self {
            Generation::V2_6_20 => 0x0205,
            Generation::V2_6_24 => 0x0207,
            Generation::V2_6_26 => 0x0209,
        }
    }

    pub fn release(self) -> &'static str {
        match self {
            Generation::V2_6_20 => "2.6.20",
            Generation::V2_6_24 => "2.6.24",
            Generation::V2_6_26 => "2.6.26",
        }
    }

    /// The kernel of the time.
    pub fn kernel(self) -> Kernel {
        match self {
            Generation::V2_6_20 | Generation::V2_6_24 => kernel::flat(),
            Generation::V2_6_26 => kernel::elf(),
        }
    }

    /// File offset behind the last field of the header.
    fn header_end(self) -> usize {
        match self {
            Generation::V2_6_20 => 0x238,
            Generation::V2_6_24 => 0x248,
            Generation::V2_6_26 => 0x258,
        }
    }

    fn macros(self) -> Vec<String> {
        let scratch = if self == Generation::V2_6_20 { 0x3c } else { 0x1e4 };
        let mut macros = vec![
            format!("PHYSICAL_ALIGN={ALIGNMENT:#x}"),
            format!("LOAD_PHYSICAL_ADDR={LINKED:#x}"),
            format!("PAGE_OFFSET={PAGE_OFFSET:#x}"),
            format!("SCRATCH={scratch:#x}"),
        ];
        if self == Generation::V2_6_26 {
            macros.push("ELF_PAYLOAD".to_owned());
        }
        macros
    }
}

/// An image without a mistake.
pub fn good(generation: Generation) -> Vec<u8> {
    with(generation, &[], Packing::Best)
}

/// An image whose stub has these mistakes.
pub fn with(generation: Generation, bugs: &[&str], packing: Packing) -> Vec<u8> {
    with_elf(generation, bugs, packing).0
}

/// Such an image, and the ELF file of its stub. Each is made once.
pub fn with_elf(generation: Generation, bugs: &[&str], packing: Packing) -> (Vec<u8>, Vec<u8>) {
    type Made = BTreeMap<String, (Vec<u8>, Vec<u8>)>;
    static MADE: Mutex<Made> = Mutex::new(BTreeMap::new());
    let made = || MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let name = format!("{generation:?} {bugs:?} {packing:?}");
    if let Some(image) = made().get(&name) {
        return image.clone();
    }
    let payload = pack(&generation.kernel().payload, packing);
    let mut macros = generation.macros();
    macros.extend(bugs.iter().map(|bug| bug.to_string()));
    let compiled = stub::compile(&payload, &macros);
    let image = (around(generation, compiled.loaded, &payload), compiled.elf);
    made().insert(name, image.clone());
    image
}

/// What arch/x86/boot/tools/build.c makes of setup code and stub.
fn around(generation: Generation, mut stub: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    const CRC_BYTES: usize = 4;
    let payload_at = stub.windows(payload.len()).position(|bytes| bytes == payload);
    let payload_at = payload_at.expect("the stub contains its payload");
    let elf = generation == Generation::V2_6_26;
    let len = (stub.len() + if elf { CRC_BYTES } else { 0 }).next_multiple_of(16);
    stub.resize(len, 0);

    let mut file = vec![0; (SETUP_SECTS + 1) * 512];
    let mut put =
        |offset: usize, bytes: &[u8]| file[offset..offset + bytes.len()].copy_from_slice(bytes);
    let end = generation.header_end();
    put(0x1f1, &[SETUP_SECTS as u8]);
    put(0x1f4, &((len / 16) as u32).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, (end - 0x202) as u8]);
    put(0x202, b"HdrS");
    put(0x206, &generation.protocol().to_le_bytes());
    put(0x20e, &((VERSION_AT - 0x200) as u16).to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &0x10_0000u32.to_le_bytes());
    put(0x22c, &0x37ff_ffffu32.to_le_bytes());
    put(0x230, &ALIGNMENT.to_le_bytes());
    put(0x234, &[1]);
    if elf {
        put(0x248, &(payload_at as u32).to_le_bytes());
        put(0x24c, &(payload.len() as u32).to_le_bytes());
    }
    put(VERSION_AT, format!("{} (mini@test) #1\0", generation.release()).as_bytes());
    file.extend(stub);
    if elf {
        let covered = file.len() - CRC_BYTES;
        let mut crc = Crc::new();
        crc.update(&file[..covered]);
        file[covered..].copy_from_slice(&(!crc.sum()).to_le_bytes());
    }
    file
}
