// SPDX-License-Identifier: GPL-2.0-only
//! Patches of the stub's machine code, told by byte patterns.

use relocheck::mutate::rebuild::write_stub;

use crate::bench::Kernel;
use crate::common::rebuild::{find_in_stub, patch_stub, pattern};

/// The end of x86_64's `.Lrelocated`: `mov %r15, %rsi; jmp *%rax`, then `hlt; jmp` to it. The page fault handler is gone.
pub const HAND_OFF: &str = "4c 89 fe ff e0 f4 eb fd";
/// Before x86_64's call of `extract_kernel()`: `mov %r15, %rdi; mov %rbp, %rsi; call`. RBP is the output address.
pub const EXTRACT: &str = "4c 89 ff 48 89 ee e8";
/// Code goes where the stub has a text that these cases never need.
const CAVE: &str = "Destination virtual address is beyond the kernel mapping area";

/// The image with `replacement` at `offset` of the only place where `wanted` matches.
pub fn patched(kernel: &Kernel, wanted: &str, offset: usize, replacement: &[u8]) -> Vec<u8> {
    patch_stub(&kernel.image, &pattern(wanted), offset, replacement)
        .unwrap_or_else(|error| panic!("{wanted}: {error}"))
}

/// The image without the `len` bytes (whole instructions) at `offset` of the only place where
/// `wanted` matches.
pub fn without(kernel: &Kernel, wanted: &str, offset: usize, len: usize) -> Vec<u8> {
    patched(kernel, wanted, offset, &vec![NOP; len])
}

/// Where `wanted` matches, as an offset from the stub's first byte.
pub fn place(kernel: &Kernel, wanted: &str) -> usize {
    find_in_stub(&kernel.image, &pattern(wanted))
        .unwrap_or_else(|error| panic!("{wanted}: {error}"))
}

/// The image with `code` run before the `taken` bytes (whole instructions, five bytes at least, not relative to their
/// place) that `wanted` starts with. Also returns the offset of `code` from the stub's first byte.
pub fn detour(kernel: &Kernel, wanted: &str, taken: usize, code: &[u8]) -> (Vec<u8>, usize) {
    let site = place(kernel, wanted);
    let moved = kernel.image.protected_mode()[site..site + taken].to_vec();
    let (mut file, cave) = replaced(kernel, site, taken, &[code, &moved].concat());
    let nops = vec![NOP; taken - JUMP];
    write_stub(&kernel.image, &mut file, site + JUMP, &nops);
    (file, cave)
}

/// The image with `code` run instead of the `taken` bytes (five at least) at `offset` of the place where `wanted` matches.
pub fn instead(kernel: &Kernel, wanted: &str, offset: usize, taken: usize, code: &[u8]) -> Vec<u8> {
    replaced(kernel, place(kernel, wanted) + offset, taken, code).0
}

/// Length of a near jump.
const JUMP: usize = 5;
const NOP: u8 = 0x90;

/// Where the code of a detour goes, as an offset from the stub's first byte.
pub fn cave(kernel: &Kernel) -> usize {
    let text: Vec<Option<u8>> = CAVE.bytes().map(Some).collect();
    find_in_stub(&kernel.image, &text).expect("the stub has the text for the cave")
}

fn replaced(kernel: &Kernel, site: usize, taken: usize, code: &[u8]) -> (Vec<u8>, usize) {
    let image = &kernel.image;
    let cave = cave(kernel);
    let mut file = image.file().to_vec();
    write_stub(image, &mut file, site, &jump(site, cave));
    let back = jump(cave + code.len(), site + taken);
    let code = [code, &back].concat();
    assert!(code.len() <= CAVE.len());
    write_stub(image, &mut file, cave, &code);
    (file, cave)
}

fn jump(from: usize, to: usize) -> [u8; JUMP] {
    let distance = (to as i32 - (from + JUMP) as i32).to_le_bytes();
    [0xe9, distance[0], distance[1], distance[2], distance[3]]
}
