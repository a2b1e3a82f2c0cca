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
}

impl HandOver {
    /// After the stub has chosen `prediction`.
    pub(super) fn after(
        model: &Model,
        mut started: Started,
        prediction: Prediction,
    ) -> Result<HandOver, String> {
        started.debug("\nDecompressing Linux... ");
        if model.traits.unaccepted_memory && !accept_nothing(&mut started)? {
            return Ok(HandOver::without_cursor(&started));
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
        Ok(HandOver::new(&started.guest.page))
    }

    fn new(page: &Page) -> HandOver {
        let text = Some(page.said().to_owned());
        HandOver { bytes: page.bytes().to_vec(), unknown: Vec::new(), text }
    }

    /// All but the cursor.
    pub(super) fn without_cursor(started: &Started) -> HandOver {
        let unknown = if started.console.is_on() { vec![CURSOR] } else { Vec::new() };
        HandOver { unknown, text: None, ..HandOver::new(&started.guest.page) }
    }
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
