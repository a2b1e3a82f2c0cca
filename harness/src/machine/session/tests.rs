// SPDX-License-Identifier: GPL-2.0-only
//! Sessions with some bytes of guest code, held against plain runs.

use super::super::testing::{LOAD, setup};
use super::super::tests::{LONG, long};
use super::super::{CpuFeatures, Engine, Placed};
use super::*;

const DATA: u64 = 0x21_0000;

/// mov $DATA, %edi; mov $5, %ecx; 1: mov %ecx, (%edi); add $4, %edi; dec %ecx; jnz 1b; mov $3, %ecx; xor %eax, %eax;
/// mov $DATA + 0x100, %edi; rep stosl; hlt
const LOOP: &[u8] = b"\xbf\x00\x00\x21\x00\xb9\x05\x00\x00\x00\
    \x89\x0f\x83\xc7\x04\x49\x75\xf8\
    \xb9\x03\x00\x00\x00\x31\xc0\xbf\x00\x01\x21\x00\xf3\xab\xf4";
const STORE: u64 = LOAD + 10;
const REP: u64 = LOAD + 30;

fn never() -> bool {
    false
}

fn engine() -> UnicornEngine {
    UnicornEngine::with_patience(LONG)
}

fn word(session: &Session, address: u64) -> u32 {
    let mut bytes = [0; 4];
    session.read(address, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// Everything that can be seen of a machine, but for how much it did.
fn state(session: &Session) -> (Registers, Vec<u8>) {
    let mut bytes = vec![0; 0x200];
    session.read(DATA, &mut bytes).unwrap();
    (session.registers().unwrap(), bytes)
}

#[test]
fn a_session_ends_where_a_run_ends() {
    let (engine, setup) = (engine(), setup(LOOP));
    let outcome = engine.run(&setup).unwrap();
    let mut whole = Session::open(&engine, &setup).unwrap();
    assert_eq!(whole.go_on(u64::MAX).unwrap(), Pause::End(End::Halted));
    assert_eq!(whole.registers().unwrap(), outcome.registers);
    assert_eq!(whole.ram().written_pages(), outcome.ram.written_pages());

    let mut steps = Session::open(&engine, &setup).unwrap();
    let mut count = 0;
    while steps.step().unwrap() == Pause::Limit {
        count += 1;
        assert_eq!(steps.position(), count);
    }
    assert_eq!((steps.end(), steps.position()), (Some(&End::Halted), whole.position()));
    assert_eq!(state(&steps), state(&whole));
}

#[test]
fn every_position_is_the_same_by_steps_from_blocks_and_backwards() {
    let (engine, setup) = (engine(), setup(LOOP));
    let mut steps = Session::open(&engine, &setup).unwrap();
    let mut states = vec![state(&steps)];
    while steps.step().unwrap() == Pause::Limit {
        states.push(state(&steps));
    }
    for (position, expected) in states.iter().enumerate().rev() {
        steps.seek(position as u64, &mut never).unwrap();
        assert_eq!((steps.position(), &state(&steps)), (position as u64, expected));
        let mut fresh = Session::open(&engine, &setup).unwrap();
        fresh.seek(position as u64, &mut never).unwrap();
        assert_eq!(&state(&fresh), expected, "{position}");
    }
    assert_eq!(steps.step_back().unwrap(), Pause::Start);
}

#[test]
fn breakpoints_are_met_in_the_middle_of_a_block_and_going_back() {
    let engine = engine();
    let mut session = Session::open(&engine, &setup(LOOP)).unwrap();
    session.set_breakpoint(STORE, true).unwrap();
    for position in [2, 6, 10, 14, 18] {
        assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::Break);
        assert_eq!((session.position(), session.registers().unwrap().rip), (position, STORE));
        session.step().unwrap();
    }
    assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(End::Halted));
    for position in [18, 14, 10, 6, 2] {
        assert_eq!(session.go_back(&mut never).unwrap(), Pause::Break);
        assert_eq!((session.position(), session.registers().unwrap().rip), (position, STORE));
    }
    assert_eq!(session.go_back(&mut never).unwrap(), Pause::Start);
    assert_eq!(session.position(), 0);
    session.set_breakpoint(STORE, false).unwrap();
    assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(End::Halted));
}

#[test]
fn each_round_of_a_string_instruction_is_a_position() {
    let engine = engine();
    let mut session = Session::open(&engine, &setup(LOOP)).unwrap();
    session.set_breakpoint(REP, true).unwrap();
    let mut met = Vec::new();
    while session.go_on(u64::MAX).unwrap() == Pause::Break {
        met.push((session.position(), session.registers().unwrap().general[1]));
        session.step().unwrap();
    }
    let counts: Vec<u64> = met.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [3, 2, 1, 0]);
    for expected in met.iter().rev() {
        assert_eq!(session.go_back(&mut never).unwrap(), Pause::Break);
        assert_eq!((session.position(), session.registers().unwrap().general[1]), *expected);
    }
}

#[test]
fn watched_stores_are_told_after_them_and_going_back_before_them() {
    let engine = engine();
    let mut session = Session::open(&engine, &setup(LOOP)).unwrap();
    let fill = word(&session, DATA + 8);
    session.set_watchpoint(DATA + 9, 1, WatchKind::Write, true).unwrap();
    let watch = Pause::Watch { address: DATA + 9, kind: WatchKind::Write };
    assert_eq!(session.go_on(u64::MAX).unwrap(), watch);
    assert_eq!((session.position(), word(&session, DATA + 8)), (11, 3));
    assert_eq!(session.registers().unwrap().rip, STORE + 2);
    assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(End::Halted));
    assert_eq!(session.go_back(&mut never).unwrap(), watch);
    assert_eq!((session.position(), word(&session, DATA + 8)), (10, fill));
    assert_eq!(session.step().unwrap(), watch);
    assert_eq!(session.go_back(&mut never).unwrap(), watch);
    assert_eq!(session.go_back(&mut never).unwrap(), Pause::Start);
}

