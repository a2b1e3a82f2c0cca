// SPDX-License-Identifier: GPL-2.0-only
//! The PC's devices as far as a stub uses them: timer, serial ports, the text screen's cursor.
//!
//! The timer answers from the case's script, so that KASLR draws the same entropy every time.

use std::collections::BTreeMap;

use super::outcome::PortUse;

const TIMER_COUNTER: u16 = 0x40;
const TIMER_CONTROL: u16 = 0x43;
/// Read-back command that latches status and count of counter 0 (`I8254_CMD_READBACK |
/// I8254_SELECT_COUNTER0`, arch/x86/lib/kaslr.c).
const TIMER_READ_BACK: u8 = 0xc2;
/// Status: the counter has not been loaded yet, and its count means nothing (`I8254_STATUS_NOTREADY`).
const TIMER_NOT_READY: u8 = 0x40;
/// The bases of a PC's four serial ports. `earlyprintk` knows the first two by name
/// (arch/x86/boot/early_serial_console.c).
const SERIAL: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
/// Line status: transmitter and holding register empty.
const SERIAL_READY: u8 = 0x60;
/// Line control: the first two registers are the divisor.
const SERIAL_DIVISOR: u8 = 0x80;
/// More than any stub prints; a guest that prints for ever must not eat the host's memory.
const SERIAL_CAP: usize = 64 << 10;

/// In what state the devices are at the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// The divisor that each serial port was set to.
    pub serial_divisor: u16,
    /// The serial ports never have room for a byte, as if they had no line status; what is sent all the same is kept.
    pub serial_never_ready: bool,
    /// So many times the timer has no count ready, before each time that it has one.
    pub timer_not_ready: u8,
}

impl Default for DeviceState {
    /// Serial ports at 9600 baud.
    fn default() -> DeviceState {
        DeviceState { serial_divisor: 12, serial_never_ready: false, timer_not_ready: 0 }
    }
}

/// The devices and what the guest did with them.
#[derive(Clone)]
pub struct Devices {
    timer: Vec<u16>,
    timer_reads: u64,
    timer_not_ready: u8,
    timer_latch: Vec<u8>,
    line_control: [u8; 4],
    divisor: [[u8; 2]; 4],
    line_status: u8,
    serial: Vec<u8>,
    ports: BTreeMap<u16, PortUse>,
}

impl Devices {
    /// Devices in this `state`, whose timer answers with `timer`, over and over.
    pub fn new(timer: Vec<u16>, state: DeviceState) -> Devices {
        Devices {
            timer,
            timer_reads: 0,
            timer_not_ready: state.timer_not_ready,
            timer_latch: Vec::new(),
            line_control: [0; 4],
            line_status: if state.serial_never_ready { 0 } else { SERIAL_READY },
            divisor: [state.serial_divisor.to_le_bytes(); 4],
            serial: Vec::new(),
            ports: BTreeMap::new(),
        }
    }

    /// Answers an `in` of `size` bytes.
    pub fn read(&mut self, port: u16, size: usize) -> u32 {
        let used = self.ports.entry(port).or_default();
        used.reads += 1;
        used.sizes |= size as u8;
        match port {
            TIMER_COUNTER if size == 1 => self.timer_latch.pop().unwrap_or(0).into(),
            _ => match serial_register(port) {
                Some((_, 5)) => self.line_status.into(),
                Some((unit, 3)) => self.line_control[unit].into(),
                Some((unit, half @ (0 | 1))) if self.shows_divisor(unit) => {
                    self.divisor[unit][usize::from(half)].into()
                }
                Some(_) => 0,
                None => u32::MAX >> (32 - 8 * size.clamp(1, 4)),
            },
        }
    }

    /// Takes an `out` of `size` bytes.
    pub fn write(&mut self, port: u16, size: usize, value: u32) {
        let value = value & u32::MAX >> (32 - 8 * size.clamp(1, 4));
        let register = serial_register(port);
        let divisor = register.is_some_and(|(unit, _)| self.shows_divisor(unit));
        let used = self.ports.entry(port).or_default();
        used.writes += 1;
        used.sizes |= size as u8;
        let byte = value as u8;
        match (port, register) {
            (_, Some((unit, half @ (0 | 1)))) if divisor => {
                self.divisor[unit][usize::from(half)] = byte;
            }
            (_, Some((_, 0))) => {
                if self.serial.len() < SERIAL_CAP {
                    self.serial.push(byte);
                }
                return;
            }
            (_, Some((unit, 3))) => self.line_control[unit] = byte,
            _ => {}
        }
        used.note_value(value);
        if (port, byte) == (TIMER_CONTROL, TIMER_READ_BACK) {
            self.latch_timer();
        }
    }

    /// What was sent to the serial ports, which ports were used, and how often the timer was asked.
    pub fn into_record(self) -> (Vec<u8>, BTreeMap<u16, PortUse>, u64) {
        (self.serial, self.ports, self.timer_reads)
    }

    fn shows_divisor(&self, unit: usize) -> bool {
        self.line_control[unit] & SERIAL_DIVISOR != 0
    }

    fn latch_timer(&mut self) {
        let count = self.timer.len().max(1) as u64;
        let tries = u64::from(self.timer_not_ready) + 1;
        let turn = self.timer_reads / tries;
        let value = self.timer.get((turn % count) as usize).copied().unwrap_or(0);
        let ready = self.timer_reads % tries == tries - 1;
        self.timer_reads += 1;
        let (status, value) = if ready { (0, value) } else { (TIMER_NOT_READY, !value) };
        let [low, high] = value.to_le_bytes();
        self.timer_latch = vec![high, low, status];
    }
}

