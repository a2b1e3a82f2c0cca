// SPDX-License-Identifier: GPL-2.0-only
//! Runs in which a stub did everything right, made by hand and without any machine: for tests that spoil one thing, and ask
//! which rule speaks.

use std::sync::LazyLock;

use super::scene::Scene;
use super::{Judgement, Loaded, Rule, Subject, judge, serial};
use crate::case::{Case, place};
use crate::image::fixture::{BITS32, BITS64, Fixture, INVERSE, SETUP_SIZE, kernel};
use crate::image::{Compression, Image, WordSize};
use crate::machine::{
    BOOT_CS, BOOT_DS, CR0_PG, CR4_PAE, EFER_LMA, End, Fill, Outcome, PAGE, Ram, Registers, Setup,
    Table, Tile,
};
use crate::range::Range;
use crate::reference::{Memory, Prediction, relocate, shown};

pub const MIB: u64 = 1 << 20;
/// Size of the stub in memory.
pub const STUB: u64 = 0x4_0000;
/// `init_size`.
pub const INIT_SIZE: u64 = 8 * MIB;
/// What `startup_32` does first: finds itself by boot_params.scratch, and its copy by init_size and its own size.
const STARTUP: &[u8] =
    b"\x8d\xa6\xe8\x01\x00\x00\xe8\x00\x00\x00\x00\x03\x9e\x60\x02\x00\x00\x81\xeb\x00\x00\x04\x00";

/// What the stubs of both word sizes have for a descriptor table, code at 0x10, data at 0x18.
pub const GDT: [[u64; 6]; 2] = [
    [0, 0, 0x00cf_9a00_0000_ffff, 0x00cf_9200_0000_ffff, 0x0080_8900_0000_0000, 0],
    [
        0,
        0x00cf_9a00_0000_ffff,
        0x00af_9a00_0000_ffff,
        0x00cf_9200_0000_ffff,
        0x0080_8900_0000_0000,
        0,
    ],
];

/// RAM with the fill of [`Case::default`].
static TILE: LazyLock<Tile> = LazyLock::new(|| Tile::new(Fill(0)).unwrap());

/// One run, and what it was told.
pub struct Run {
    pub subject: Subject,
    pub case: Case,
    pub setup: Setup,
    pub outcome: Outcome,
}

/// The image of a kernel of 64 bytes with one relocation of each kind, and a stub that knows these words.
pub fn image(word: WordSize, release: &str, words: &str) -> Image {
    build(fixture(word, release, words))
}

/// The same, to be changed.
pub fn fixture(word: WordSize, release: &str, words: &str) -> Fixture {
    let (bits64, table, loops) = match word {
        WordSize::Bits64 => {
            let table = &[0, 0x8100_0020, 0, 0x8100_0010, 0, 0x8100_0008][..];
            (true, table, format!("{INVERSE}{BITS64}"))
        }
        WordSize::Bits32 => (false, &[0, 0xc100_0008][..], BITS32.to_owned()),
    };
    Fixture {
        init_size: INIT_SIZE as u32,
        kernel_version: format!("{release} (builder@host) #1 SMP"),
        stub_text: format!("{release} (builder@host) (cc 12) #1 SMP\0{loops}{words}"),
        ..Fixture::new(Compression::Gzip, &kernel(bits64, table))
    }
}

/// The image, with start-up code in it.
pub fn build(fixture: Fixture) -> Image {
    let mut file = fixture.build();
    file[SETUP_SIZE..][..STARTUP.len()].copy_from_slice(STARTUP);
    Image::parse(file).unwrap()
}

/// A kernel for i386 of 2.6.30, whose stub tells its size by how it copies itself, and knows these words.
pub fn vintage(words: &str) -> Image {
    // `lea 0x40(%esi), %esp; call 1f; 1:`, `lea _end(%ebp), %esi; lea _end(%ebx), %edi`
    const CODE: &[u8] =
        b"\x8d\x66\x40\xe8\x00\x00\x00\x00\x8d\xb5\x00\x00\x04\x00\x8d\xbb\x00\x00\x04\x00";
    let fixture = Fixture { version: 0x209, ..fixture(WordSize::Bits32, "2.6.30", words) };
    let mut file = fixture.build();
    file[SETUP_SIZE..][..CODE.len()].copy_from_slice(CODE);
    Image::parse(file).unwrap()
}

