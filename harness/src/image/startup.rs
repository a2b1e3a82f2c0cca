// SPDX-License-Identifier: GPL-2.0-only
//! Constants that stand in the stub's first instructions (arch/x86/boot/compressed/head_32.S, head_64.S).

use memchr::memmem;

/// `startup_32` and `startup_64` lie in the first page of the stub.
const HEAD: usize = 4096;

/// What the start-up code tells. A field is `None` where the code does not look as expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// Size of the stub in memory, bss included, in bytes (`_end` of the stub): the stub copies itself so
    /// that it ends where the kernel's `init_size` ends. 4.7 and later.
    pub end: Option<u64>,
    /// Size of the stub in memory, bss included, as copied byte by byte from its end: i386, 2.6.20 to 2.6.30.
    pub copied: Option<u64>,
    /// Where `startup_32` of a stub up to 2.6.30 for i386 has its first stack.
    pub first_stack: Option<Scratch>,
    /// Offset from the stub's first byte of what `startup_32` leaves in `boot_params.scratch`: the return
    /// address of the call by which it finds out where it runs.
    pub scratch: Option<u64>,
}

/// The four bytes of boot_params that are the stub's stack until it has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// At 0x3c, which nobody used: 2.6.20 and 2.6.21.
    Early,
    /// In the field `scratch`.
    Field,
}

impl Scratch {
    /// The offset in boot_params.
    pub fn offset(self) -> usize {
        match self {
            Scratch::Early => 0x3c,
            Scratch::Field => 0x1e4,
        }
    }

    /// `lea scratch+4(%esi), %esp; call 1f; 1:`.
    fn find(head: &[u8]) -> Option<Scratch> {
        const EARLY: &[u8] = b"\x8d\x66\x40\xe8\x00\x00\x00\x00";
        let found = |code| memmem::find(head, code).is_some();
        match (found(SCRATCH_TO_ESP_AND_CALL), found(EARLY)) {
            (true, _) => Some(Scratch::Field),
            (false, true) => Some(Scratch::Early),
            (false, false) => None,
        }
    }
}

impl Startup {
    /// Reads the start of the protected-mode code.
    pub(super) fn read(protected_mode: &[u8]) -> Startup {
        let head = &protected_mode[..protected_mode.len().min(HEAD)];
        Startup {
            end: end(head),
            copied: copied(head),
            first_stack: Scratch::find(head),
            scratch: scratch(head),
        }
    }
}

/// `add/mov BP_init_size(%esi), %ebx; sub $_end, %ebx`. On i386 the constant counts from the GOT, whose
/// place `lea startup_32@GOTOFF(%edx), %ebp` gives, or, since 5.7, the same into EBX.
fn end(head: &[u8]) -> Option<u64> {
    const INIT_SIZE_TO_EBX: &[u8] = b"\x9e\x60\x02\x00\x00\x81\xeb";
    const GOT_TO_EDX: &[u8] = b"\x5a\x81\xc2";
    const STARTUP_TO_EBP: &[u8] = b"\x8d\xaa";
    const STARTUP_TO_EBX: &[u8] = b"\x8d\x9a";
    let immediate = le32(head, memmem::find(head, INIT_SIZE_TO_EBX)? + INIT_SIZE_TO_EBX.len())?;
    let from = match memmem::find(head, GOT_TO_EDX) {
        Some(at) => {
            let behind = &head[at..];
            let lea = [STARTUP_TO_EBX, STARTUP_TO_EBP]
                .iter()
                .filter_map(|code| memmem::find(behind, code).map(|at| at + code.len()))
                .min()?;
            le32(behind, lea)?.wrapping_neg()
        }
        None => 0,
    };
    Some(u64::from(from.wrapping_add(immediate))).filter(|end| *end != 0)
}

/// `lea _end(%ebp), %esi; lea _end(%ebx), %edi`: source and destination of the copy.
fn copied(head: &[u8]) -> Option<u64> {
    memmem::find_iter(head, b"\x8d\xb5").find_map(|at| {
        let code: &[u8; 12] = head.get(at..)?.first_chunk()?;
        let end = le32(code, 2).filter(|end| le32(code, 8) == Some(*end))?;
        (code[6..8] == *b"\x8d\xbb" && end != 0).then_some(end.into())
    })
}

/// `lea BP_scratch+4(%esi), %esp; call 1f; 1:`.
const SCRATCH_TO_ESP_AND_CALL: &[u8] = b"\x8d\xa6\xe8\x01\x00\x00\xe8\x00\x00\x00\x00";

/// What lies behind that call.
fn scratch(head: &[u8]) -> Option<u64> {
    let at = memmem::find(head, SCRATCH_TO_ESP_AND_CALL)?;
    Some((at + SCRATCH_TO_ESP_AND_CALL.len()) as u64)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_64_bit_stub_is_an_immediate() {
        let code = b"\x90\x03\x9e\x60\x02\x00\x00\x81\xeb\x00\x70\xdc\x00\x0f";
        assert_eq!(Startup::read(code).end, Some(0xdc_7000));
    }

    #[test]
    fn the_end_of_an_i386_stub_counts_from_its_got() {
        let code = b"\x5a\x81\xc2\x11\x22\x33\x00\x8d\xaa\x00\x00\xf0\xff\x03\x9e\x60\x02\x00\x00\x81\xeb\x00\x10\x00\x00";
        assert_eq!(Startup::read(code).end, Some(0x10_1000));
    }

    #[test]
    fn the_end_of_newer_i386_stubs_may_be_their_got() {
        let code = b"\x5a\x81\xc2\xf3\x7f\x4d\x00\x8d\x82\xc0\xd4\xfe\xff\x8d\x9a\x00\x80\xb2\xff\x03\x9e\x60\x02\x00\x00\x81\xeb\x00\x00\x00\x00\x8d\xaa\x00\x00\x00\x00";
        assert_eq!(Startup::read(code).end, Some(0x4d_8000));
    }

    #[test]
    fn the_return_address_lies_behind_the_call() {
        let code = b"\xfc\xfa\x8d\xa6\xe8\x01\x00\x00\xe8\x00\x00\x00\x00\x5d";
        assert_eq!(Startup::read(code).scratch, Some(13));
    }

    #[test]
    fn the_size_of_early_stubs_is_what_they_copy() {
        let code = b"\x56\x8d\xb5\x34\x12\x05\x00\x8d\xbb\x34\x12\x05\x00\xb9";
        assert_eq!(Startup::read(code).copied, Some(0x5_1234));
        let mut other = *code;
        other[9] = 0x35;
        assert_eq!(Startup::read(&other).copied, None);
        assert_eq!(Startup::read(&code[..12]).copied, None);
    }

    #[test]
    fn the_first_stack_moved() {
        let stack = |code: &[u8]| Startup::read(code).first_stack.map(Scratch::offset);
        assert_eq!(stack(b"\x8d\x66\x40\xe8\x00\x00\x00\x00\x5d"), Some(0x3c));
        assert_eq!(stack(b"\x8d\xa6\xe8\x01\x00\x00\xe8\x00\x00\x00\x00\x5d"), Some(0x1e4));
        assert_eq!(stack(b"\x8d\x66\x44\xe8\x00\x00\x00\x00\x5d"), None);
    }

    #[test]
    fn other_code_tells_nothing() {
        for code in [&b""[..], b"\x9e\x60\x02\x00\x00\x81\xeb", &[0x90; 9000]] {
            assert_eq!(Startup::read(code), Startup::default());
        }
    }
}
