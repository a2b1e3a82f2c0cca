// SPDX-License-Identifier: GPL-2.0-only
//! boot_params as the kernel finds them: what the stub still says after it has chosen a place moves the cursor once more
//! (arch/x86/boot/compressed/misc.c, mem.c).

use std::mem::offset_of;
use std::ops::Range;

use linux_raw_sys::bootparam::boot_params;

use super::firmware::efi::{self, Found};
use super::firmware::rsdp;
use super::kaslr::Prediction;
use super::model::Model;
use super::page::Page;
use super::placement::TOO_LARGE;
use super::start::Started;
use crate::image::WordSize;

/// The cursor's column and line.
pub(super) const CURSOR: Range<usize> =
    offset_of!(boot_params, screen_info.orig_x)..offset_of!(boot_params, screen_info.orig_y) + 1;

/// boot_params at the hand-off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// All 4096 bytes.
    pub bytes: Vec<u8>,
    /// Offsets of those that cannot be predicted.
    pub unknown: Vec<Range<usize>>,
    /// All that the stub has printed, with a line feed at the end of each line; `None` if that cannot be predicted.
    pub text: Option<String>,
    /// The same, of a stub that stops because its heap lies too high.
    pub refusal: Option<String>,
}

impl HandOver {
    /// After the stub has chosen `prediction`.
    pub(super) fn after(
        model: &Model,
        mut started: Started,
        prediction: Prediction,
    ) -> Result<HandOver, String> {
        let refusal = Some(refusal(&started.guest.page));
        started.debug("\nDecompressing Linux... ");
        if model.traits.unaccepted_memory && !accept_nothing(&mut started)? {
            return Ok(HandOver { refusal, ..HandOver::without_cursor(&started) });
        }
        started.debug("Parsing ELF... ");
        if model.relocates {
            let runs_at = match model.link.word {
                WordSize::Bits32 => prediction.output,
                WordSize::Bits64 => prediction.virt,
            };
            let moved = runs_at != model.link.physical;
            started.debug(if moved {
                "Performing relocations... "
            } else {
                "No relocation needed... "
            });
        }
        started.debug("done.\nBooting the kernel");
        if model.traits.tells_entry {
            let digits = model.link.word.bits() as usize / 4;
            started.debug(&format!(" (entry_offset: 0x{:0digits$x})", model.entry_offset));
        }
        started.debug(".\n");
        let page = &started.guest.page;
        let text = Some(page.said().to_owned());
        Ok(HandOver { bytes: page.bytes().to_vec(), unknown: Vec::new(), text, refusal })
    }

    /// All but the cursor.
    pub(super) fn without_cursor(started: &Started) -> HandOver {
        let unknown = if started.console.is_on() { vec![CURSOR] } else { Vec::new() };
        let bytes = started.guest.page.bytes().to_vec();
        HandOver { bytes, unknown, text: None, refusal: None }
    }
}

/// All that is printed by a stub that has looked for a place, and then stops (arch/x86/boot/compressed/error.c).
fn refusal(page: &Page) -> String {
    format!("{}\n\n{TOO_LARGE}\n\n -- System halted", page.said())
}

/// `init_unaccepted_memory()`: whether there is no table of memory that the stub would have to accept.
fn accept_nothing(started: &mut Started) -> Result<bool, String> {
    let console = started.console;
    let guest = &mut started.guest;
    let Some(firmware) = rsdp::firmware(guest, console) else {
        return Ok(true);
    };
    let system_table = efi::system_table(guest);
    if system_table == 0 {
        console.debug(&mut guest.page, "EFI system table not found.");
        console.warn(&mut guest.page, "EFI config table not found.");
        return Ok(true);
    }
    let tables = rsdp::config_tables(guest, firmware, system_table, console)?;
    Ok(tables.find(guest, efi::UNACCEPTED)? == Found::At(0))
}

#[cfg(test)]
mod tests {
    use super::super::inputs::{Cpu, Inputs};
    use super::super::model::samples;
    use super::super::placement::{Placement, Refusal};
    use super::super::testing::{Bytes, PARAMS};
    use super::*;
    use crate::range::Range;

    const MIB: u64 = 1 << 20;
    const LINE: u64 = 0x1_8000;
    const SYSTEM: u64 = 0x4000;
    const TABLES: u64 = 0x5000;

    /// A screen with so many columns, and KASLR forbidden.
    fn memory(columns: u8) -> Bytes {
        let mut memory = Bytes::new(0, 0x10_0000);
        memory.put(PARAMS + 0x07, &[columns]);
        memory.put(PARAMS + 0x0e, &[100]);
        memory.put(PARAMS + 0x228, &(LINE as u32).to_le_bytes());
        memory.put(LINE, b"nokaslr");
        memory
    }

    /// EFI with one configuration table.
    fn efi(columns: u8, guid: [u8; 16], table: u64) -> Bytes {
        let mut memory = memory(columns);
        memory.put(PARAMS + 0x1c0, b"EL64");
        memory.put(PARAMS + 0x1c4, &(SYSTEM as u32).to_le_bytes());
        // ACPI's root is given, so that nobody looks for it.
        memory.put(PARAMS + 0x70, &[1]);
        memory.put(SYSTEM + 104, &1u32.to_le_bytes());
        memory.put(SYSTEM + 112, &TABLES.to_le_bytes());
        memory.put(TABLES, &guid);
        memory.put(TABLES + 16, &table.to_le_bytes());
        memory
    }

