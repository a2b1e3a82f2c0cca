// SPDX-License-Identifier: GPL-2.0-only
//! One line of a trace.
//!
//! As text a line has the number of the block that runs, what happened, the address of the instruction that did it, the place
//! of that in the stub, and then whatever else there is to say as `name=value`:
//!
//! ```text
//!      4711 write   0x4d22a31 extract_kernel+0x5a1 address=0x1000000 value=0x10d8d48 size=8
//! ```
//!
//! As JSON the same values have names.

use std::io::{self, Write};

use serde::Serialize;

use crate::hex;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// For people and for grep.
    Text,
    /// One JSON object in each line.
    Json,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Number of the translated block that was running, from 1 on; 0 before the first.
    pub block: u64,
    /// What happened.
    pub event: &'static str,
    /// Address of the instruction that did it, or of the block's first.
    #[serde(with = "hex::option", skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Where that is in the stub.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// Where control went.
    #[serde(with = "hex::option", skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// The function there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// How that function was entered, if not by a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
    /// How many functions were running before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// The address that was accessed: a physical one of a store, a linear one of a page fault.
    #[serde(with = "hex::option", skip_serializing_if = "Option::is_none")]
    pub address: Option<u64>,
    /// The port.
    #[serde(with = "hex::option", skip_serializing_if = "Option::is_none")]
    pub port: Option<u64>,
    /// Bytes: of the block, of the store, of the port access, of the copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Instructions of the block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u32>,
    /// What was stored, or went through the port.
    #[serde(with = "hex::option", skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// Error code of a page fault (Intel SDM volume 3, "page-fault error code").
    #[serde(with = "hex::option", skip_serializing_if = "Option::is_none")]
    pub error: Option<u64>,
    /// Whether the stub's handler took the page fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled: Option<bool>,
    /// How the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

impl Line {
    /// Writes the line.
    ///
    /// # Errors
    /// As the writer says.
    pub fn write(&self, format: LineFormat, out: &mut dyn Write) -> io::Result<()> {
        match format {
            LineFormat::Text => self.write_text(out)?,
            LineFormat::Json => serde_json::to_writer(&mut *out, self)?,
        }
        out.write_all(b"\n")
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{:>10} {:<7}", self.block, self.event)?;
        if let Some(at) = self.at {
            write!(out, " {at:#x}")?;
        }
        if !self.place.is_empty() {
            write!(out, " {}", self.place)?;
        }
        let numbers = [
            ("to", self.to),
            ("address", self.address),
            ("port", self.port),
            ("value", self.value),
            ("error", self.error),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                write!(out, " {name}={value:#x}")?;
            }
        }
        if let Some(function) = &self.function {
            write!(out, " function={function}")?;
        }
        if let Some(by) = self.by {
            write!(out, " by={}", by.replace(' ', "-"))?;
        }
        let counts = [
            ("size", self.size),
            ("instructions", self.instructions.map(u64::from)),
            ("depth", self.depth.map(|depth| depth as u64)),
        ];
        for (name, value) in counts {
            if let Some(value) = value {
                write!(out, " {name}={value}")?;
            }
        }
        if let Some(handled) = self.handled {
            write!(out, " handled={}", if handled { "yes" } else { "no" })?;
        }
        if let Some(end) = &self.end {
            write!(out, " {end}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &Line, format: LineFormat) -> String {
        let mut out = Vec::new();
        line.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_say_the_same_as_text_and_as_json() {
        let line = Line {
            block: 4711,
            event: "write",
            at: Some(0x4d2_2a31),
            place: "extract_kernel+0x5a1".into(),
            address: Some(0x100_0000),
            size: Some(8),
            value: Some(0x10),
            ..Line::default()
        };
        assert_eq!(
            written(&line, LineFormat::Text),
            "      4711 write   0x4d22a31 extract_kernel+0x5a1 address=0x1000000 value=0x10 size=8\n"
        );
        assert_eq!(
            written(&line, LineFormat::Json),
            "{\"block\":4711,\"event\":\"write\",\"at\":\"0x4d22a31\",\"place\":\"extract_kernel+0x5a1\",\
             \"address\":\"0x1000000\",\"size\":8,\"value\":\"0x10\"}\n"
        );
    }
}
