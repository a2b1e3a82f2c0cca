// SPDX-License-Identifier: GPL-2.0-only
//! What CPUID tells a guest of its CPU.

use crate::image::WordSize;

/// What a case decides about the CPU. The default announces none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuFeatures {
    /// Five levels of page tables: CPUID leaf 7, ECX bit 16. Only a 64-bit machine announces it; without
    /// it, setting CR4.LA57 is a general-protection fault.
    pub la57: bool,
    /// Pages of 1 GiB: CPUID leaf 0x80000001, EDX bit 26. Only a 64-bit machine announces it; without it,
    /// such a page is a page fault (a reserved bit is set).
    pub gib_pages: bool,
    /// The random number generator: CPUID leaf 1, ECX bit 30. RDRAND returns these values, over and over,
    /// cut to the operand's size; an empty list fails every time. `None`: there is no generator, and RDRAND
    /// is an invalid instruction.
    pub rdrand: Option<Vec<u64>>,
    /// So many tries fail before each one with which RDRAND returns a value.
    pub rdrand_failures: u8,
    /// The time-stamp counter: CPUID leaf 1, EDX bit 4. RDTSC returns these values, over and over; an empty
    /// list is 0 every time. `None`: not announced; a guest that asks all the same sees a time that stands
    /// still.
    pub tsc: Option<Vec<u64>>,
}

/// EAX, EBX, ECX and EDX of one CPUID leaf (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
///
/// The fixed features are those that arch/x86/boot/cpucheck.c and verify_cpu.S may require, and nothing
/// that the engine emulates differently from a real CPU.
pub fn cpuid(word: WordSize, features: &CpuFeatures, leaf: u32, subleaf: u32) -> [u32; 4] {
    const FPU_PSE_MSR_PAE_CX8: u32 = 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8;
    const PGE_CMOV_FXSR_SSE_SSE2: u32 = 1 << 13 | 1 << 15 | 1 << 24 | 1 << 25 | 1 << 26;
    const TSC: u32 = 4;
    const RDRAND: u32 = 30;
    const LA57: u32 = 16;
    const NX: u32 = 1 << 20;
    const GIB_PAGES: u32 = 26;
    const LONG_MODE: u32 = 29;
    const FAMILY_16: u32 = 0x0010_0f22;

    let bit = |on: bool, position: u32| u32::from(on) << position;
    let long_mode = word == WordSize::Bits64;
    let la57 = long_mode && features.la57;
    let vendor = |max| [max, 0x6874_7541, 0x444d_4163, 0x6974_6e65];
    match (leaf, subleaf) {
        (0, _) => vendor(7),
        (1, _) => {
            let ecx = bit(features.rdrand.is_some(), RDRAND);
            let tsc = bit(features.tsc.is_some(), TSC);
            [FAMILY_16, 0, ecx, FPU_PSE_MSR_PAE_CX8 | PGE_CMOV_FXSR_SSE_SSE2 | tsc]
        }
        (7, 0) => [0, 0, bit(la57, LA57), 0],
        (0x8000_0000, _) => vendor(0x8000_0008),
        (0x8000_0001, _) => {
            let gib_pages = bit(long_mode && features.gib_pages, GIB_PAGES);
            [FAMILY_16, 0, 0, NX | bit(long_mode, LONG_MODE) | gib_pages]
        }
        // Bits of a physical address, and above them those of a virtual one.
        (0x8000_0008, _) if la57 => [52 | 57 << 8, 0, 0, 0],
        (0x8000_0008, _) => [48 | 48 << 8, 0, 0, 0],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use WordSize::{Bits32, Bits64};

    fn everything() -> CpuFeatures {
        CpuFeatures {
            la57: true,
            gib_pages: true,
            rdrand: Some(vec![]),
            tsc: Some(vec![]),
            ..CpuFeatures::default()
        }
    }

    #[test]
    fn by_default_no_source_of_entropy_is_announced() {
        for word in [Bits32, Bits64] {
            let [_, _, ecx, edx] = cpuid(word, &CpuFeatures::default(), 1, 0);
            assert_eq!((ecx >> 30 & 1, edx >> 4 & 1), (0, 0));
            let [_, _, ecx, edx] = cpuid(word, &everything(), 1, 0);
            assert_eq!((ecx >> 30 & 1, edx >> 4 & 1), (1, 1));
        }
    }

    #[test]
    fn only_a_64_bit_machine_announces_long_mode_and_its_paging() {
        let bits = |word, features: &CpuFeatures| {
            let extended = cpuid(word, features, 0x8000_0001, 0)[3];
            [extended >> 29 & 1, extended >> 26 & 1, cpuid(word, features, 7, 0)[2] >> 16 & 1]
        };
        assert_eq!(bits(Bits64, &everything()), [1, 1, 1]);
        assert_eq!(bits(Bits64, &CpuFeatures::default()), [1, 0, 0]);
        assert_eq!(bits(Bits32, &everything()), [0, 0, 0]);
        assert_eq!(cpuid(Bits64, &everything(), 7, 1), [0; 4]);
    }
}