impl Run {
    /// A run of the default case: a kernel of 6.1 at 16 MiB that KASLR must not move.
    pub fn new(word: WordSize) -> Run {
        Run::of(image(word, "6.1.192", "nokaslr\0"), Case::default())
    }

    /// A run of `case` in which KASLR was to choose.
    pub fn chosen(word: WordSize) -> Run {
        let case = Case { command_line: Some("quiet".into()), ..Case::default() };
        Run::of(image(word, "6.1.192", "nokaslr\0"), case)
    }

    /// A run of `case`, in which all is as the reference says.
    pub fn of(image: Image, case: Case) -> Run {
        let subject = Subject::new(image).unwrap();
        let setup = place(&subject.image, subject.word, &case).unwrap();
        let mut ram = Ram::new(&TILE, &setup.ram).unwrap();
        for placed in std::iter::once(&setup.stub).chain(&setup.placed) {
            ram.write(placed.address, &placed.bytes).unwrap();
        }
        let outcome = Outcome {
            end: End::HandOff,
            registers: Registers::default(),
            ram,
            code: vec![setup.stub.range()],
            serial: Vec::new(),
            ports: Default::default(),
            page_faults: 0,
            timer_reads: 0,
            rdrand_reads: 0,
            tsc_reads: 0,
        };
        let mut run = Run { subject, case, setup, outcome };
        run.finish();
        run
    }

    /// Does what the stub must do.
    fn finish(&mut self) {
        let scene = self.scene();
        let placement = scene.placement;
        let unmoved = Prediction { output: placement.output, virt: self.subject.link.physical };
        let prediction = scene.prediction.clone().unwrap_or(unmoved);
        let said = scene.hand_over.as_ref().ok().and_then(|known| known.text.clone());
        let serial = serial::in_use(&scene).is_some();
        // Of stubs before 5.10 these are not known.
        let (hand_over, paging) = (scene.hand_over.clone(), scene.paging.clone());
        let word = self.subject.word;
        let copy = Range::sized(placement.copy.unwrap(), self.setup.stub.bytes.len() as u64);
        self.write(copy.start, &self.setup.stub.bytes.clone());
        let mut kernel = self.subject.moved.clone();
        let (table, link) = (&self.subject.table, self.subject.link);
        relocate(&mut kernel, table, link, prediction.output, prediction.virt).unwrap();
        self.write(prediction.output, &kernel);
        if let Ok(hand_over) = hand_over {
            self.write(self.setup.boot_params, &hand_over.bytes);
        }
        if let Some(trampoline) = paging.ok().and_then(|paging| paging.trampoline) {
            self.outcome.code.push(Range::sized(trampoline.start + PAGE, 0x70));
        }
        self.outcome.code.push(copy);
        self.print(&said.unwrap_or_default(), serial);

        let registers = &mut self.outcome.registers;
        registers.rip = prediction.output + self.subject.entry_offset();
        registers.general[6] = self.setup.boot_params;
        registers.selectors = [BOOT_DS, BOOT_CS, BOOT_DS, BOOT_DS, 0, 0];
        registers.gdtr = Table { base: copy.start + 0x100, limit: 0x2f };
        let gdt = GDT[usize::from(word == WordSize::Bits64)];
        registers.cr0 = 1;
        if word == WordSize::Bits64 {
            registers.cr0 |= CR0_PG;
            registers.cr4 = CR4_PAE;
            registers.efer = EFER_LMA;
            registers.cr3 = placement.window.end - 4 * PAGE;
            self.map_to_itself();
        }
        let gdt: Vec<u8> = gdt.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.write(copy.start + 0x100, &gdt);
    }

    /// Shows a text on the screen, if there is one, and sends it to the serial port if that is in use.
    pub fn print(&mut self, text: &str, serial: bool) {
        if serial {
            self.outcome.serial = text.replace('\n', "\r\n").into();
        }
        if self.case.screen {
            let screen = self.case.devices.screen_memory();
            let mut cells = vec![0; screen.len() as usize];
            let memory = Loaded(&self.setup);
            assert!(memory.read(screen.start, &mut cells));
            assert!(shown(&memory, self.setup.boot_params, text, &mut cells));
            self.write(screen.start, &cells);
        }
    }

