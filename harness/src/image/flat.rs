// SPDX-License-Identifier: GPL-2.0-only
//! Kernels that are no ELF file but a flat binary, with their relocation table behind it: i386 before 2.6.26
//! (arch/i386/boot/compressed/Makefile, `vmlinux.bin.all`).
//!
//! Such a file says nothing of itself. Where it was linked follows from the table: its first instructions load a
//! descriptor table by an address that is relocated (arch/i386/kernel/head.S), so the lowest entry lies near the
//! kernel's first byte, which is aligned. The stub knows, too; but it is what has to be judged.

use super::error::{ImageError, first_bytes};
use super::kernel::{Kernel, Segment, WordSize};
use super::stub::Stub;
use super::table::RelocTable;

/// Bytes of one entry of the table, and of the field that it names.
const WORD: usize = 4;
/// Where virtual addresses may start (arch/x86/Kconfig, `PAGE_OFFSET`), the highest first.
const PAGE_OFFSETS: [u32; 5] = [0xc000_0000, 0xb000_0000, 0x8000_0000, 0x7800_0000, 0x4000_0000];

/// Judges a payload by its first bytes, before it is decompressed: code does not begin with nothing.
pub(super) fn check_head(head: &[u8]) -> Result<(), ImageError> {
    if head.iter().all(|byte| *byte == 0) {
        let found = format!("something that starts with {}", first_bytes(head));
        return Err(ImageError::NotElf { found });
    }
    Ok(())
}

/// Takes a decompressed payload apart, whose kernel is aligned to `alignment` bytes.
///
/// # Errors
///
/// No table, or one that does not tell where the kernel was linked.
pub(super) fn parse(payload: Vec<u8>, alignment: u32, stub: &Stub) -> Result<Kernel, ImageError> {
    let words =
        payload.rchunks_exact(WORD).map(|word| word.try_into().map_or(0, u32::from_le_bytes));
    let entries: Vec<u32> = words.take_while(|word| *word != 0).collect();
    let Some(len) = payload.len().checked_sub((entries.len() + 1) * WORD) else {
        return Err(unclear("no zero word ends the relocation table".to_owned()));
    };
    let Some(lowest) = entries.iter().min() else {
        return Err(unclear("its relocation table is empty".to_owned()));
    };
    if !alignment.is_power_of_two() {
        return Err(unclear(format!("kernel_alignment is {alignment:#x}, no power of two")));
    }
    let linked = lowest & !(alignment - 1);
    let inside = |entry: &&u32| ((**entry - linked) as usize).saturating_add(WORD) <= len;
    if entries.iter().filter(inside).count() <= entries.len() / 2 {
        let reach = format!("from {linked:#x} on its {len:#x} bytes hold few fields");
        return Err(unclear(format!("{reach} of its relocation table")));
    }
    let page_offset = PAGE_OFFSETS.into_iter().find(|start| *start < linked);
    let Some(physical) = page_offset.map(|start| linked - start) else {
        return Err(unclear(format!("no kernel is linked for {linked:#x}")));
    };
    let segment = Segment {
        offset: 0,
        vaddr: linked.into(),
        paddr: physical.into(),
        filesz: len as u64,
        memsz: len as u64,
        align: alignment.into(),
        flags: 7,
    };
    let word = WordSize::Bits32;
    let table = RelocTable::parse(&payload, len, false, stub);
    Ok(Kernel {
        word,
        entry: physical.into(),
        segments: vec![segment],
        flat: true,
        elf_len: len,
        table,
        payload,
    })
}

fn unclear(reason: String) -> ImageError {
    ImageError::FlatKernel { reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u32 = 1 << 20;

    fn kernel(len: usize, table: &[u32], alignment: u32) -> Result<Kernel, ImageError> {
        let mut payload = vec![0x90; len];
        payload.extend(table.iter().flat_map(|word| word.to_le_bytes()));
        parse(payload, alignment, &Stub::default())
    }

    fn complaint(len: usize, table: &[u32]) -> String {
        kernel(len, table, MIB).unwrap_err().to_string()
    }

    #[test]
    fn the_table_tells_where_the_kernel_was_linked() {
        for (start, physical) in
            [(0xc010_0000u32, 0x10_0000), (0xc100_0000, 0x100_0000), (0xb020_0000, 0x20_0000)]
        {
            let kernel = kernel(101, &[0, start + 3, start + 97], MIB).unwrap();
            let [segment] = &kernel.segments[..] else { panic!("{:?}", kernel.segments) };
            assert_eq!((segment.vaddr, segment.paddr), (start.into(), physical));
            assert_eq!((segment.filesz, kernel.entry, kernel.elf_len), (101, physical, 101));
            assert_eq!(kernel.table.words, [0, start + 3, start + 97]);
            assert!(kernel.flat);
        }
    }

    #[test]
    fn a_table_that_tells_nothing_is_refused() {
        assert!(complaint(100, &[0]).contains("table is empty"));
        assert!(complaint(4, &[5]).contains("no zero word ends"));
        assert!(complaint(100, &[0, 0x20_0003]).contains("no kernel is linked for 0x200000"));
        let far = [0, 0xc010_0003, 0xd000_0000, 0xd000_0004];
        assert!(complaint(100, &far).contains("its 0x64 bytes hold few fields"));
        assert!(check_head(&[0; 64]).is_err() && check_head(&[0xfc; 64]).is_ok());
    }

    proptest! {
        #[test]
        fn survives_any_payload(payload in prop::collection::vec(0u8..4, 0..200), alignment: u32) {
            let len = payload.len();
            if let Ok(kernel) = parse(payload, alignment, &Stub::default()) {
                prop_assert!(kernel.elf_len < len);
            }
        }
    }
}
