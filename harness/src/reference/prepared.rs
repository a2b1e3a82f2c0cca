// SPDX-License-Identifier: GPL-2.0-only
//! The stub of one run, stopped before its first random number, so that one run can be asked about many numbers.

use super::Cpu;
use super::hand_over::HandOver;
use super::kaslr::{Area, Choice, Prediction, Run};
use super::model::Model;
use super::page::Page;
use super::paging::Paging;
use super::start::Started;
use crate::image::WordSize;

/// The stub of one run, ready to draw its random numbers: any number of times, with other answers of the CPU.
pub struct Prepared<'a> {
    model: &'a Model,
    started: Started<'a>,
    choice: Option<Choice>,
    hash: u64,
    output: u64,
}

impl<'a> Prepared<'a> {
    /// Where `started` has come, with what there is to choose from and the hash of its boot_params.
    pub(super) fn new(
        model: &'a Model,
        started: Started<'a>,
        choice: Option<Choice>,
        hash: u64,
        output: u64,
    ) -> Prepared<'a> {
        Prepared { model, started, choice, hash, output }
    }

    /// Levels of page tables at the hand-off, and the trampoline by which they are changed.
    pub fn paging(&self) -> Paging {
        self.started.paging
    }

    /// What there is to choose from; `None` if the command line forbids KASLR, or the stub knows none.
    pub fn choice(&self) -> Option<&Choice> {
        self.choice.as_ref()
    }

    /// Places where the kernel fits, in the order in which they are counted.
    pub fn areas(&self) -> &[Area] {
        self.choice.as_ref().map_or(&[], |choice| &choice.areas)
    }

    /// What the stub chooses if the CPU and the timer answer like this. `la57` was decided by
    /// [`Model::prepare`] and is not looked at.
    pub fn choose(&self, cpu: Cpu) -> Prediction {
        self.run(cpu).0
    }

    /// boot_params as the kernel must find them.
    ///
    /// # Errors
    ///
    /// The stub reads what is not there.
    pub fn boot_params(&self, cpu: Cpu) -> Result<HandOver, String> {
        let (prediction, page) = self.run(cpu);
        let mut started = self.started.clone();
        started.guest.page = page;
        HandOver::after(self.model, started, prediction)
    }

    fn run(&self, cpu: Cpu) -> (Prediction, Page) {
        let (model, output) = (self.model, self.output);
        let page = self.started.guest.page.clone();
        let Some(choice) = &self.choice else {
            let virt = match model.link.word {
                WordSize::Bits32 => output,
                WordSize::Bits64 => model.link.physical,
            };
            return (Prediction { output, virt }, page);
        };
        let mut run = Run::new(model, cpu, self.started.console, page, self.hash);
        let prediction = choice.draw(&mut run, output);
        (prediction, run.page)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::Inputs;
    use super::super::kaslr::rotate_hash;
    use super::super::model::samples;
    use super::super::placement::{Placement, Refusal};
    use super::super::testing::{Bytes, PARAMS, e820_table};
    use super::*;
    use crate::range::Range;

    const LINE: u64 = 0x1_8000;
    const MIB: u64 = 1 << 20;

    /// Free RAM from 16 MiB to 48 MiB, the stub's window at 64 MiB, and an empty command line.
    fn memory() -> Bytes {
        let mut memory = Bytes::new(0, 0x10_0000);
        memory.put(PARAMS + 0x228, &(LINE as u32).to_le_bytes());
        e820_table(&mut memory, PARAMS, &[(16 * MIB, 32 * MIB, 1)]);
        memory
    }

    fn screen(memory: &mut Bytes) {
        memory.put(PARAMS + 0x07, &[80]);
        memory.put(PARAMS + 0x0e, &[25]);
    }

    fn placement(output: u64) -> Placement {
        let window = Range::sized(output, 16 * MIB);
        let copy = Some(output.saturating_add(12 * MIB));
        Placement { output, window, copy, refusal: Refusal::Never }
    }

    fn inputs<'a>(memory: &'a Bytes, cpu: Cpu<'a>) -> Inputs<'a> {
        Inputs {
            memory,
            cpu,
            load: 0x800_0000,
            entered_at_32_bits: false,
            entered_with_five_levels: false,
            boot_params: PARAMS,
        }
    }

    /// What KASLR makes of `seed`, on x86_64.
    fn mixed(seed: u64) -> u64 {
        let product = u128::from(seed) * 0x5d60_08cb_f384_8dd3;
        (product as u64).wrapping_add((product >> 64) as u64)
    }

    /// The page at [`PARAMS`] as it is hashed.
    fn hash(model: &Model, memory: &Bytes, change: impl FnOnce(&mut [u8])) -> u64 {
        let mut page = [0; 4096];
        assert!(super::super::Memory::read(memory, PARAMS, &mut page));
        page[0x211] |= 2;
        change(&mut page);
        rotate_hash(model.link.word, model.seed.unwrap(), &page)
    }

    #[test]
    fn each_draw_chooses_among_its_places() {
        let model = samples::model(WordSize::Bits64);
        let memory = memory();
        let place = placement(64 * MIB);
        let prepared = model.prepare(&place, &inputs(&memory, Cpu::default())).unwrap();
        let choice = prepared.choice().unwrap();
        // The window begins behind the RAM; the lowest place is the output, which is above it.
        assert_eq!((choice.physical_slots(), choice.virtual_slots), (0, 497));
        let place = placement(16 * MIB);
        let prepared = model.prepare(&place, &inputs(&memory, Cpu::default())).unwrap();
        // From 16 MiB to where the stub's input is at 28 MiB and 1 KiB there is no room; from 32 MiB there is.
        assert_eq!(prepared.areas(), [Area { start: 32 * MIB, count: 1 }]);
        let mut far = self::memory();
        e820_table(&mut far, PARAMS, &[(32 * MIB, 22 * MIB, 1), (100 * MIB, 18 * MIB, 1)]);
        let prepared = model.prepare(&place, &inputs(&far, Cpu::default())).unwrap();
        assert_eq!(prepared.choice().unwrap().physical_slots(), 6);
        let places = [32, 34, 36, 38, 100, 102].map(|mib| mib * MIB);
        let seed = hash(&model, &far, |_| {});
        for (first, second) in [(0, 1), (77, 3), (1 << 40, u64::MAX)] {
            let values = [first, second];
            let cpu = Cpu { rdrand: Some(&values), ..Cpu::default() };
            let prediction = prepared.choose(cpu);
            assert_eq!(prediction.output, places[(mixed(seed ^ first) % 6) as usize]);
            assert_eq!(prediction.virt, 16 * MIB + mixed(seed ^ second) % 497 * 2 * MIB);
            assert_eq!(model.predict(&place, &inputs(&far, cpu)), Ok(prediction));
        }
    }

    #[test]
    fn many_draws_are_cheap_and_hit_every_place() {
        let model = samples::model(WordSize::Bits64);
        let mut memory = memory();
        screen(&mut memory);
        e820_table(&mut memory, PARAMS, &[(32 * MIB, 22 * MIB, 1)]);
        let place = placement(16 * MIB);
        let prepared = model.prepare(&place, &inputs(&memory, Cpu::default())).unwrap();
        let hit: BTreeSet<u64> = (0..2000u64)
            .map(|value| {
                prepared.choose(Cpu { tsc: Some(&[value, value]), ..Cpu::default() }).output
            })
            .collect();
        assert_eq!(hit.into_iter().collect::<Vec<_>>(), [32, 34, 36, 38].map(|mib| mib * MIB));
    }

    #[test]
    fn a_warning_changes_the_second_draw() {
        let model = samples::model(WordSize::Bits64);
        let mut memory = memory();
        screen(&mut memory);
        let place = placement(64 * MIB);
        let prepared = model.prepare(&place, &inputs(&memory, Cpu::default())).unwrap();
        let timer = [9];
        let cpu = Cpu { timer: &timer, ..Cpu::default() };
        // "Invalid physical address chosen!" with its own end of line, then "Physical KASLR disabled".
        let seed = hash(&model, &memory, |page| page[1] = 5 + 4);
        let expected =
            Prediction { output: 64 * MIB, virt: 16 * MIB + mixed(seed ^ 9) % 497 * 2 * MIB };
        assert_eq!(prepared.choose(cpu), expected);
        let after = prepared.boot_params(cpu).unwrap();
        assert_eq!((after.bytes[0], after.bytes[1], after.unknown), (0, 9, vec![]));
    }

    #[test]
    fn a_verbose_stub_moves_the_cursor_all_the_time() {
        let mut model = samples::model(WordSize::Bits64);
        model.verbose = true;
        let mut memory = memory();
        screen(&mut memory);
        e820_table(&mut memory, PARAMS, &[(32 * MIB, 16 * MIB, 1)]);
        let place = placement(16 * MIB);
        let prepared = model.prepare(&place, &inputs(&memory, Cpu::default())).unwrap();
        let cpu = Cpu { tsc: Some(&[4]), ..Cpu::default() };
        // No EFI, early console, seven addresses; "Physical KASLR using RDTSC...".
        let seed = hash(&model, &memory, |page| page[1] = 9 + 1);
        assert_eq!(prepared.choose(cpu).virt, 16 * MIB + mixed(seed ^ 4) % 497 * 2 * MIB);
        // "Virtual KASLR ...", an empty line, "Decompressing ... done.", "Booting ...".
        assert_eq!(prepared.boot_params(cpu).unwrap().bytes[..2], [0, 10 + 1 + 1 + 1 + 1]);
        let mut forbidden = memory;
        forbidden.put(LINE, b"nokaslr");
        let after = model.boot_params(&place, &inputs(&forbidden, cpu)).unwrap();
        // The warning takes four lines.
        assert_eq!(after.bytes[..2], [0, 9 + 4 + 1 + 1 + 1]);
    }

    #[test]
    fn forbidden_it_stays_where_it_is() {
        let mut memory = memory();
        memory.put(LINE, b"nokaslr");
        let place = placement(64 * MIB);
        for (word, virt) in [(WordSize::Bits64, 16 * MIB), (WordSize::Bits32, 64 * MIB)] {
            let model = samples::model(word);
            let inputs = inputs(&memory, Cpu::default());
            let prepared = model.prepare(&place, &inputs).unwrap();
            assert!(prepared.choice().is_none());
            assert_eq!(prepared.choose(inputs.cpu), Prediction { output: 64 * MIB, virt });
        }
    }

    #[test]
    fn i386_draws_once_and_below_512_mib() {
        let model = samples::model(WordSize::Bits32);
        let mut memory = memory();
        e820_table(&mut memory, PARAMS, &[(480 * MIB, 100 * MIB, 1)]);
        let place = placement(16 * MIB);
        let prepared = model.prepare(&place, &inputs(&memory, Cpu::default())).unwrap();
        let choice = prepared.choice().unwrap();
        assert_eq!(choice.areas, [Area { start: 480 * MIB, count: 9 }]);
        assert_eq!((choice.physical_slots(), choice.virtual_slots), (9, 1));
        let prediction = prepared.choose(Cpu { rdrand: Some(&[5]), ..Cpu::default() });
        assert_eq!(prediction.output, prediction.virt);
    }

    #[test]
    fn limits_reach_with_the_levels_of_page_tables() {
        let model = samples::model(WordSize::Bits64);
        let mut memory = memory();
        e820_table(&mut memory, PARAMS, &[(1 << 46, 18 * MIB, 1)]);
        let place = placement(16 * MIB);
        let areas = |cpu| model.prepare(&place, &inputs(&memory, cpu)).unwrap().areas().to_vec();
        assert_eq!(areas(Cpu::default()), []);
        let five = Cpu { la57: true, ..Cpu::default() };
        assert_eq!(areas(five), [Area { start: 1 << 46, count: 2 }]);
    }

    #[test]
    fn an_unpredictable_choice_leaves_the_rest_of_boot_params_known() {
        let model = samples::model(WordSize::Bits64);
        let mut memory = memory();
        screen(&mut memory);
        // A map of EFI's that is not there, and ACPI's root given.
        memory.put(PARAMS + 0x1c0, b"EL64");
        memory.put(PARAMS + 0x1c8, &[40]);
        memory.put(PARAMS + 0x1d2, &[0xff, 0xff, 40]);
        memory.put(PARAMS + 0x70, &[1]);
        let place = placement(16 * MIB);
        let inputs = inputs(&memory, Cpu::default());
        assert!(model.predict(&place, &inputs).is_err());
        let after = model.boot_params(&place, &inputs).unwrap();
        assert_eq!((after.bytes[0x211], after.unknown.len()), (2, 1));
        assert_eq!(after.unknown[0], 0..2);
        memory.put(LINE, b"nokaslr");
        assert_eq!(
            model.predict(&place, &self::inputs(&memory, Cpu::default())).unwrap().output,
            16 * MIB
        );
    }

    /// Words that loaders and attackers may leave anywhere: pointers to other garbage, borders, and noise.
    fn garbage() -> impl Strategy<Value = u64> {
        prop_oneof![
            (0u64..0x4_0000).prop_map(|address| address & !7),
            Just(0),
            Just(u64::MAX),
            (0u32..64).prop_map(|bit| (1 << bit) - 1),
            Just(u64::from_le_bytes(*b"EL64EL32")),
            Just(u64::from_le_bytes(*b"SRAT\x30\x01\0\0")),
            Just(u64::from_le_bytes(*b"memmap=1")),
            Just(u64::from_le_bytes(*b"G$1G,2M ")),
            any::<u64>(),
        ]
    }

    proptest! {
        #[test]
        fn no_garbage_makes_it_panic_or_hang(
            words in proptest::collection::vec(garbage(), 0x4_0000 / 8 / 16),
            strides in proptest::collection::vec(0usize..16, 64),
            fields in proptest::collection::btree_map(
                proptest::sample::select(vec![
                    0x00, 0x07, 0x0e, 0x70, 0xc0, 0xc4, 0xc8, 0x1c0, 0x1c4, 0x1c8, 0x1d0, 0x1d4, 0x1dc,
                    0x1e8, 0x1ef, 0x218, 0x21c, 0x228, 0x250, 0x260, 0x2d0, 0x2d8, 0x2e0,
                ]),
                garbage(),
                0..12,
            ),
            wide in any::<bool>(),
            verbose in any::<bool>(),
            load in garbage(),
        ) {
            let mut memory = Bytes::new(0, 0x4_0000);
            for (index, word) in words.iter().enumerate() {
                let at = index * 16 + strides[index % strides.len()];
                memory.put(at as u64 * 8 % 0x3_fff8, &word.to_le_bytes());
            }
            memory.put(PARAMS, &[0; 4096]);
            memory.put(PARAMS + 0x228, &(LINE as u32).to_le_bytes());
            for (offset, value) in &fields {
                memory.put(PARAMS + offset, &value.to_le_bytes());
            }
            let mut model = samples::model(if wide { WordSize::Bits64 } else { WordSize::Bits32 });
            model.verbose = verbose;
            model.traits.srat = true;
            model.traits.srat_limit = Some(128);
            model.traits.acpi_rsdp = true;
            model.traits.unaccepted_memory = true;
            model.traits.efi_fake_mem = true;
            model.handover = super::super::kaslr::Handover::Known;
            let place = placement(load.max(16 * MIB) & !0xfff);
            let inputs = Inputs { load, ..inputs(&memory, Cpu { la57: true, ..Cpu::default() }) };
            let _ = model.paging(&place, &inputs);
            let _ = model.boot_params(&place, &inputs);
        }
    }
}