    /// Page tables where CR3 says: a top level, a page of entries for 1 GiB each, and for the first of them one of entries
    /// for 2 MiB each.
    fn map_to_itself(&mut self) {
        let top = self.outcome.registers.cr3;
        let each = |size: u64| (0..512).flat_map(move |i| (i * size + 0x83).to_le_bytes());
        let mut tables: Vec<u8> =
            [0; PAGE as usize].into_iter().chain(each(1 << 30)).chain(each(2 * MIB)).collect();
        tables[..8].copy_from_slice(&(top + PAGE + 3).to_le_bytes());
        tables[PAGE as usize..][..8].copy_from_slice(&(top + 2 * PAGE + 3).to_le_bytes());
        self.write(top, &tables);
    }

    /// Where the entry of the page tables lies that maps 2 MiB at `address`, in the first GiB.
    pub fn entry_for(&self, address: u64) -> u64 {
        self.outcome.registers.cr3 + 2 * PAGE + (address >> 21) * 8
    }

    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        self.outcome.ram.write(address, bytes).unwrap();
    }

    /// Changes one bit of the byte at `address`.
    pub fn flip(&mut self, address: u64) {
        let byte = self.outcome.ram.slice(address, 1).unwrap()[0];
        self.write(address, &[byte ^ 1]);
    }

    pub fn scene(&self) -> Scene<'_> {
        Scene::new(&self.subject, &self.case, &self.setup, &self.outcome).unwrap()
    }

    pub fn judge(&self) -> Judgement {
        judge(&self.subject, &self.case, &self.setup, &self.outcome)
    }

    /// What all oracles say: rule and place of each finding, and why something cannot be judged.
    pub fn said(&self) -> Vec<String> {
        let judgement = self.judge();
        let findings = judgement.findings.iter().map(|f| format!("{}: {}", f.rule, f.place));
        findings.chain(judgement.not_judged).collect()
    }

    /// Moves the kernel to `output`, relocated for `virt`, and jumps there.
    pub fn moved(mut self, output: u64, virt: u64) -> Run {
        let mut kernel = self.subject.moved.clone();
        relocate(&mut kernel, &self.subject.table, self.subject.link, output, virt).unwrap();
        let old = self.judge().landing.unwrap().output;
        let before = self.setup.fill.page(old);
        self.write(old, &before);
        self.write(output, &kernel);
        self.outcome.registers.rip = output + self.subject.entry_offset();
        self
    }

    /// Place and actual value of what one rule says.
    pub fn found(&self, rule: Rule) -> Vec<(String, String)> {
        let findings = self.judge().findings.into_iter().filter(|found| found.rule == rule);
        findings.map(|found| (found.place, found.actual)).collect()
    }

    /// What one rule expected.
    pub fn expected(&self, rule: Rule) -> Vec<String> {
        let findings = self.judge().findings.into_iter().filter(|found| found.rule == rule);
        findings.map(|found| found.expected).collect()
    }
}

#[test]
fn the_first_relocatable_kernels_conform_too() {
    let run = Run::of(vintage(""), Case::default());
    assert!(run.subject.image.vintage().is_some());
    assert_eq!(run.said(), [] as [String; 0]);
    let mut other = Run::of(vintage(""), Case::default());
    other.outcome.registers.general[3] = 7;
    other.outcome.registers.gdtr.base = 0;
    assert_eq!(other.said(), ["hand-off: ebx"], "the loader's GDT stays");
}

#[test]
fn what_is_wrong_with_the_image_is_said_of_each_run() {
    let mut run = Run::new(WordSize::Bits64);
    run.subject.image_findings.push(super::Finding::new(Rule::Table, "table", "a", "b"));
    run.flip(0x500);
    assert_eq!(run.said(), ["table: table", "footprint: the loader's BIOS data"]);
}

#[test]
fn a_run_in_which_all_is_right_conforms() {
    for word in [WordSize::Bits64, WordSize::Bits32] {
        for run in [Run::new(word), Run::chosen(word)] {
            assert_eq!(run.said(), [] as [String; 0]);
            assert_eq!(run.judge().unpredicted, None);
        }
    }
}
