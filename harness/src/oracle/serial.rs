// SPDX-License-Identifier: GPL-2.0-only
//! A serial port that the command line asks for is set up, in the one way in which a stub does it
//! (`early_serial_init()`, arch/x86/boot/early_serial_console.c).

use std::collections::BTreeMap;

use super::scene::Scene;
use super::{Finding, Rule};
use crate::case::Case;
use crate::machine::{End, PortUse};
use crate::reference::SerialPort;

/// Spellings that the oldest stubs know, too.
const OLD: [&str; 3] = ["earlyprintk=ttyS0", "earlyprintk=ttyS1", "earlyprintk=serial"];

const LINE_STATUS: u16 = 5;
/// How often a stub asks a port that is never ready, for each byte (`serial_putchar()`, arch/x86/boot/compressed/misc.c).
const PATIENCE: u64 = 0xffff;

/// Judges a stub that came to an end by itself.
pub fn judge(scene: &Scene) -> Option<Finding> {
    let outcome = scene.outcome;
    let port = in_use(scene)?;
    let each = if scene.case.devices.serial_never_ready { PATIENCE } else { 1 };
    let (expected, actual) = wrong(port, &outcome.ports)
        .or_else(|| asks_often(port.base, each, &outcome.ports, &outcome.serial))?;
    Some(Finding::new(Rule::Ports, format!("serial port {:#x}", port.base), expected, actual))
}

/// The port that a stub which came to an end by itself must have set up.
pub fn in_use(scene: &Scene) -> Option<SerialPort> {
    let Scene { subject, case, outcome, .. } = scene;
    // One that stopped without a word may have done so before it came to its console.
    let ended = match outcome.end {
        End::HandOff => true,
        End::Halted => !outcome.serial.is_empty(),
        _ => false,
    };
    let known = subject.image.vintage().is_none() || OLD.iter().any(|word| case.has_word(word));
    asked(case).filter(|_| ended && known && subject.image.stub().serial && stands(scene))
}

/// Whether the command line is what the loader put there, where boot_params say. One that was lost or overwritten on the way
/// is another rule's matter, and asks for nothing.
fn stands(scene: &Scene) -> bool {
    const CMD_LINE_PTR: u64 = 0x228;
    const EXT_CMD_LINE_PTR: u64 = 0xc8;
    let Scene { case, setup, outcome, .. } = scene;
    let line = case.command_line.as_deref().unwrap_or_default().as_bytes();
    let half = |field: u64| {
        let bytes = outcome.ram.slice(setup.boot_params.checked_add(field)?, 4)?;
        Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
    };
    let address =
        half(CMD_LINE_PTR).zip(half(EXT_CMD_LINE_PTR)).map(|(low, high)| low | high << 32);
    address == Some(case.places.command_line)
        && outcome.ram.slice(case.places.command_line, line.len()) == Some(line)
}

/// The port that the command line asks for.
pub fn asked(case: &Case) -> Option<SerialPort> {
    SerialPort::asked(case.command_line.as_deref()?.as_bytes(), case.devices.serial_divisor)
}

