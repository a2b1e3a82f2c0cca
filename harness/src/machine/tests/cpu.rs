// SPDX-License-Identifier: GPL-2.0-only
//! What a case decides about the CPU.

use super::*;
use WordSize::{Bits32, Bits64};

const UNDEFINED: End = End::Fault { vector: 6, address: None };
const PROTECTION: End = End::Fault { vector: 13, address: None };

const RCX: usize = 1;
const RSI: usize = 6;

/// `code` on a machine with `word` size that has what `cpu` says.
fn with(word: WordSize, cpu: CpuFeatures, code: &[u8]) -> Setup {
    Setup { word, cpu, ..setup(code) }
}

fn la57() -> CpuFeatures {
    CpuFeatures { la57: true, ..CpuFeatures::default() }
}

fn rdrand(values: &[u64]) -> CpuFeatures {
    CpuFeatures { rdrand: Some(values.to_vec()), ..CpuFeatures::default() }
}

#[test]
fn rdrand_delivers_the_cases_numbers_over_and_over() {
    // rdrand %eax; rdrand %cx; rdrand %edx; hlt
    let code = b"\x0f\xc7\xf0\x66\x0f\xc7\xf1\x0f\xc7\xf2\xf4";
    for word in [Bits32, Bits64] {
        let outcome = run_setup(&with(word, rdrand(&[0x1_2345_6789, 0xabcd_ef01]), code));
        assert_eq!(outcome.end, End::Halted);
        assert_eq!(outcome.registers.general[..3], [0x2345_6789, 0xef01, 0x2345_6789]);
        assert_eq!((outcome.registers.rflags & 0x8d5, outcome.rdrand_reads), (1, 3));
    }
}

#[test]
fn rdrand_fills_64_bit_registers() {
    // rdrand %rax; rdrand %r9; hlt
    let code = b"\x48\x0f\xc7\xf0\x49\x0f\xc7\xf1\xf4";
    let outcome = run_setup(&long(rdrand(&[u64::MAX - 1, 1 << 63]), false, code));
    assert_eq!(outcome.end, End::Halted);
    assert_eq!(outcome.registers.general[0], u64::MAX - 1);
    assert_eq!(outcome.registers.general[9], 1 << 63);
}

#[test]
fn an_exhausted_generator_clears_register_and_carry() {
    // mov $-1, %eax; stc; rdrand %eax; hlt
    let code = b"\xb8\xff\xff\xff\xff\xf9\x0f\xc7\xf0\xf4";
    let outcome = run_setup(&with(Bits32, rdrand(&[]), code));
    assert_eq!((outcome.end, outcome.rdrand_reads), (End::Halted, 1));
    assert_eq!((outcome.registers.general[0], outcome.registers.rflags & 1), (0, 0));
}

#[test]
fn rdrand_without_a_generator_is_undefined() {
    let outcome = run(b"\x0f\xc7\xf0\xf4", LONG);
    assert_eq!((outcome.end, outcome.registers.rip), (UNDEFINED, LOAD));
    // rdseed %eax
    assert_eq!(run_setup(&with(Bits32, rdrand(&[1]), b"\x0f\xc7\xf8\xf4")).end, UNDEFINED);
}

#[test]
fn rdrand_at_the_end_of_ram_ends_where_ram_does() {
    let end = End::OutsideRam { address: LOAD + STUB, access: Access::Fetch };
    for at in [STUB as usize - 3, STUB as usize - 2] {
        // jmp to `at`, where rdrand %eax stands as far as there is room.
        let mut code = vec![0xe9; STUB as usize];
        code[1..5].copy_from_slice(&(at as u32 - 5).to_le_bytes());
        let room = STUB as usize - at;
        code[at..].copy_from_slice(&b"\x0f\xc7\xf0"[..room]);
        let mut setup = with(Bits32, rdrand(&[5]), &code);
        setup.ram = vec![Range::new(0, LOAD + STUB)];
        let outcome = run_setup(&setup);
        assert_eq!((outcome.end, outcome.rdrand_reads), (end.clone(), room as u64 - 2));
    }
}

#[test]
fn rdrand_is_the_same_in_a_counted_run() {
    // 1: rdrand %eax; inc %ecx; jmp 1b
    let setup = with(Bits32, rdrand(&[1, 2, 3]), b"\x0f\xc7\xf0\x41\xeb\xfa");
    let [first, second] = [20, 60].map(|patience| {
        UnicornEngine::with_patience(Duration::from_millis(patience)).run(&setup).unwrap()
    });
    assert_eq!(first.end, End::Budget { blocks: setup.budget });
    assert_eq!(first.registers, second.registers);
    assert_eq!(first.rdrand_reads, second.rdrand_reads);
}