/// Which serial port, and which of its registers, `port` is.
fn serial_register(port: u16) -> Option<(usize, u16)> {
    let unit = SERIAL.iter().position(|base| (*base..*base + 8).contains(&port))?;
    Some((unit, port - SERIAL[unit]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_answers_from_its_script_status_first() {
        let mut devices = Devices::new(vec![0x1234, 0xabcd], DeviceState::default());
        for expected in [0x1234, 0xabcd, 0x1234] {
            devices.write(TIMER_CONTROL, 1, TIMER_READ_BACK.into());
            assert_eq!(devices.read(TIMER_COUNTER, 1), 0);
            let low = devices.read(TIMER_COUNTER, 1);
            assert_eq!(devices.read(TIMER_COUNTER, 1) << 8 | low, expected);
        }
        assert_eq!(devices.into_record().2, 3);
    }

    #[test]
    fn a_timer_that_is_not_ready_says_so_and_counts_nothing() {
        let state = DeviceState { timer_not_ready: 2, ..DeviceState::default() };
        let mut devices = Devices::new(vec![0x1234, 0xabcd], state);
        let mut ask = || {
            devices.write(TIMER_CONTROL, 1, TIMER_READ_BACK.into());
            let [status, low, high] = [0; 3].map(|_| devices.read(TIMER_COUNTER, 1));
            (status, high << 8 | low)
        };
        let busy = |count: u32| (0x40, !count & 0xffff);
        for count in [0x1234, 0xabcd, 0x1234] {
            assert_eq!([ask(), ask(), ask()], [busy(count), busy(count), (0, count)]);
        }
    }

    #[test]
    fn serial_output_is_kept_but_not_the_divisor() {
        let mut devices = Devices::new(vec![], DeviceState::default());
        for (port, value) in [(0x3fb, 0x83), (0x3f8, 12), (0x3fb, 3), (0x3f8, b'x'), (0x2f8, b'y')]
        {
            devices.write(port, 1, u32::from(value));
        }
        assert_eq!(devices.read(0x3fd, 1) & 0x20, 0x20);
        let (serial, ports, _) = devices.into_record();
        assert_eq!(serial, b"xy");
        assert_eq!((ports[&0x3f8].writes, ports[&0x3f8].values.as_slice()), (2, &[12][..]));
        assert_eq!(ports[&0x3fb].values, [0x83, 3]);
    }

    #[test]
    fn what_is_sent_to_a_port_that_is_not_ready_is_kept() {
        let state = DeviceState { serial_never_ready: true, ..DeviceState::default() };
        let mut devices = Devices::new(vec![], state);
        assert_eq!(devices.read(0x3fd, 1), 0);
        devices.write(0x3f8, 1, b'x'.into());
        assert_eq!(devices.into_record().0, b"x");
    }

    #[test]
    fn a_serial_port_tells_the_divisor_that_it_has() {
        let mut devices =
            Devices::new(vec![], DeviceState { serial_divisor: 0x1234, ..DeviceState::default() });
        let divisor = |devices: &mut Devices, base: u16| {
            let before = devices.read(base + 3, 1);
            devices.write(base + 3, 1, before | 0x80);
            let halves = [devices.read(base, 1), devices.read(base + 1, 1)];
            devices.write(base + 3, 1, before);
            halves
        };
        assert_eq!(divisor(&mut devices, 0x2e8), [0x34, 0x12]);
        assert_eq!([devices.read(0x2e8, 1), devices.read(0x2e9, 1)], [0, 0], "not asked for");
        for (port, value) in [(0x3fb, 0x83), (0x3f8, 12), (0x3f9, 1), (0x3fb, 3), (0x3f9, 0)] {
            devices.write(port, 1, value);
        }
        assert_eq!(divisor(&mut devices, 0x3f8), [12, 1]);
        assert_eq!(divisor(&mut devices, 0x3e8), [0x34, 0x12]);
    }

    #[test]
    fn a_port_without_a_device_reads_as_ones() {
        let mut devices = Devices::new(vec![], DeviceState::default());
        assert_eq!([1, 2, 4].map(|size| devices.read(0x80, size)), [0xff, 0xffff, 0xffff_ffff]);
    }

    #[test]
    fn what_is_written_to_a_port_is_kept_within_bounds() {
        let mut devices = Devices::new(vec![], DeviceState::default());
        for value in [0x1234_5678, 0x78, 0xffff_ff78] {
            devices.write(0x80, 1, value);
        }
        devices.write(0xcf8, 4, 0x8000_0000);
        devices.read(0xcf8, 2);
        for value in (0..16).chain(0..17) {
            devices.write(0x70, 1, value);
        }
        let (_, ports, _) = devices.into_record();
        let post = PortUse { writes: 3, sizes: 1, values: vec![0x78], ..PortUse::default() };
        assert_eq!(ports[&0x80], post);
        assert_eq!((ports[&0xcf8].sizes, ports[&0xcf8].values[0]), (4 | 2, 0x8000_0000));
        assert_eq!(ports[&0x70].values, (0..16).collect::<Vec<_>>());
        assert!(ports[&0x70].more_values && !ports[&0x80].more_values);
    }
}
