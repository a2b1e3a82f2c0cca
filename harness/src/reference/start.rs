// SPDX-License-Identifier: GPL-2.0-only
//! What the stub does to boot_params before it chooses a place: from its entry (arch/x86/boot/compressed/head_64.S,
//! head_32.S) to the first lines of `extract_kernel()` (misc.c).
//!
//! The order is the one of a stub that does as it should: it cleans boot_params up before it reads a pointer from them.
//! Stubs before 6.13 that look for `no5lvl` earlier read the command line through what the loader may have left there.

use std::mem::offset_of;

use linux_raw_sys::bootparam::{XLF_MEM_ENCRYPTION, boot_params};

use super::console::Console;
use super::firmware::rsdp;
use super::guest::Guest;
use super::inputs::Inputs;
use super::model::Model;
use super::options::CommandLine;
use super::paging::{self, Paging};
use super::placement::Placement;
use crate::image::WordSize;
use crate::range::Range;

/// `KASLR_FLAG` in `loadflags`: addresses are random.
pub const KASLR_FLAG: u8 = 2;

/// The stub, about to choose a place.
#[derive(Clone)]
pub struct Started<'a> {
    /// Memory.
    pub guest: Guest<'a>,
    /// The command line, if there is one.
    pub command_line: Option<CommandLine>,
    /// Levels of page tables.
    pub paging: Paging,
    /// Where text goes.
    pub console: Console,
    /// Whether the stub is going to draw random numbers.
    pub kaslr: bool,
}

impl<'a> Started<'a> {
    /// Runs the stub up to where its paging is set up.
    pub(super) fn page_tables(
        model: &Model,
        placement: &Placement,
        inputs: &Inputs<'a>,
    ) -> Result<Started<'a>, String> {
        let loaded = Range::sized(inputs.load, model.end.unwrap_or(0).max(model.file_len));
        let copy = placement.copy.map(|copy| Range::new(copy, placement.window.end));
        let word = model.link.word;
        let mut guest = Guest::new(inputs.memory, word, inputs.boot_params, [Some(loaded), copy])?;
        if inputs.entered_at_32_bits {
            let scratch = model.scratch.ok_or("the start-up code is not known")?;
            let trace = inputs.load.wrapping_add(scratch) as u32;
            guest.page.put_u32(offset_of!(boot_params, scratch), trace);
        }
        if word == WordSize::Bits64 && model.traits.sev_snp {
            guest.page.put_u32(offset_of!(boot_params, cc_blob_address), 0);
        }
        guest.page.sanitize(model.keeps_cc_blob);
        let command_line = CommandLine::read(&guest)?;
        let paging = paging::levels(
            &guest,
            model.traits,
            command_line.as_ref(),
            inputs.cpu.la57,
            inputs.entered_with_five_levels,
        )?;
        let console = Console::new(&guest.page, model.verbose);
        Ok(Started { guest, command_line, paging, console, kaslr: false })
    }

    /// Goes on to where the stub chooses a place.
    pub(super) fn extract_kernel(&mut self, model: &Model) -> Result<(), String> {
        self.clear_kaslr_flag();
        if model.traits.mem_encrypt {
            self.mem_encrypt();
        }
        let rsdp = rsdp::find(&mut self.guest, model.traits, self.console)?;
        self.guest.page.put_u64(offset_of!(boot_params, acpi_rsdp_addr), rsdp);
        self.debug("early console in extract_kernel\n");
        for name in ["input_data", "input_len", "output", "output_len"] {
            self.debug_address(name);
        }
        self.debug_address("kernel_total_size");
        self.debug_address("needed_size");
        if self.guest.word == WordSize::Bits64 {
            self.debug_address("trampoline_32bit");
        }
        if model.kaslr {
            self.kaslr = self.command_line.as_ref().is_some_and(|l| l.position("nokaslr") == 0);
            if self.kaslr {
                let flags = offset_of!(boot_params, hdr.loadflags);
                let value = self.guest.page.u8(flags);
                self.guest.page.put_u8(flags, value | KASLR_FLAG);
            } else {
                self.console.warn(&mut self.guest.page, "KASLR disabled: 'nokaslr' on cmdline.");
            }
        }
        Ok(())
    }

    fn clear_kaslr_flag(&mut self) {
        let flags = offset_of!(boot_params, hdr.loadflags);
        let value = self.guest.page.u8(flags);
        self.guest.page.put_u8(flags, value & !KASLR_FLAG);
    }

    /// `parse_mem_encrypt()`: of two contrary words the last one counts.
    fn mem_encrypt(&mut self) {
        let Some(line) = &self.command_line else { return };
        if line.position("mem_encrypt=on") > line.position("mem_encrypt=off") {
            let flags = offset_of!(boot_params, hdr.xloadflags);
            let value = self.guest.page.u8(flags);
            self.guest.page.put_u8(flags, value | XLF_MEM_ENCRYPTION as u8);
        }
    }

    /// What only a verbose stub says.
    pub fn debug(&mut self, text: &str) {
        self.console.debug(&mut self.guest.page, text);
    }

    /// `debug_putaddr()`: only the length matters here.
    fn debug_address(&mut self, name: &str) {
        let digits = self.guest.word.bits() as usize / 4;
        self.debug(&format!("{name}: 0x{:0>digits$}\n", ""));
    }
}
