// SPDX-License-Identifier: GPL-2.0-only
//! What the stub does to boot_params before it chooses a place: from its entry (arch/x86/boot/compressed/head_64.S,
//! head_32.S) to the first lines of `extract_kernel()` (misc.c).
//!
//! The order is the one of a stub that does as it should: it cleans boot_params up before it reads a pointer from them.
//! Stubs before 6.14 that look for `no5lvl` earlier read the command line through what the loader may have left there.

use std::mem::offset_of;

use linux_raw_sys::bootparam::{XLF_MEM_ENCRYPTION, boot_params};

use super::console::Console;
use super::firmware::{rsdp, setup_data};
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
    pub(super) fn extract_kernel(
        &mut self,
        model: &Model,
        placement: &Placement,
    ) -> Result<(), String> {
        if model.maps_setup_data {
            setup_data::nodes(&self.guest)?;
        }
        self.clear_kaslr_flag();
        if model.traits.mem_encrypt {
            self.mem_encrypt();
        }
        let rsdp = rsdp::find(&mut self.guest, model.traits, self.console)?;
        self.guest.page.put_u64(offset_of!(boot_params, acpi_rsdp_addr), rsdp);
        self.debug("early console in extract_kernel\n");
        if model.verbose {
            self.tell_addresses(model, placement)?;
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

    fn tell_addresses(&mut self, model: &Model, placement: &Placement) -> Result<(), String> {
        let offset = model.input.ok_or("payload_offset is absent")?;
        let copy = placement.copy.ok_or("the size of the stub in memory is not known")?;
        let trampoline = self.paging.trampoline.map_or(0, |trampoline| trampoline.start);
        for (name, value) in [
            ("input_data", copy.wrapping_add(offset)),
            ("input_len", model.input_len),
            ("output", placement.output),
            ("output_len", model.output_len),
            ("kernel_total_size", model.total),
            ("needed_size", model.needed),
            ("trampoline_32bit", trampoline),
        ] {
            if name != "trampoline_32bit" || self.guest.word == WordSize::Bits64 {
                let digits = self.guest.word.bits() as usize / 4;
                self.debug(&format!("{name}: 0x{:0digits$x}\n", self.guest.long(value)));
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
}

#[cfg(test)]
mod tests {
    use super::super::inputs::{Cpu, Passed};
    use super::super::model::samples;
    use super::super::page::Page;
    use super::super::placement::Refusal;
    use super::super::testing::{Bytes, PARAMS};
    use super::*;

    const LINE: u64 = 0x1_8000;

    fn memory(line: &[u8]) -> Bytes {
        let mut memory = Bytes::new(0, 0x10_0000);
        memory.put(PARAMS + 0x211, &[0xff]);
        memory.put(PARAMS + 0x228, &(LINE as u32).to_le_bytes());
        memory.put(PARAMS + 0x13c, &[1; 4]);
        memory.put(LINE, line);
        memory
    }

    fn run(model: &Model, memory: &Bytes, bits32: bool) -> Result<Page, String> {
        let window = Range::sized(0x100_0000, 0x100_0000);
        let copy = Some(0x1c0_0000);
        let placement = Placement { output: 0x100_0000, window, copy, refusal: Refusal::Never };
        let inputs = Inputs {
            memory,
            cpu: Cpu::default(),
            load: 0x200_0000,
            entered_at_32_bits: bits32,
            entered_with_five_levels: false,
            boot_params: PARAMS,
        };
        let mut started = Started::page_tables(model, &placement, &inputs)?;
        started.extract_kernel(model, &placement)?;
        Ok(started.guest.page)
    }

    fn flags(line: &[u8]) -> (bool, bool) {
        let page = run(&samples::model(WordSize::Bits64), &memory(line), false).unwrap();
        (page.u8(0x211) & 2 != 0, page.u8(0x236) & 0x80 != 0)
    }

    #[test]
    fn flags_follow_the_command_line() {
        for (line, kaslr, encrypt) in [
            (&b""[..], true, false),
            (b"nokaslr", false, false),
            (b"mem_encrypt=on", true, true),
            (b"mem_encrypt=on mem_encrypt=off", true, false),
            (b"mem_encrypt=off nokaslr mem_encrypt=on", false, true),
            (b"mem_encrypt=onx", true, false),
        ] {
            assert_eq!(flags(line), (kaslr, encrypt), "{}", String::from_utf8_lossy(line));
        }
        let mut already = memory(b"mem_encrypt=on");
        already.put(PARAMS + 0x236, &[0x80]);
        let page = run(&samples::model(WordSize::Bits64), &already, false).unwrap();
        assert_eq!(page.u8(0x236), 0x80, "the loader had set it");
        let mut absent = memory(b"mem_encrypt=on");
        absent.put(PARAMS + 0x228, &[0; 4]);
        let page = run(&samples::model(WordSize::Bits64), &absent, false).unwrap();
        assert_eq!((page.u8(0x211), page.u8(0x236)), (0xfd, 0));
    }

    #[test]
    fn the_entry_leaves_its_traces() {
        let wide = samples::model(WordSize::Bits64);
        let narrow = samples::model(WordSize::Bits32);
        let at_32 = run(&wide, &memory(b""), true).unwrap();
        assert_eq!((at_32.u32(0x1e4), at_32.u32(0x13c)), (0x200_000d, 0));
        let at_64 = run(&wide, &memory(b""), false).unwrap();
        assert_eq!((at_64.u32(0x1e4), at_64.u32(0x13c)), (0, 0));
        assert_eq!(run(&narrow, &memory(b""), true).unwrap().u32(0x13c), 0x101_0101);
    }

    #[test]
    fn pointers_that_are_cleaned_away_are_not_followed() {
        let mut dirty = memory(b"nokaslr");
        dirty.put(PARAMS + 0xc8, &[0xff; 4]);
        let model = samples::model(WordSize::Bits64);
        assert!(run(&model, &dirty, false).unwrap_err().contains("not RAM"));
        dirty.put(PARAMS + 0x1ef, &[1]);
        let page = run(&model, &dirty, false).unwrap();
        assert_eq!((page.u32(0xc8), page.u8(0x1ef), page.u8(0x211)), (0, 0, 0xfd));
    }

    #[test]
    fn what_the_stub_overwrites_is_not_believed() {
        let mut inside = memory(b"");
        inside.put(PARAMS + 0x228, &0x200_1000u32.to_le_bytes());
        let error = run(&samples::model(WordSize::Bits64), &inside, false).unwrap_err();
        assert!(error.contains("command line"), "{error}");
    }

    #[test]
    fn a_list_without_end_is_told_even_without_kaslr() {
        let mut circle = memory(b"nokaslr");
        circle.put(PARAMS + 0x250, &0x2000u64.to_le_bytes());
        circle.put(0x2000, &0x2000u64.to_le_bytes());
        let mut model = samples::model(WordSize::Bits64);
        assert!(run(&model, &circle, false).unwrap_err().contains("no end"));
        model.maps_setup_data = false;
        assert!(run(&model, &circle, false).is_ok());
    }

    #[test]
    fn the_loader_may_change_alignment_and_size() {
        let mut memory = memory(b"");
        memory.put(PARAMS + 0x230, &0x20_0000u32.to_le_bytes());
        memory.put(PARAMS + 0x260, &0x300_0000u32.to_le_bytes());
        let passed = Passed { kernel_alignment: 0x20_0000, init_size: 0x300_0000 };
        assert_eq!(Passed::read(&memory, PARAMS), Some(passed));
        assert_eq!(Passed::read(&memory, 0xf_ff00), None);
    }

    #[test]
    fn the_root_of_acpi_is_left_in_boot_params() {
        let mut memory = memory(b"");
        let mut root = [0; 36];
        root[..8].copy_from_slice(b"RSD PTR ");
        super::super::testing::checksum(&mut root[..20], 8);
        memory.put(0xe_0000, &root);
        let page = run(&samples::model(WordSize::Bits64), &memory, false).unwrap();
        assert_eq!(page.u64(0x70), 0xe_0000);
    }

    #[test]
    fn a_verbose_stub_lists_its_addresses() {
        for (word, digits, last) in
            [(WordSize::Bits64, 16, &["trampoline_32bit"][..]), (WordSize::Bits32, 8, &[])]
        {
            let names = ["input_data", "input_len", "output", "output_len", "kernel_total_size"];
            let names = names.iter().chain(&["needed_size"]).chain(last);
            let addresses = names.map(|name| format!("{name}: 0x{}", "0".repeat(digits)));
            let first = ["No EFI environment detected.", "early console in extract_kernel"];
            let texts: Vec<_> = first.map(str::to_owned).into_iter().chain(addresses).collect();
            // Each text is a line, or two where the screen is narrow.
            for columns in [80, 37, 36, 32, 30, 29] {
                let mut memory = memory(b"");
                memory.put(PARAMS + 0x07, &[columns]);
                memory.put(PARAMS + 0x0e, &[100]);
                let model = Model { verbose: true, ..samples::model(word) };
                let lines: usize = texts.iter().map(|t| 1 + t.len() / columns as usize).sum();
                let page = run(&model, &memory, false).unwrap();
                assert_eq!(usize::from(page.u8(1)), lines, "{columns} columns, {word}");
            }
        }
    }
}
