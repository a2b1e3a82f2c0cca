// SPDX-License-Identifier: GPL-2.0-only
//! The serial port that the command line asks for (`console_init()`, arch/x86/boot/early_serial_console.c).

use super::options::{guessed, value};

/// The clock of a serial port, by which its divisor is given.
const CLOCK: i32 = 115_200;
const DEFAULT_BAUD: i32 = 9600;
/// The ports that have names; the first is the default.
const NAMED: [u16; 2] = [0x3f8, 0x2f8];
/// The stub's buffers for the two options.
const EARLYPRINTK: usize = 32;
const CONSOLE: usize = 64;

/// A serial port as the stub sets it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialPort {
    /// The first of its I/O ports.
    pub base: u16,
    /// The clock divided by the baud rate.
    pub divisor: u16,
    /// Whether the stub asked the port for the baud rate that it was set to.
    pub probed: bool,
}

impl SerialPort {
    /// What `line` asks for, of ports whose divisor was `held`; `None` if that is nothing, or a stub that read it would read
    /// behind its buffer, divide by zero, or leave the range of ports.
    pub fn asked(line: &[u8], held: u16) -> Option<SerialPort> {
        let (base, baud, probed) = match early(line) {
            Asked::Nothing => console(line, held)?,
            Asked::For(base, baud) => (base, baud, false),
            Asked::Unknown => return None,
        };
        let divisor = CLOCK.checked_div(baud)? as u16;
        (1..=0xfff8).contains(&base).then_some(SerialPort { base: base as u16, divisor, probed })
    }
}

enum Asked {
    Nothing,
    For(i32, i32),
    Unknown,
}

/// `parse_earlyprintk()`.
fn early(line: &[u8]) -> Asked {
    let Some(value) = value(line, "earlyprintk", EARLYPRINTK).filter(|value| value.len > 0) else {
        return Asked::Nothing;
    };
    let mut rest = value.bytes.as_slice();
    let mut port = 0;
    let mut comma = false;
    let serial = rest.strip_prefix(b"serial");
    if let Some(behind) = serial {
        (rest, port) = (behind, NAMED[0].into());
    }
    if let [b',', behind @ ..] = rest {
        (rest, comma) = (behind, true);
    }
    if serial.is_some() && comma && rest.starts_with(b"0x") {
        let (number, behind) = guessed(rest);
        if number as i32 != 0 {
            (port, rest) = (number as i32, behind);
        }
    } else if let Some(behind) = rest.strip_prefix(b"ttyS") {
        // One character is the number, whichever it is.
        let [number, behind @ ..] = behind else { return Asked::Unknown };
        (port, rest) = (NAMED[usize::from(*number == b'1')].into(), behind);
    }
    rest = rest.strip_prefix(b",").unwrap_or(rest);
    let baud = guessed(rest).0 as i32;
    match port {
        0 => Asked::Nothing,
        _ => Asked::For(port, if baud == 0 { DEFAULT_BAUD } else { baud }),
    }
}

/// `parse_console_uart8250()`: base, baud rate, and whether the port had to be asked for that.
fn console(line: &[u8], held: u16) -> Option<(i32, i32, bool)> {
    let value = value(line, "console", CONSOLE)?;
    let address = [&b"uart8250,io,"[..], b"uart,io,"]
        .iter()
        .find_map(|prefix| value.bytes.strip_prefix(*prefix))?;
    let (port, rest) = guessed(address);
    Some(match rest {
        [b',', baud @ ..] => (port as i32, guessed(baud).0 as i32, false),
        _ => (port as i32, CLOCK.checked_div(held.into())?, true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Option<(u16, u16, bool)> {
        let port = SerialPort::asked(line.as_bytes(), 1000)?;
        Some((port.base, port.divisor, port.probed))
    }

    #[test]
    fn earlyprintk_names_a_port_and_a_rate() {
        for (value, base, divisor) in [
            ("serial", 0x3f8, 12),
            ("serial,115200", 0x3f8, 1),
            ("serial,ttyS1,115200", 0x2f8, 1),
            ("serial,0x3e8,19200,keep", 0x3e8, 6),
            ("serial,0x2e8", 0x2e8, 12),
            ("serial,0x0,300", 0x3f8, 12),
            ("serial,0x", 0x3f8, 12),
            ("serialttyS1", 0x2f8, 12),
            ("ttyS0", 0x3f8, 12),
            ("ttyS1,57600n8", 0x2f8, 2),
            (",ttyS1", 0x2f8, 12),
            ("ttyS4,0x12c", 0x3f8, 384),
            ("ttyS11200", 0x2f8, 96),
            ("ttyS0,0", 0x3f8, 12),
            ("ttyS0,keep", 0x3f8, 12),
            ("ttyS0,0113", 0x3f8, 1536),
            ("ttyS0,230400", 0x3f8, 0),
            ("serial,0x3f8,00000000000000009600", 0x3f8, 12),
        ] {
            let line = format!("earlyprintk={value}");
            assert_eq!(asked(&line), Some((base, divisor, false)), "{line}");
        }
        for value in ["", "vga", "efi,keep", "0x3f8", "ttyS", "serial,0xffff", "xttyS0"] {
            assert_eq!(asked(&format!("earlyprintk={value}")), None, "{value}");
        }
    }

    #[test]
    fn the_last_earlyprintk_counts_and_goes_before_a_console() {
        assert_eq!(asked("earlyprintk=vga earlyprintk=ttyS1 x"), Some((0x2f8, 12, false)));
        assert_eq!(asked("earlyprintk=ttyS1 earlyprintk=vga x"), None);
        let both = "earlyprintk=ttyS1 console=uart8250,io,0x3f8,300";
        assert_eq!(asked(both), Some((0x2f8, 12, false)));
        let second = "earlyprintk=vga console=uart8250,io,0x3f8,300";
        assert_eq!(asked(second), Some((0x3f8, 384, false)));
    }

    #[test]
    fn a_console_without_a_rate_is_asked_for_its_own() {
        // 115200 divided by 1000 is 115, and by that it is 1001.
        assert_eq!(asked("console=uart,io,0x2f8"), Some((0x2f8, 1001, true)));
        assert_eq!(asked("console=uart8250,io,1016n8"), Some((0x3f8, 1001, true)));
        assert_eq!(asked("console=uart8250,io,0x3f8,115200n8"), Some((0x3f8, 1, false)));
        for line in [
            "console=ttyS0,115200",
            "console=uart8250,mmio,0x3f8",
            "console=uart8250,io,0x3f8,0",
            "console=uart8250,io,,9600",
            "console=uart8250,io,0x3f8,9600 console=tty0",
            "xconsole=uart,io,0x2f8",
        ] {
            assert_eq!(asked(line), None, "{line}");
        }
        assert_eq!(SerialPort::asked(b"console=uart,io,0x2f8", 0), None);
    }
}