/// A register: its offset from the base, what is done with it, how often it is written, and with what; the order counts.
type Register = (u16, &'static str, u64, Vec<u32>);

fn registers(port: SerialPort) -> [Register; 4] {
    let [_, upper] = port.divisor.to_le_bytes();
    let mut halves = vec![0, upper.into()];
    halves.dedup();
    // A port that is asked for its divisor has its line control back afterwards, which was 0.
    let (writes, control) =
        if port.probed { (5, vec![0x80, 0, 0x03, 0x83]) } else { (3, vec![0x03, 0x83]) };
    [
        (1, "interrupts off, upper half of the divisor", 2, halves),
        (2, "no FIFO", 1, vec![0]),
        (3, "8 bits, the divisor, 8 bits", writes, control),
        (4, "ready", 1, vec![0x03]),
    ]
}

fn wrong(serial: SerialPort, ports: &BTreeMap<u16, PortUse>) -> Option<(String, String)> {
    let unused = PortUse::default();
    let used = |register| ports.get(&(serial.base + register)).unwrap_or(&unused);
    let values = |values: &[u32]| {
        values.iter().map(|value| format!("{value:#x}")).collect::<Vec<_>>().join(" ")
    };
    for (register, what, times, known) in registers(serial) {
        let port = used(register);
        if port.writes != times || port.values != known {
            let expected =
                format!("{what}: register {register} written {times} times: {}", values(&known));
            let actual = format!("{} times: {}", port.writes, values(&port.values));
            return Some((expected, actual.trim_end_matches(": ").to_owned()));
        }
    }
    for register in [0, 1] {
        let (due, reads) = (u64::from(serial.probed), used(register).reads);
        if reads != due {
            let expected = format!("half {register} of the divisor read {due} times");
            return Some((expected, format!("{reads} times")));
        }
    }
    let (divisor, low) = (used(0), u32::from(serial.divisor as u8));
    (divisor.values != [low]).then(|| {
        let expected = format!("a divisor of {:#x}, whose lower half is {low:#x}", serial.divisor);
        (expected, format!("{:?}", values(&divisor.values)))
    })
}

/// Before each byte the stub asks whether the port is ready, `each` time as often as it has patience for one that never is. One
/// that always is need not be asked again and again.
fn asks_often(
    base: u16,
    each: u64,
    ports: &BTreeMap<u16, PortUse>,
    sent: &[u8],
) -> Option<(String, String)> {
    let asked = ports.get(&(base + LINE_STATUS)).map_or(0, |port| port.reads);
    let due = each * sent.len() as u64;
    let most = if each == 1 { 2 * due + 1 } else { due };
    let text = |times: u64| format!("asked {times} times whether it is ready");
    (!(due..=most).contains(&asked)).then(|| (text(due), text(asked)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, image};
    use super::*;
    use crate::image::WordSize;

    const FIRST: SerialPort = SerialPort { base: 0x3f8, divisor: 12, probed: false };

    fn port_use(writes: u64, values: &[u32]) -> PortUse {
        PortUse { writes, sizes: 1, values: values.to_vec(), ..PortUse::default() }
    }

    fn good() -> BTreeMap<u16, PortUse> {
        BTreeMap::from([
            (0x3f8, port_use(9, &[12])),
            (0x3f9, port_use(2, &[0])),
            (0x3fa, port_use(1, &[0])),
            (0x3fb, PortUse { reads: 1, ..port_use(3, &[3, 0x83]) }),
            (0x3fc, port_use(1, &[3])),
        ])
    }

    #[test]
    fn a_byte_is_sent_when_the_port_is_ready() {
        let asked = |reads| BTreeMap::from([(0x3fd, PortUse { reads, ..PortUse::default() })]);
        assert_eq!(asks_often(0x3f8, 1, &asked(2), b"ab"), None);
        assert_eq!(asks_often(0x3f8, 1, &BTreeMap::new(), b""), None);
        assert!(asks_often(0x3f8, 1, &asked(1), b"ab").is_some());
        assert_eq!(asks_often(0x3f8, 1, &asked(5), b"ab"), None);
        assert!(asks_often(0x3f8, 1, &asked(6), b"ab").is_some());
        assert_eq!(asks_often(0x3f8, 1, &asked(9), b"abcd"), None);
        assert!(asks_often(0x3f8, 1, &asked(10), b"abcd").is_some());
        let patient = |reads| asks_often(0x3f8, PATIENCE, &asked(reads), b"ab").is_none();
        assert!(patient(0x1_fffe) && !patient(0x1_fffd) && !patient(0x1_ffff));
    }

    #[test]
    fn each_step_of_the_set_up_is_missed() {
        assert_eq!(wrong(FIRST, &good()), None);
        for (at, other) in [
            (0x3f8, port_use(1, &[13])),
            (0x3f9, port_use(1, &[0])),
            (0x3fa, port_use(0, &[])),
            (0x3fb, port_use(3, &[0x83, 3])),
            (0x3fc, port_use(1, &[2])),
        ] {
            let mut ports = good();
            ports.insert(at, other);
            assert!(wrong(FIRST, &ports).is_some(), "{at:#x}");
        }
        assert!(wrong(FIRST, &BTreeMap::new()).unwrap().1.starts_with("0 times"));
    }

    /// A stub that printed and was not asked to set anything up, or was and did not.
    fn places(words: &str, line: &str, change: impl FnOnce(&mut Run)) -> Vec<String> {
        let case = Case { command_line: Some(line.into()), ..Case::default() };
        let mut run = Run::of(image(WordSize::Bits64, "6.1.192", words), case);
        change(&mut run);
        run.found(Rule::Ports).into_iter().map(|found| found.0).collect()
    }

    fn set_up(run: &mut Run) {
        run.outcome.ports = good();
        let reads = run.outcome.serial.len() as u64;
        run.outcome.ports.insert(0x3fd, PortUse { reads, sizes: 1, ..PortUse::default() });
    }

    const KNOWS: &str = "nokaslr\0earlyprintk\0";
    const ASKS: &str = "nokaslr earlyprintk=ttyS0";
    const MISSED: [&str; 1] = ["serial port 0x3f8"];
    const NONE: [&str; 0] = [];

    #[test]
    fn a_port_that_is_asked_for_is_set_up() {
        assert_eq!(places(KNOWS, ASKS, |_| ()), MISSED);
        assert_eq!(places(KNOWS, ASKS, set_up), NONE);
        assert_eq!(places("nokaslr\0", ASKS, |_| ()), NONE, "the stub knows no serial port");
        assert_eq!(places(KNOWS, "nokaslr", |_| ()), NONE);
        assert_eq!(places(KNOWS, "nokaslr earlyprintk=ttyS1", |_| ()), ["serial port 0x2f8"]);
    }

    #[test]
    fn only_a_stub_that_came_to_its_console_is_judged() {
        let halted = |text: &'static [u8]| {
            places(KNOWS, ASKS, |run| {
                run.outcome.end = End::Halted;
                run.outcome.serial = text.to_vec();
            })
        };
        assert_eq!(halted(b""), NONE);
        assert_eq!(halted(b"nokaslr"), MISSED);
        assert_eq!(places(KNOWS, ASKS, |run| run.outcome.end = End::Budget { blocks: 1 }), NONE);
    }

    #[test]
    fn a_command_line_that_was_lost_asks_for_nothing() {
        let flip = |address: u64| move |run: &mut Run| run.flip(address);
        assert_eq!(places(KNOWS, ASKS, flip(0x2_0000)), NONE);
        assert_eq!(places(KNOWS, ASKS, flip(0x2_0000 + ASKS.len() as u64 - 1)), NONE);
        assert_eq!(places(KNOWS, ASKS, flip(0x1_0228)), NONE, "cmd_line_ptr");
        assert_eq!(places(KNOWS, ASKS, flip(0x1_00c8)), NONE, "ext_cmd_line_ptr");
        assert_eq!(places(KNOWS, ASKS, flip(0x1_00c4)), MISSED);
    }

    #[test]
    fn the_divisor_and_how_it_was_found_out_count() {
        let port = SerialPort { base: 0x3f8, divisor: 0x3e9, probed: true };
        assert!(wrong(port, &good()).is_some());
        let mut ports = good();
        ports.insert(0x3f8, PortUse { reads: 1, ..port_use(9, &[0xe9]) });
        ports.insert(0x3f9, PortUse { reads: 1, ..port_use(2, &[0, 3]) });
        ports.insert(0x3fb, PortUse { reads: 2, ..port_use(5, &[0x80, 0, 3, 0x83]) });
        assert_eq!(wrong(port, &ports), None);
        for register in [0x3f8, 0x3f9] {
            let mut blind = ports.clone();
            blind.get_mut(&register).unwrap().reads = 0;
            assert!(wrong(port, &blind).is_some(), "{register:#x}");
        }
        assert!(wrong(SerialPort { probed: false, ..port }, &ports).is_some());
        assert!(wrong(SerialPort { divisor: 0x3e8, ..port }, &ports).is_some());
        assert!(wrong(SerialPort { divisor: 0x4e9, ..port }, &ports).is_some());
    }

    #[test]
    fn an_old_stub_is_held_to_what_it_knows() {
        let asks = |line: &str| {
            asked(&Case { command_line: Some(line.into()), ..Case::default() }).map(|p| p.base)
        };
        assert_eq!(OLD.map(asks), [Some(0x3f8), Some(0x2f8), Some(0x3f8)]);
        assert_eq!(asked(&Case { command_line: None, ..Case::default() }), None);
    }
}