#[test]
fn the_time_stamp_counter_is_read_from_the_case() {
    // rdtsc; mov %eax, %ecx; rdtsc; hlt
    let code = b"\x0f\x31\x89\xc1\x0f\x31\xf4";
    let scripted = CpuFeatures { tsc: Some(vec![7, 8 << 32 | 9]), ..CpuFeatures::default() };
    let outcome = run_setup(&with(Bits32, scripted, code));
    assert_eq!((outcome.registers.general[..3].to_vec(), outcome.tsc_reads), (vec![9, 7, 8], 2));
    let still = run(code, LONG).registers.general;
    assert_eq!(still[0], still[RCX], "time stands still");
}

#[test]
fn an_instruction_that_only_the_engine_has_is_undefined() {
    // rdtscp
    assert_eq!(run(b"\x0f\x01\xf9\xf4", LONG).end, UNDEFINED);
}

#[test]
fn five_levels_can_be_switched_on_only_where_the_cpu_has_them() {
    // mov $0x1020, %eax; mov %eax, %cr4; hlt
    let code = b"\xb8\x20\x10\x00\x00\x0f\x22\xe0\xf4";
    for (word, cpu, end) in [
        (Bits64, la57(), End::Halted),
        (Bits64, CpuFeatures::default(), PROTECTION),
        (Bits32, la57(), PROTECTION),
    ] {
        assert_eq!(run_setup(&with(word, cpu, code)).end, end);
    }
}

#[test]
fn levels_do_not_change_in_long_mode() {
    // mov %cr4, %rax; xor $0x1000, %eax; mov %rax, %cr4; hlt
    let code = b"\x0f\x20\xe0\x35\x00\x10\x00\x00\x0f\x22\xe0\xf4";
    for five_levels in [false, true] {
        assert_eq!(run_setup(&long(la57(), five_levels, code)).end, PROTECTION);
    }
}

#[test]
fn a_machine_can_be_entered_with_five_levels() {
    // mov $0x300000, %eax; jmp *%rax
    let outcome = run_setup(&long(la57(), true, b"\xb8\x00\x00\x30\x00\xff\xe0"));
    assert_eq!((outcome.end, outcome.registers.rip), (End::HandOff, 0x30_0000));
    assert_eq!(outcome.registers.cr4 & CR4_LA57, CR4_LA57);
}

#[test]
fn a_page_of_a_gibibyte_is_a_fault_where_the_cpu_has_none() {
    // mov 0x40000000, %eax; hlt: the page is at physical address 0.
    let code = b"\x8b\x04\x25\x00\x00\x00\x40\xf4";
    let gib_pages = CpuFeatures { gib_pages: true, ..CpuFeatures::default() };
    assert_eq!(run_setup(&long(gib_pages, false, code)).end, End::Halted);
    let fault = End::Fault { vector: 14, address: Some(0x4000_0000) };
    assert_eq!(run_setup(&long(CpuFeatures::default(), false, code)).end, fault);
}

#[test]
fn what_the_protocol_leaves_open_at_32_bits_is_garbage_on_demand() {
    for word in [Bits32, Bits64] {
        let mut setup = with(word, CpuFeatures::default(), b"\xf4");
        assert_eq!(run_setup(&setup).registers.general[..6], [0; 6]);
        setup.entry_state = EntryState { direction_flag: true, registers: Some(11) };
        let registers = run_setup(&setup).registers;
        let [ax, cx, dx, bx, sp, bp, si, di] = registers.general[..8] else { unreachable!() };
        assert!([ax, cx, dx, sp].iter().all(|value| (1..1 << 32).contains(value)));
        assert_eq!([bx, bp, di, si], [0, 0, 0, setup.boot_params]);
        assert_eq!(registers.rflags & 1 << 10, 1 << 10);
    }
}

#[test]
fn what_the_protocol_leaves_open_at_64_bits_is_garbage_on_demand() {
    let mut setup = long(CpuFeatures::default(), false, b"\xf4");
    setup.entry_state = EntryState { direction_flag: true, registers: Some(11) };
    let outcome = run_setup(&setup);
    assert_eq!(outcome.end, End::Halted);
    for (index, value) in outcome.registers.general.into_iter().enumerate() {
        assert_eq!(value == setup.boot_params, index == RSI, "register {index}");
        assert_ne!(value, 0);
    }
    assert_eq!(outcome.registers.rflags & 1 << 10, 1 << 10);
}
