// SPDX-License-Identifier: GPL-2.0-only
//! What observers are told.

use super::*;

#[derive(Default)]
struct Seen(Vec<(u64, Event)>);

impl Observer for Seen {
    fn event(&mut self, event: &Event, view: &View) {
        self.0.push((view.instruction_pointer(), event.clone()));
    }
}

fn observe(setup: &Setup, interest: &Interest, patience: Duration) -> (Outcome, Vec<(u64, Event)>) {
    let engine = UnicornEngine::with_patience(patience);
    let (outcome, seen) = engine.observe(setup, interest, Seen::default).unwrap();
    (outcome, seen.0)
}

#[test]
fn stores_into_watched_memory_are_told_with_their_instruction() {
    // nop; mov %eax, 0x210000; movb $5, 0x210003; movb $6, 0x210004; hlt
    let code =
        b"\x90\xa3\x00\x00\x21\x00\xc6\x05\x03\x00\x21\x00\x05\xc6\x05\x04\x00\x21\x00\x06\xf4";
    let interest =
        Interest { writes: vec![Range::new(0x21_0000, 0x21_0004)], ..Interest::default() };
    let (outcome, seen) = observe(&setup(code), &interest, LONG);
    assert_eq!(outcome.end, End::Halted);
    let write = |address, size, value| Event::Write { address, size, value };
    assert_eq!(seen, [(LOAD + 1, write(0x21_0000, 4, 0)), (LOAD + 6, write(0x21_0003, 1, 5))]);
}

#[test]
fn a_store_that_begins_before_the_watched_memory_is_told_if_it_reaches_into_it() {
    // mov %eax, 0x20ffff; mov %eax, 0x20fffc; mov %eax, 0x20fffd; hlt
    let code = b"\xa3\xff\xff\x20\x00\xa3\xfc\xff\x20\x00\xa3\xfd\xff\x20\x00\xf4";
    let writes = vec![Range::new(0x21_0000, 0x21_0001)];
    let interest = Interest { writes, ..Interest::default() };
    let (_, seen) = observe(&setup(code), &interest, LONG);
    let addresses: Vec<u64> = seen
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Write { address, .. } => Some(*address),
            _ => None,
        })
        .collect();
    assert_eq!(addresses, [0x20_ffff, 0x20_fffd]);
}

#[test]
fn a_run_that_is_observed_once_sees_each_block_once_and_ends_like_any_other() {
    // mov $100, %ecx; 1: dec %ecx; jnz 1b; hlt
    let setup = setup(b"\xb9\x64\x00\x00\x00\x49\x75\xfd\xf4");
    let interest = Interest { blocks: true, ..Interest::default() };
    let engine = UnicornEngine::with_patience(Duration::ZERO);
    let (outcome, seen) = engine.observe_once(&setup, &interest, Seen::default()).unwrap();
    // The first block runs into the loop; the last one is the hlt.
    assert_eq!(seen.0.len(), 1 + 99 + 1);
    let plain = run_setup(&setup);
    assert_eq!((outcome.end, outcome.registers), (plain.end, plain.registers));
}

#[test]
fn blocks_instructions_and_ports_are_told_in_their_order() {
    // mov $0x80, %al; jmp 1f; 1: out %al, $0x70; hlt
    let code = b"\xb0\x80\xeb\x00\xe6\x70\xf4";
    let instructions = vec![Range::sized(LOAD + 4, 1)];
    let interest = Interest { blocks: true, instructions, ..Interest::default() };
    let (_, seen) = observe(&setup(code), &interest, LONG);
    let events: Vec<&Event> = seen.iter().map(|(_, event)| event).collect();
    let port = Event::Port { port: 0x70, size: 1, value: 0x80, written: true };
    assert_eq!(
        events,
        [
            &Event::Block { address: LOAD, size: 4 },
            &Event::Block { address: LOAD + 4, size: 3 },
            &Event::Instruction { address: LOAD + 4, size: 2 },
            &port,
        ]
    );
}

#[test]
fn a_run_that_is_repeated_has_an_observer_of_its_own() {
    // out %al, $0x70; 1: jmp 1b
    let (outcome, seen) =
        observe(&setup(b"\xe6\x70\xeb\xfe"), &Interest::default(), Duration::from_millis(20));
    assert_eq!((outcome.end, seen.len()), (End::Budget { blocks: 10_000 }, 1));
}

#[test]
fn a_store_that_is_watched_is_done_whatever_its_place() {
    // mov $0x12345678, %eax; mov %eax, 0x210ffe; mov %eax, 0x211001; addw %ax, 0x211002; movb $9, 0x210fff;
    // mov %eax, 0x20fffd; hlt
    let code =
        b"\xb8\x78\x56\x34\x12\xa3\xfe\x0f\x21\x00\xa3\x01\x10\x21\x00\x66\x01\x05\x02\x10\x21\x00\
        \xc6\x05\xff\x0f\x21\x00\x09\xa3\xfd\xff\x20\x00\xf4";
    let writes = vec![Range::new(0x21_0000, 0x21_2000)];
    let interest = Interest { writes, ..Interest::default() };
    let (outcome, seen) = observe(&setup(code), &interest, LONG);
    let plain = run_setup(&setup(code));
    assert_eq!((&outcome.end, &outcome.registers), (&End::Halted, &plain.registers));
    let memory = |outcome: &Outcome| outcome.ram.slice(0x20_f000, 0x4000).unwrap().to_vec();
    assert!(memory(&outcome) == memory(&plain));
    let stores: Vec<(u64, usize)> = seen
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Write { address, size, .. } => Some((*address, *size)),
            _ => None,
        })
        .collect();
    let expected = [(0x21_0ffe, 4), (0x21_1001, 4), (0x21_1002, 2), (0x21_0fff, 1), (0x20_fffd, 4)];
    assert_eq!(stores, expected);
}

#[test]
fn watched_code_that_changes_itself_is_seen() {
    // movb $0xf4, 1f; jmp 1f; 1: nop; jmp to 0x300000
    let code = b"\x90\xc6\x05\x0a\x00\x20\x00\xf4\xeb\x00\x90\xb8\x00\x00\x30\x00\xff\xe0";
    let interest = Interest { writes: vec![Range::sized(LOAD + 10, 1)], ..Interest::default() };
    let (outcome, seen) = observe(&setup(code), &interest, LONG);
    assert_eq!((outcome.end, seen.len()), (End::Halted, 1));
}