#[test]
fn loads_are_told_by_the_watchpoints_for_them() {
    // mov %eax, DATA; mov DATA, %ebx; cmpl $0, LOAD + 0x10; hlt
    let code = b"\xa3\x00\x00\x21\x00\x8b\x1d\x00\x00\x21\x00\x83\x3d\x10\x00\x20\x00\x00\xf4";
    let engine = engine();
    let met = |address, kind| {
        let mut session = Session::open(&engine, &setup(code)).unwrap();
        session.set_watchpoint(address, 4, kind, true).unwrap();
        let mut met = Vec::new();
        while session.go_on(u64::MAX).unwrap() == (Pause::Watch { address, kind }) {
            met.push(session.position());
        }
        assert_eq!(session.end(), Some(&End::Halted));
        met
    };
    assert_eq!(met(DATA, WatchKind::Write), [1]);
    assert_eq!(met(DATA, WatchKind::Read), [2]);
    assert_eq!(met(DATA, WatchKind::Access), [1, 2]);
    // On the page that code runs from.
    assert_eq!(met(LOAD + 0x10, WatchKind::Read), [3]);
    assert_eq!(met(LOAD + 0x14, WatchKind::Access), [] as [u64; 0]);
}

#[test]
fn what_was_changed_is_changed_again_at_the_same_place() {
    let engine = engine();
    let mut session = Session::open(&engine, &setup(LOOP)).unwrap();
    session.seek(6, &mut never).unwrap();
    assert!(!session.is_edited());
    session.set_register(Register::General(1), 1).unwrap();
    session.write(DATA, &[0xaa]).unwrap();
    assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(End::Halted));
    let end = session.position();
    let changed = state(&session);
    assert_eq!((changed.1[0], word(&session, DATA + 4)), (0xaa, 1));
    session.seek(3, &mut never).unwrap();
    assert_eq!(word(&session, DATA), 5);
    session.go_on(u64::MAX).unwrap();
    assert_eq!((session.position(), state(&session)), (end, changed));
    // Another change before makes it another run.
    session.seek(3, &mut never).unwrap();
    session.set_register(Register::General(1), 9).unwrap();
    session.go_on(u64::MAX).unwrap();
    assert_ne!(session.position(), end);
    assert_eq!(word(&session, DATA), 5);
    assert!(session.write(0x7000_0000, &[1]).is_err());
}

#[test]
fn a_budget_ends_a_session_where_it_ends_a_run() {
    // 1: inc %eax; jmp 1b
    let (engine, setup) = (engine(), setup(b"\x40\xeb\xfd"));
    let budget = UnicornEngine::with_patience(std::time::Duration::ZERO).run(&setup).unwrap();
    for steps in [0, 100] {
        let mut session = Session::open(&engine, &setup).unwrap();
        for _ in 0..steps {
            session.seek(session.position() + 7, &mut never).unwrap();
        }
        assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(End::Budget { blocks: 10_000 }));
        assert_eq!(session.registers().unwrap(), budget.registers);
        let end = session.position();
        session.step_back().unwrap();
        assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(End::Budget { blocks: 10_000 }));
        assert_eq!(session.position(), end);
    }
}

#[test]
fn snapshots_stay_within_bounds() {
    // 1: mov %eax, DATA(%ebx); lea 0x1000(%ebx), %ebx; and $0xfffff, %ebx; inc %eax; jmp 1b
    let code =
        b"\x89\x83\x00\x00\x21\x00\x8d\x9b\x00\x10\x00\x00\x81\xe3\xff\xff\x0f\x00\x40\xeb\xeb";
    let engine = engine();
    let mut setup = setup(code);
    setup.budget = 4 << 20;
    let mut session = Session::with_memory(&engine, &setup, 3 << 20).unwrap();
    while session.go_on(100_000).unwrap() == Pause::Limit {
        session.snapshots.take(&session.machine, session.track().position).unwrap();
    }
    let positions = session.snapshots.positions();
    assert!(positions.len() < 6 && positions[0] == 0, "{positions:?}");
    let middle = session.position() / 2;
    session.seek(middle, &mut never).unwrap();
    let eax = session.registers().unwrap().general[0];
    assert_eq!((session.position(), eax), (middle, middle / 5 + u64::from(middle % 5 == 4)));
}

#[test]
fn a_page_fault_is_a_position_of_its_own() {
    // mov 0x400000, %eax in a page that is not mapped, and no handler
    let code = b"\x90\x8b\x04\x25\x00\x00\x40\x00\xf4";
    let engine = engine();
    let mut setup = long(CpuFeatures::default(), false, code);
    // The entry for the third 2 MiB: not present.
    let entry = Placed { address: 0x4_2010, bytes: vec![0; 8].into(), what: "page table" };
    setup.placed.push(entry);
    let mut session = Session::open(&engine, &setup).unwrap();
    let fault = End::Fault { vector: 14, address: Some(0x40_0000) };
    assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(fault.clone()));
    assert_eq!((session.position(), session.registers().unwrap().rip), (1, LOAD + 1));
    assert_eq!(session.faults().len(), 1);
    session.step_back().unwrap();
    assert!(session.faults().is_empty());
    assert_eq!(session.go_on(u64::MAX).unwrap(), Pause::End(fault));
}
