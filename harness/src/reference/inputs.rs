// SPDX-License-Identifier: GPL-2.0-only
//! What the model of the stub is told of one run: memory as the loader left it, and the CPU.

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params as params;

/// Physical memory as the loader left it.
pub trait Memory {
    /// Fills `bytes` from `address` up; `false` if any of it is no RAM, and then `bytes` may hold anything.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;
}

/// What the CPU announces and answers. The values of a list are used over and over, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu<'a> {
    /// CPUID leaf 7 announces five levels of page tables.
    pub la57: bool,
    /// What RDRAND answers, if CPUID announces it; with an empty list every try fails.
    pub rdrand: Option<&'a [u64]>,
    /// So many tries fail before each one with which RDRAND answers.
    pub rdrand_failures: u8,
    /// What RDTSC answers, if CPUID announces it; 0 if the list is empty.
    pub tsc: Option<&'a [u64]>,
    /// Counter 0 of the programmable interval timer; 0 if the list is empty.
    pub timer: &'a [u16],
}

/// One loaded image, as its stub finds it.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Physical memory.
    pub memory: &'a dyn Memory,
    /// The CPU.
    pub cpu: Cpu<'a>,
    /// Physical address of the stub's first byte.
    pub load: u64,
    /// Whether the stub is entered at 32 bits.
    pub entered_at_32_bits: bool,
    /// Whether CR4.LA57 is set at the entry.
    pub entered_with_five_levels: bool,
    /// Physical address of boot_params.
    pub boot_params: u64,
}

/// The fields of boot_params by which the stub decides where to move (arch/x86/boot/compressed/head_64.S,
/// head_32.S).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// `kernel_alignment`, in bytes.
    pub kernel_alignment: u32,
    /// `init_size`, in bytes.
    pub init_size: u32,
}

impl Passed {
    /// Reads the fields of the boot_params at `boot_params`; `None` if there is no RAM.
    pub fn read(memory: &dyn Memory, boot_params: u64) -> Option<Passed> {
        let field = |offset: usize| {
            let mut bytes = [0; 4];
            let address = boot_params.checked_add(offset as u64)?;
            memory.read(address, &mut bytes).then(|| u32::from_le_bytes(bytes))
        };
        Some(Passed {
            kernel_alignment: field(offset_of!(params, hdr.kernel_alignment))?,
            init_size: field(offset_of!(params, hdr.init_size))?,
        })
    }
}
