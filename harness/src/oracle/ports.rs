// SPDX-License-Identifier: GPL-2.0-only
//! The stub uses only the ports that it has a reason for, and sends them only what they understand: the
//! timer for entropy, a serial port that the command line asks for, the cursor of a text screen.

use super::scene::Scene;
use super::{Finding, Rule, Subject, serial};
use crate::case::Case;
use crate::machine::PortUse;

/// Counter 0 of the timer and its control port, and the command that reads the counter back
/// (arch/x86/lib/kaslr.c).
const TIMER_COUNTER: u16 = 0x40;
const TIMER_CONTROL: u16 = 0x43;
const TIMER_READ_BACK: u32 = 0xc2;
/// The registers of the display's controller that the cursor has (arch/x86/boot/compressed/misc.c).
const CURSOR: [u32; 2] = [14, 15];
/// The serial ports that have names (arch/x86/boot/early_serial_console.c).
const SERIAL: [u16; 2] = [0x3f8, 0x2f8];

/// What a stub may do with one port.
#[derive(Debug, Default)]
struct Allowed {
    reads: bool,
    /// Nothing is to be written, one of these, or anything.
    writes: Writes,
}

#[derive(Debug, Default)]
enum Writes {
    #[default]
    None,
    OneOf(&'static [u32]),
    Any,
}

/// Judges every port that was used.
pub fn judge(scene: &Scene) -> Vec<Finding> {
    let Scene { subject, case, outcome, .. } = scene;
    outcome
        .ports
        .iter()
        .filter_map(|(port, used)| {
            let (expected, actual) = wrong(&allowed(subject, case, *port), used)?;
            Some(Finding::new(Rule::Ports, format!("port {port:#x}"), expected, actual))
        })
        .collect()
}

fn allowed(subject: &Subject, case: &Case, port: u16) -> Allowed {
    let read_only = Allowed { reads: true, writes: Writes::None };
    let write = |values| Allowed { reads: false, writes: Writes::OneOf(values) };
    let display = case.devices.screen_port();
    match port {
        TIMER_COUNTER if needs_timer(subject, case) => read_only,
        TIMER_CONTROL if needs_timer(subject, case) => write(&[TIMER_READ_BACK]),
        _ if case.screen && port == display => write(&CURSOR),
        _ if case.screen && port == display + 1 => Allowed { reads: false, writes: Writes::Any },
        _ => serial_port(case, port).unwrap_or_default(),
    }
}

/// The timer is the last resort: for a stub that needs entropy on a CPU that has none.
fn needs_timer(subject: &Subject, case: &Case) -> bool {
    // A stub gives up after ten tries.
    let rdrand = case.cpu.rdrand.as_ref().is_some_and(|values| !values.is_empty())
        && case.cpu.rdrand_failures < 10;
    subject.image.stub().kaslr && case.asks_for_kaslr() && case.cpu.tsc.is_none() && !rdrand
}

/// A register of a serial port that the command line names.
fn serial_port(case: &Case, port: u16) -> Option<Allowed> {
    let line = case.command_line.as_deref()?;
    let asks = |word: &&str| ["earlyprintk=", "console=uart"].iter().any(|ask| word.contains(ask));
    let mut asking = line.split_ascii_whitespace().filter(asks).peekable();
    asking.peek()?;
    let numbers =
        asking.flat_map(|word| word.split(',').filter_map(|item| item.strip_prefix("0x")));
    let addresses: Vec<u16> = numbers.filter_map(address).collect();
    let asked = serial::asked(case);
    let named = |base: &u16| {
        SERIAL.contains(base)
            || addresses.contains(base)
            || asked.is_some_and(|asked| asked.base == *base)
    };
    let register =
        (0..=5).find(|register| port.checked_sub(*register).is_some_and(|b| named(&b)))?;
    let write = |reads, values| Some(Allowed { reads, writes: Writes::OneOf(values) });
    let probed = asked.is_some_and(|asked| asked.probed && asked.base + register == port);
    match register {
        // Data, and either half of the divisor.
        0 | 1 => Some(Allowed { reads: probed, writes: Writes::Any }),
        // No FIFO.
        2 => write(false, &[0]),
        // Eight bits, no parity, one stop bit; the top bit gives access to the divisor.
        3 if probed => write(true, &[0x03, 0x83, 0, 0x80]),
        3 => write(true, &[0x03, 0x83]),
        // Ready.
        4 => write(false, &[3]),
        _ => Some(Allowed { reads: true, writes: Writes::None }),
    }
}

/// The port that hex digits name, up to what is none.
fn address(text: &str) -> Option<u16> {
    let digits = text.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    u16::from_str_radix(digits, 16).ok()
}

/// What was expected and what was found, where that differs.
fn wrong(allowed: &Allowed, used: &PortUse) -> Option<(String, String)> {
    let times = |count: u64, what: &str| format!("{what} {count} times");
    if used.reads > 0 && !allowed.reads {
        return Some(("not to be read".into(), times(used.reads, "read")));
    }
    if used.sizes != 1 {
        return Some(("accesses of one byte".into(), format!("sizes {:#x}, or-ed", used.sizes)));
    }
    let values = used.values.iter().map(|value| format!("{value:#x}")).collect::<Vec<_>>();
    match &allowed.writes {
        Writes::None if used.writes > 0 => {
            let sent = format!("{}: {}", times(used.writes, "written"), values.join(" "));
            Some(("not to be written".into(), sent))
        }
        Writes::OneOf(known) => {
            let strange = used.values.iter().find(|value| !known.contains(value))?;
            let known: Vec<_> = known.iter().map(|value| format!("{value:#x}")).collect();
            Some((format!("only {}", known.join(" or ")), format!("{strange:#x}")))
        }
        Writes::None | Writes::Any => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, image};
    use super::*;
    use crate::case::CpuFeatures;
    use crate::image::WordSize;

    fn used(reads: u64, values: &[u32]) -> PortUse {
        let writes = values.len() as u64;
        PortUse { reads, writes, sizes: 1, values: values.to_vec(), more_values: false }
    }

    fn serial_port(line: &str, port: u16, reads: u64, values: &[u32]) -> bool {
        let case = Case { command_line: Some(line.into()), ..Case::default() };
        wrong(&super::serial_port(&case, port).unwrap_or_default(), &used(reads, values)).is_none()
    }

    #[test]
    fn a_serial_port_is_used_when_asked_for() {
        assert!(serial_port("earlyprintk=ttyS0", 0x3fb, 1, &[3, 0x83]));
        assert!(serial_port("earlyprintk=serial,0x1234", 0x1239, 7, &[]));
        assert!(serial_port("console=uart8250,io,0x2f8", 0x2f9, 0, &[0]));
        assert!(serial_port("mem=0x3fd80482 earlyprintk=ttyS0", 0x3fd, 59, &[]));
        assert!(serial_port("console=uart,io,0x2f8", 0x2f8, 1, &[0x0c]));
        assert!(serial_port("console=uart,io,0x2f8", 0x2fb, 2, &[0x80, 0, 3, 0x83]));
        assert!(serial_port("console=uart,io,1000,9600", 0x3eb, 1, &[3, 0x83]));
        assert!(!serial_port("console=uart,io,0x2f8", 0x3f8, 1, &[0x0c]), "not asked");
        assert!(!serial_port("console=uart,io,0x2f8,9600", 0x2f8, 1, &[0x0c]), "it is told");
        assert!(!serial_port("console=uart,io,0x2f8,9600", 0x2fb, 1, &[0]));
        assert!(!serial_port("quiet", 0x3fb, 0, &[3]));
        assert!(!serial_port("earlyprintk=ttyS0", 0x3fb, 0, &[0x13]));
        assert!(!serial_port("earlyprintk=ttyS0", 0x3fd, 1, &[1]));
        assert!(!serial_port("earlyprintk=ttyS0", 0x3fe, 1, &[]));
    }

    #[test]
    fn the_timer_takes_one_command() {
        let control = Allowed { reads: false, writes: Writes::OneOf(&[TIMER_READ_BACK]) };
        assert_eq!(wrong(&control, &used(0, &[0xc2])), None);
        let (expected, actual) = wrong(&control, &used(0, &[0xc2, 0x43])).unwrap();
        assert_eq!((&expected[..], &actual[..]), ("only 0xc2", "0x43"));
        let wide = PortUse { sizes: 4, ..used(0, &[0xc2]) };
        assert!(wrong(&control, &wide).is_some());
    }

    /// What is said of one use of a port.
    fn said(run: &Run, port: u16, used: PortUse) -> Vec<(String, String)> {
        let outcome = wrong(&allowed(&run.subject, &run.case, port), &used);
        outcome.into_iter().collect()
    }

    #[test]
    fn the_timer_is_for_stubs_that_have_no_better_source() {
        let asks = |line: &str, cpu: CpuFeatures, words| {
            let case = Case { command_line: Some(line.into()), cpu, ..Case::default() };
            let run = Run::of(image(WordSize::Bits64, "6.1.192", words), case);
            let may = said(&run, 0x40, used(2, &[])).is_empty();
            assert_eq!(said(&run, 0x43, used(0, &[0xc2])).is_empty(), may);
            may
        };
        let none = CpuFeatures::default;
        let with = |values: &[u64]| CpuFeatures { rdrand: Some(values.to_vec()), ..none() };
        assert!(asks("quiet", none(), "nokaslr\0"));
        assert!(asks("quiet", with(&[]), "nokaslr\0"), "RDRAND fails");
        assert!(!asks("quiet", with(&[1]), "nokaslr\0"));
        let slow = |failures| CpuFeatures { rdrand_failures: failures, ..with(&[1]) };
        assert!(!asks("quiet", slow(9), "nokaslr\0") && asks("quiet", slow(10), "nokaslr\0"));
        assert!(!asks("quiet", CpuFeatures { tsc: Some(vec![]), ..none() }, "nokaslr\0"));
        assert!(!asks("nokaslr", none(), "nokaslr\0"));
        assert!(!asks("quiet", none(), ""));
    }

    #[test]
    fn a_port_is_read_or_written_as_it_has_to_be() {
        let run = Run::chosen(WordSize::Bits64);
        let text = |port, used| {
            said(&run, port, used)
                .into_iter()
                .map(|s| format!("{}; {}", s.0, s.1))
                .collect::<String>()
        };
        assert_eq!(text(0x40, used(2, &[])), "");
        assert_eq!(text(0x40, used(2, &[7, 8])), "not to be written; written 2 times: 0x7 0x8");
        assert_eq!(text(0x43, used(3, &[])), "not to be read; read 3 times");
        assert_eq!(text(0x80, used(0, &[0])), "not to be written; written 1 times: 0x0");
        assert_eq!(text(0x80, used(1, &[])), "not to be read; read 1 times");
        let wide = PortUse { sizes: 3, ..used(2, &[]) };
        assert_eq!(text(0x40, wide), "accesses of one byte; sizes 0x3, or-ed");
    }

    #[test]
    fn the_cursor_moves_where_there_is_a_screen() {
        let with = |screen| {
            let case = Case { screen, ..Case::default() };
            Run::of(image(WordSize::Bits64, "6.1.192", ""), case)
        };
        let bad = |screen, port, use_: PortUse| !said(&with(screen), port, use_).is_empty();
        assert!(!bad(true, 0x3d4, used(0, &[14, 15])) && !bad(true, 0x3d5, used(0, &[7, 0x55])));
        assert!(bad(false, 0x3d4, used(0, &[14])) && bad(false, 0x3d5, used(0, &[7])));
        assert!(bad(true, 0x3d4, used(0, &[13])) && bad(true, 0x3d4, used(1, &[])));
        assert!(bad(true, 0x3d5, used(1, &[])));
    }

    #[test]
    fn each_port_is_one_finding() {
        let mut run = Run::new(WordSize::Bits64);
        run.outcome.ports.insert(0x80, used(0, &[1]));
        run.outcome.ports.insert(0x71, used(1, &[]));
        assert_eq!(run.said(), ["ports: port 0x71", "ports: port 0x80"]);
    }

    #[test]
    fn each_register_of_a_serial_port_has_its_values() {
        let good =
            |port, reads, values: &[u32]| serial_port("earlyprintk=ttyS0", port, reads, values);
        for (register, reads, values) in [
            (0, 0, &[1, 2, 3][..]),
            (1, 0, &[0]),
            (2, 0, &[0]),
            (3, 1, &[3, 0x83]),
            (4, 0, &[3]),
            (5, 9, &[]),
        ] {
            assert!(good(0x3f8 + register, reads, values), "{register}");
        }
        for (register, reads, values) in
            [(0, 1, &[][..]), (1, 1, &[]), (2, 1, &[]), (2, 0, &[1]), (4, 1, &[]), (4, 0, &[1])]
        {
            assert!(!good(0x3f8 + register, reads, values), "{register}");
        }
        assert!(!good(0x3f7, 1, &[]) && !good(0, 1, &[]));
        assert!(serial_port("earlyprintk=ttyS0", 0x2fd, 1, &[]), "either has a name");
        assert!(
            serial_port("earlyprintk=ttyS0,0x1230z", 0x1230, 0, &[5]),
            "up to what is no digit"
        );
        assert!(!serial_port("console=0x3f8", 0x3fd, 1, &[]));
    }
}
