// SPDX-License-Identifier: GPL-2.0-only
//! The state in which firmware and loader leave a PC's devices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Devices that a stub asks or uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// What each serial port's clock of 115200 is divided by: a stub that is told no baud rate asks for it.
    #[serde(skip_serializing_if = "is_usual_divisor")]
    pub serial_divisor: u16,
}

impl Default for Devices {
    /// Serial ports at 9600 baud.
    fn default() -> Devices {
        Devices { serial_divisor: 12 }
    }
}

fn is_usual_divisor(divisor: &u16) -> bool {
    *divisor == Devices::default().serial_divisor
}
