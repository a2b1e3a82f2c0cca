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