    /// The kernel stands at `output`, or on x86_64 was linked elsewhere than it runs if it does.
    fn after(model: &Model, memory: &Bytes, prediction: Prediction) -> HandOver {
        let window = Range::sized(16 * MIB, 16 * MIB);
        let placement =
            Placement { output: 16 * MIB, window, copy: Some(28 * MIB), refusal: Refusal::Never };
        let inputs = Inputs {
            memory,
            cpu: Cpu::default(),
            load: 0x800_0000,
            entered_at_32_bits: false,
            entered_with_five_levels: false,
            boot_params: PARAMS,
        };
        let mut started = Started::page_tables(model, &placement, &inputs).unwrap();
        started.extract_kernel(model, &placement).unwrap();
        // What was printed so far does not matter here.
        started.guest.page.put_u8(0, 0);
        started.guest.page.put_u8(1, 0);
        HandOver::after(model, started, prediction).unwrap()
    }

    fn verbose(word: WordSize) -> Model {
        Model { verbose: true, ..samples::model(word) }
    }

    /// Lines that a text takes on a screen with so many columns.
    fn lines(text: &str, columns: usize) -> u8 {
        text.split('\n').map(|line| line.len() / columns).sum::<usize>() as u8
            + text.matches('\n').count() as u8
    }

    #[test]
    fn the_last_words_say_whether_the_kernel_was_relocated() {
        let placed = |output: u64, virt: u64| Prediction { output: output * MIB, virt: virt * MIB };
        for (word, prediction, moved) in [
            (WordSize::Bits64, placed(64, 16), false),
            (WordSize::Bits64, placed(16, 18), true),
            (WordSize::Bits32, placed(16, 16), false),
            (WordSize::Bits32, placed(64, 64), true),
        ] {
            let relocated =
                if moved { "Performing relocations... " } else { "No relocation needed... " };
            let digits = if word == WordSize::Bits64 { "0".repeat(16) } else { "0".repeat(8) };
            let text = format!(
                "\nDecompressing Linux... Parsing ELF... {relocated}done.\n\
                 Booting the kernel (entry_offset: 0x{digits}).\n"
            );
            // Wide enough for one of the two texts, and for all but the last of the digits.
            for columns in [80, 68, 54, 53, 46, 45] {
                let found = after(&verbose(word), &memory(columns), prediction);
                let expected = [0, lines(&text, columns.into())];
                assert_eq!(found.bytes[..2], expected, "{columns} columns, {text:?}");
                assert!(found.unknown.is_empty());
            }
        }
    }

    #[test]
    fn stubs_say_what_they_do_and_no_more() {
        let unmoved = Prediction { output: 16 * MIB, virt: 16 * MIB };
        let mut model = verbose(WordSize::Bits64);
        model.relocates = false;
        model.traits.tells_entry = false;
        let text = "\nDecompressing Linux... Parsing ELF... done.\nBooting the kernel.\n";
        for columns in [80, 43, 42, 19, 18] {
            let found = after(&model, &memory(columns), unmoved);
            assert_eq!(found.bytes[..2], [0, lines(text, columns.into())], "{columns}");
        }
    }

    #[test]
    fn a_stub_that_stops_has_said_all_that_it_says_before_it_unpacks() {
        let unmoved = Prediction { output: 16 * MIB, virt: 16 * MIB };
        let known = after(&samples::model(WordSize::Bits32), &memory(80), unmoved);
        assert_eq!(
            known.refusal.as_deref(),
            Some(
                "\n\nKASLR disabled: 'nokaslr' on cmdline.\n\n\
                 \n\nDestination address too large\n\n -- System halted"
            )
        );
        let known = after(&verbose(WordSize::Bits64), &memory(80), unmoved);
        let (refusal, text) = (known.refusal.unwrap(), known.text.unwrap());
        let (before, _) = refusal.split_once("\n\nDestination").unwrap();
        let (first, _) = text.split_once("\nDecompressing").unwrap();
        assert_eq!(before, first);
    }

    #[test]
    fn memory_that_must_be_accepted_makes_the_cursor_unknown() {
        let unmoved = Prediction { output: 16 * MIB, virt: 16 * MIB };
        let mut model = samples::model(WordSize::Bits64);
        let unknown = |model: &Model, memory: &Bytes| after(model, memory, unmoved).unknown;
        let table = efi(80, efi::UNACCEPTED, 0x7000);
        assert!(unknown(&model, &table).is_empty(), "the stub does not know such tables");
        model.traits.unaccepted_memory = true;
        assert_eq!(unknown(&model, &table)[..], [CURSOR]);
        let no_screen = efi(0, efi::UNACCEPTED, 0x7000);
        assert!(unknown(&model, &no_screen).is_empty(), "no screen, no cursor");
        assert!(unknown(&model, &efi(80, efi::UNACCEPTED, 0)).is_empty(), "the table is none");
        assert!(unknown(&model, &efi(80, efi::ACPI_20, 0x7000)).is_empty(), "another table");
        assert!(unknown(&model, &memory(80)).is_empty(), "not EFI");
    }

    #[test]
    fn efi_without_a_system_table_is_warned_of() {
        let unmoved = Prediction { output: 16 * MIB, virt: 16 * MIB };
        let mut memory = efi(80, efi::ACPI_20, 0x7000);
        let mut model = samples::model(WordSize::Bits64);
        model.traits.unaccepted_memory = true;
        let line = |memory: &Bytes| after(&model, memory, unmoved).bytes[1];
        assert_eq!(line(&memory), 0);
        memory.put(PARAMS + 0x1c4, &[0; 4]);
        assert_eq!(line(&memory), 4, "a warning has two empty lines around it");
    }
}
