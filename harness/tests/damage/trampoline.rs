// SPDX-License-Identifier: GPL-2.0-only
//! Code in low memory that lies where it must not, runs for no reason, or is left behind.

use relocheck::case::{Case, MemoryEntry};
use relocheck::oracle::Rule;

use crate::bench::{By, CLOUD, Changed, Kernel, LOAD, Misled, Trials, Who, assert_says, plain};
use crate::patch::{EXTRACT, cave, detour, patched, place};

/// `mov %rbp, %cr3`, then the way to the copy that puts low memory back.
const RESTORE: &str = "0f 22 dd 48 8b 0d ?? ?? ?? ?? 48 8b 05 ?? ?? ?? ?? 4c 89 e6";
/// That copy's length: `add $2 * PAGE_SIZE, %ecx; shr $3, %ecx; rep movsq`.
const RESTORED: &str = "81 c1 00 20 00 00 c1 e9 03 f3 48 a5";
/// `mov $BIOS_START_MAX, %edx; cmovae %rdx, %rax`.
const HIGHEST: &str = "ba 00 f0 09 00 48 0f 43 c2";
/// `test %al, %al; je`: whether the memory map has any entry.
const MEMORY_MAP: &str = "84 c0 0f 84 97 01 00 00 0f b6 d0";
/// Where code must lie if all of low memory is free, and if it ends at 0x50000.
const USUAL: &str = "0x9e000";
const LOWER: &str = "0x4f000";

/// Whoever put it there.
const COPIED: Who = Misled(By::Store("rep movs"));

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("trampoline::low_memory_that_is_not_put_back_is_found", not_restored);
    cloud("trampoline::low_memory_of_which_half_is_put_back_is_found", half_restored);
    cloud("trampoline::a_trampoline_at_another_address_is_found", elsewhere);
    cloud("trampoline::a_trampoline_outside_the_memory_map_is_found", outside);
    cloud("trampoline::code_that_runs_in_low_memory_without_need_is_found", needless);
}

/// Entered with four levels on a CPU that can have five.
fn four_of_five(kernel: &Kernel) -> Case {
    let mut case = plain(kernel, LOAD);
    case.cpu.la57 = true;
    case
}

fn assert_left_behind(kernel: &Kernel, file: Vec<u8>, addresses: std::ops::Range<u64>, by: By) {
    let judgement = kernel.damaged(file, &four_of_five(kernel), &[Misled(by)]);
    let place = "low memory where the trampoline was";
    assert_says(&judgement, &[(Rule::Trampoline, place, "as the loader left it", "")]);
    let address = judgement.findings[0].address.unwrap();
    assert!(addresses.contains(&address), "{address:#x}");
}

fn not_restored(kernel: &Kernel) {
    let file = patched(kernel, RESTORE, 3, &[0xeb, 0x3a]);
    // An entry of the page table there.
    let by = By::Store("mov %rax,(%rcx)");
    assert_left_behind(kernel, file, 0x9_d000..0x9_d008, by);
}

fn half_restored(kernel: &Kernel) {
    let file = patched(kernel, RESTORED, 3, &[0x10]);
    assert_left_behind(kernel, file, 0x9_e000..0x9_e008, By::Store("rep movs"));
}

fn assert_code(
    kernel: &Kernel,
    file: Vec<u8>,
    case: &Case,
    (expected, actual): (&str, &str),
    who: Who,
) {
    let judgement = kernel.damaged(file, case, &[who]);
    assert_says(&judgement, &[(Rule::Trampoline, "code in low memory", expected, actual)]);
}

fn elsewhere(kernel: &Kernel) {
    let file = patched(kernel, HIGHEST, 2, &[0xe0]);
    assert_code(kernel, file, &four_of_five(kernel), (USUAL, "0x9d000"), COPIED);
}

/// Before 1b3a62643660 (4.20) the stub asked the BIOS alone.
fn outside(kernel: &Kernel) {
    let mut case = four_of_five(kernel);
    case.memory[0] = MemoryEntry::usable(0, 0x5_0000);
    let file = patched(kernel, MEMORY_MAP, 2, &[0x90, 0xe9]);
    assert_code(kernel, file, &case, (LOWER, USUAL), COPIED);
}

/// Copies 64 bytes of the stub, a comparison of nothing with nothing, over zeroes at 0x9f000, calls
/// it there, and clears them again.
fn needless(kernel: &Kernel) {
    let function = place(kernel, "f0 07 00 00 48 89 d1 f3 a6 0f 95 c0 0f b6 c0 c3") + 4;
    let [a, b, c, d] = (function as i32 - (cave(kernel) as i32 + 7)).to_le_bytes();
    let code = [
        &[0x48, 0x8d, 0x35, a, b, c, d][..], // lea function(%rip), %rsi
        &[0xbf, 0, 0xf0, 9, 0, 0x6a, 16, 0x59], // mov $0x9f000, %edi; push $16; pop %rcx
        &[0xf3, 0xa5, 0x31, 0xd2],           // rep movsl; xor %edx, %edx
        &[0xb8, 0, 0xf0, 9, 0, 0xff, 0xd0],  // mov $0x9f000, %eax; call *%rax
        &[0xbf, 0, 0xf0, 9, 0, 0x6a, 16, 0x59], // mov $0x9f000, %edi; push $16; pop %rcx
        &[0x31, 0xc0, 0xf3, 0xab],           // xor %eax, %eax; rep stosl
    ]
    .concat();
    let (file, _) = detour(kernel, EXTRACT, 6, &code);
    let cleared = Changed(By::Store("rep stos"));
    assert_code(kernel, file, &plain(kernel, LOAD), ("none", "0x9f000"), cleared);
}
