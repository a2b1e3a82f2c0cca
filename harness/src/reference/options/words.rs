// SPDX-License-Identifier: GPL-2.0-only
//! The search for one word on the command line (arch/x86/boot/cmdline.c).
//!
//! Words end at any byte up to the space, control characters included; quotes mean nothing.

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::super::guest::Guest;

/// The search ends where the last segment that a real-mode pointer could have reached does.
const SEGMENT: u64 = 0x1_0000;

/// The command line, as far as the stub looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Where it lies.
    pub address: u64,
    /// Its bytes, without the NUL.
    pub bytes: Vec<u8>,
    /// Whether there is a NUL behind them; else the search ends without finding a last word.
    terminated: bool,
}

/// The value of an option, cut off as the stub's buffer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Length of the whole value in bytes.
    pub len: usize,
    /// As much of it as fits.
    pub bytes: Vec<u8>,
}

impl CommandLine {
    /// The command line that boot_params point to; `None` if the pointer is 0.
    ///
    /// # Errors
    ///
    /// It is not in RAM up to its end.
    pub fn read(guest: &Guest) -> Result<Option<CommandLine>, String> {
        let address = guest.long(guest.page.halves(
            offset_of!(boot_params, hdr.cmd_line_ptr),
            offset_of!(boot_params, ext_cmd_line_ptr),
        ));
        if address == 0 {
            return Ok(None);
        }
        let limit = (SEGMENT - address % 16) as usize;
        let (bytes, terminated) = guest.text(address, limit, "the command line")?;
        Ok(Some(CommandLine { address, bytes, terminated }))
    }

    /// Where the word `option` stands, counted from 1; 0 if it does not.
    pub fn position(&self, option: &str) -> usize {
        let mut at = 0;
        for word in self.bytes.split(|&byte| ends_word(byte)) {
            let last = at + word.len() == self.bytes.len();
            if word == option.as_bytes() && !word.is_empty() && (self.terminated || !last) {
                return at + 1;
            }
            at += word.len() + 1;
        }
        0
    }

    /// The value of the last `option=value`, in a buffer of `room` bytes, NUL included.
    pub fn value(&self, option: &str, room: usize) -> Option<Value> {
        value(&self.bytes, option, room)
    }
}

/// The value of the last `option=value` of `line`, in a buffer of `room` bytes, NUL included.
pub fn value(line: &[u8], option: &str, room: usize) -> Option<Value> {
    line.split(|&byte| ends_word(byte))
        .filter_map(|word| word.strip_prefix(option.as_bytes())?.strip_prefix(b"="))
        .next_back()
        .map(|value| Value {
            len: value.len(),
            bytes: value[..value.len().min(room.saturating_sub(1))].to_vec(),
        })
}

fn ends_word(byte: u8) -> bool {
    byte <= b' '
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Bytes, PARAMS, guest};
    use super::*;
    use crate::image::WordSize;

    fn line(text: &str) -> CommandLine {
        CommandLine { address: 0x1000, bytes: text.as_bytes().to_vec(), terminated: true }
    }

    #[test]
    fn words_are_whole_and_end_at_control_characters() {
        for (text, position) in [
            ("nokaslr", 1),
            ("  a nokaslr", 5),
            ("a\x01nokaslr\x1fb", 3),
            ("xnokaslr nokaslr=1 nokaslry", 0),
            ("\"nokaslr\"", 0),
            ("NOKASLR", 0),
            ("no kaslr", 0),
            ("", 0),
        ] {
            assert_eq!(line(text).position("nokaslr"), position, "{text:?}");
        }
    }

    #[test]
    fn a_last_word_without_end_is_not_found() {
        let endless = CommandLine { terminated: false, ..line("a nokaslr") };
        assert_eq!(endless.position("nokaslr"), 0);
        assert_eq!(endless.position("a"), 1);
    }

    #[test]
    fn the_last_value_counts_and_is_cut_off() {
        let value = |text: &str| line(text).value("acpi", 4).map(|v| (v.len, v.bytes));
        assert_eq!(value("acpi=off acpi=copy_dsdt"), Some((9, b"cop".to_vec())));
        assert_eq!(value("acpi=copy_dsdt acpi=off"), Some((3, b"off".to_vec())));
        assert_eq!(value("acpi= x"), Some((0, Vec::new())));
        assert_eq!(value("acpi acpi_x=1 xacpi=1"), None);
    }

    #[test]
    fn the_search_ends_with_the_segment() {
        for (offset, len) in [(0, 0x1_0000), (8, 0xfff8), (0xf, 0xfff1)] {
            let mut memory = Bytes::new(0, 0x4_0000);
            let address = 0x2_0000 + offset;
            memory.put(PARAMS + 0x228, &(address as u32).to_le_bytes());
            memory.put(address, &vec![b'x'; 0x1_0000]);
            let line = CommandLine::read(&guest(&memory, WordSize::Bits64)).unwrap().unwrap();
            assert_eq!((line.bytes.len(), line.terminated), (len, false), "{offset}");
        }
    }
}
