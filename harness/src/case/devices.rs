// SPDX-License-Identifier: GPL-2.0-only
//! The state in which firmware and loader leave a PC's devices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::boot_params::{SCREEN_COLUMNS, SCREEN_LINES};
use super::is_default;
use crate::range::Range;

/// Devices that a stub asks or uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// What each serial port's clock of 115200 is divided by: a stub that is told no baud rate asks for it.
    #[serde(skip_serializing_if = "is_usual_divisor")]
    pub serial_divisor: u16,
    /// The serial ports never have room for a byte: a stub gives up waiting, and sends it all the same.
    #[serde(skip_serializing_if = "is_default")]
    pub serial_never_ready: bool,
    /// So many times the timer has no count ready, before each time that it has one.
    #[serde(skip_serializing_if = "is_default")]
    pub timer_not_ready: u8,
    /// The column of the text screen in which the cursor is.
    #[serde(skip_serializing_if = "is_default")]
    pub cursor_column: u8,
    /// Its line.
    #[serde(skip_serializing_if = "is_default")]
    pub cursor_line: u8,
    /// The text screen has no colours: mode 7, with memory and ports of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub monochrome: bool,
}

impl Devices {
    /// The memory of a text screen of 80 by 25: a character and its colour for each place.
    pub fn screen_memory(&self) -> Range {
        let start = if self.monochrome { 0xb_0000 } else { 0xb_8000 };
        Range::sized(start, 2 * (SCREEN_COLUMNS * SCREEN_LINES) as u64)
    }

    /// The text screen's index port; the one for data is the next (arch/x86/boot/compressed/misc.c).
    pub fn screen_port(&self) -> u16 {
        if self.monochrome { 0x3b4 } else { 0x3d4 }
    }

    /// What the text screen shows before the stub prints. It is all control characters, which no text has, so that a line that
    /// is moved is told from its neighbours.
    pub fn screen_contents(&self) -> Vec<u8> {
        const GREY: u8 = 7;
        (0..SCREEN_COLUMNS * SCREEN_LINES).flat_map(|at| [0x80 + (at % 31) as u8, GREY]).collect()
    }
}

impl Default for Devices {
    /// Serial ports at 9600 baud.
    fn default() -> Devices {
        Devices {
            serial_divisor: 12,
            serial_never_ready: false,
            timer_not_ready: 0,
            cursor_column: 0,
            cursor_line: 0,
            monochrome: false,
        }
    }
}

fn is_usual_divisor(divisor: &u16) -> bool {
    *divisor == Devices::default().serial_divisor
}
