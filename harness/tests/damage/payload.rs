// SPDX-License-Identifier: GPL-2.0-only
//! Damage to the compressed kernel, to its ELF headers, and to what the setup header says of it.

use relocheck::case::place;
use relocheck::exit::Exit;
use relocheck::image::Image;
use relocheck::machine::{End, Outcome};
use relocheck::oracle::{Rule, Subject, SubjectError};

use crate::bench::{
    By, CLOUD, I386, Kernel, LINKED, LOAD, LOW, Misled, Trials, assert_says, engine, hex, kaslr,
    plain, said,
};
use crate::table::packed;

/// Offsets of setup header fields in the file.
const XLOADFLAGS: usize = 0x236;
pub const PREF_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;
/// Offsets in an ELF64 file and in its program headers.
const E_PHOFF: usize = 0x20;
const E_PHENTSIZE: usize = 56;
const P_PADDR: usize = 0x18;
const P_ALIGN: usize = 0x30;

pub fn add(trials: &mut Trials) {
    let mut on = |kernel, name, test| trials.on(kernel, name, test);
    on(CLOUD, "payload::a_block_length_flipped_is_refused", block_length);
    on(CLOUD, "payload::a_token_flipped_is_refused_and_halts_the_stub", token);
    on(CLOUD, "payload::a_byte_flipped_in_the_middle_is_never_a_difference", flipped_literal);
    on(I386, "payload::a_byte_flipped_under_a_checksum_is_refused_and_halts_the_stub", checksum);
    on(CLOUD, "payload::no_elf_magic_is_refused_and_halts_the_stub", magic);
    on(CLOUD, "payload::an_unaligned_segment_halts_the_stub", alignment);
    on(CLOUD, "payload::a_segment_moved_away_from_its_virtual_address_is_found", moved_segment);
    on(CLOUD, "payload::a_segment_moved_out_of_the_output_is_found", lost_segment);
    on(CLOUD, "payload::a_pref_address_that_lies_is_found", pref_address);
    on(CLOUD, "payload::xloadflags_that_forbid_the_upper_half_are_found", xloadflags);
    on(I386, "payload::an_init_size_without_the_bss_is_found", init_size_without_bss);
    on(CLOUD, "payload::an_init_size_below_the_output_is_refused", small_init_size);
    on(CLOUD, "payload::an_init_size_without_the_margin_is_found", tight_init_size);
}

/// What the image's own stub does, where the reference refuses the image: the case is that of the undamaged twin.
fn run_anyway(kernel: &Kernel, file: Vec<u8>) -> Outcome {
    let case = plain(kernel, LOAD);
    kernel.conforms(&case);
    let image = Image::parse(file).expect("the damage leaves a bzImage");
    let setup = place(&image, kernel.subject().word, &case).expect("the twin can be loaded so");
    engine().run(&setup).expect("the engine runs")
}

fn assert_halts(outcome: &Outcome, text: &str) {
    assert_eq!(outcome.end, End::Halted);
    let serial = String::from_utf8_lossy(&outcome.serial);
    assert!(serial.contains(text) && serial.contains("System halted"), "{serial}");
}

/// The reference's refusal: exit code and message.
fn refusal(file: Vec<u8>) -> (Exit, String) {
    match Image::parse(file).map_err(SubjectError::from).and_then(Subject::new) {
        Ok(_) => panic!("the image is accepted"),
        Err(error) => (error.exit(), error.to_string()),
    }
}

/// Offset in the file of the compressed kernel.
fn payload(kernel: &Kernel) -> usize {
    kernel.image.header().setup_size() + kernel.image.payload().range.start
}

/// The stub goes by the length that comes out of a block, not by the one that the block claims: it does not notice.
fn block_length(kernel: &Kernel) {
    let mut file = kernel.image.file().to_vec();
    // Of LZ4's first block, behind the magic: shorter by 64 KiB.
    file[payload(kernel) + 4 + 2] ^= 1;
    let (exit, message) = refusal(file.clone());
    assert_eq!(exit, Exit::Usage);
    assert!(message.starts_with("payload: lz4 data: "), "{message}");
    assert_eq!(run_anyway(kernel, file).end, End::HandOff);
}

/// The first token of the first block: how many literals follow.
fn token(kernel: &Kernel) {
    let mut file = kernel.image.file().to_vec();
    file[payload(kernel) + 8] ^= 0xf0;
    let (exit, message) = refusal(file.clone());
    assert_eq!(exit, Exit::Usage);
    assert!(message.starts_with("payload: lz4 data: "), "{message}");
    assert_halts(&run_anyway(kernel, file), "Decoding failed");
}

/// LZ4 has no checksum. What still decodes is another kernel, and stub and reference agree on it; what does not is refused.
fn flipped_literal(kernel: &Kernel) {
    let start = payload(kernel);
    let len = kernel.image.payload().range.len();
    let mut decoded = 0;
    for eighth in 1..8 {
        let mut file = kernel.image.file().to_vec();
        file[start + len * eighth / 8] ^= 0x10;
        match Image::parse(file.clone()).map_err(SubjectError::from).and_then(Subject::new) {
            Ok(subject) => {
                decoded += 1;
                if decoded == 1 {
                    assert!(subject.moved != kernel.subject().moved);
                    assert_says(&kernel.damaged(file, &plain(kernel, LOAD), &[]), &[]);
                }
            }
            Err(error) => assert_eq!(error.exit(), Exit::Usage, "{error}"),
        }
    }
    assert!(decoded > 0, "one flip of seven hits a literal");
}

fn checksum(kernel: &Kernel) {
    let mut file = kernel.image.file().to_vec();
    // Early, so that the stub stops early.
    file[payload(kernel) + 0x1_0000] ^= 1;
    let (exit, message) = refusal(file.clone());
    assert_eq!(exit, Exit::Usage);
    assert!(message.starts_with("payload: xz data: "), "{message}");
    assert_halts(&run_anyway(kernel, file), "XZ-compressed data is corrupt");
}

fn magic(kernel: &Kernel) {
    let file = packed(kernel, |payload| payload[1] = b'e');
    let (exit, message) = refusal(file.clone());
    assert_eq!(exit, Exit::CannotJudge);
    assert!(
        message.contains("starts with 7f 65 4c 46") && message.contains("expected an ELF file")
    );
    assert_halts(&run_anyway(kernel, file), "Kernel is not a valid ELF file");
}

/// Overwrites a field of the second PT_LOAD's program header.
fn edit_segment(kernel: &Kernel, field: usize, edit: impl Fn(u64) -> u64) -> Vec<u8> {
    packed(kernel, |payload| {
        let word =
            |payload: &[u8], at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
        let headers = word(payload, E_PHOFF) as usize;
        let mut loads = (0..)
            .map(|n| headers + n * E_PHENTSIZE)
            .filter(|at| payload[*at..at + 4] == [1, 0, 0, 0]);
        let at = loads.nth(1).unwrap() + field;
        let value = edit(word(payload, at));
        payload[at..at + 8].copy_from_slice(&value.to_le_bytes());
    })
}

fn alignment(kernel: &Kernel) {
    let file = edit_segment(kernel, P_ALIGN, |_| 0x1000);
    let who = [By::Image, By::Instruction("hlt")].map(Misled);
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    let text = "stopped: Alignment of LOAD segment isn't multiple of 2MB";
    let image = (Rule::Placement, "segment 1", "p_align a multiple of 0x200000", "0x1000");
    let halt = (Rule::Halt, "stub+0x", "the jump into the kernel", text);
    assert_says(&judgement, &[image, halt]);
}

/// The stub moves the segment where its header says, and the reference agrees; but the kernel was linked for elsewhere.
fn moved_segment(kernel: &Kernel) {
    let right = kernel.subject().segments[1].paddr;
    let wrong = right - 0x20_0000;
    let file = edit_segment(kernel, P_PADDR, |_| wrong);
    let expected = format!("p_paddr {right:#x}, for p_vaddr 0xffffffff8");
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD)] {
        let judgement = kernel.damaged(file.clone(), &case, &[Misled(By::Image)]);
        assert_says(&judgement, &[(Rule::Placement, "segment 1", &expected, &hex(wrong))]);
    }
}

fn lost_segment(kernel: &Kernel) {
    let right = kernel.subject().segments[1].paddr;
    let wrong = right + (1 << 30);
    let file = edit_segment(kernel, P_PADDR, |_| wrong);
    let who = [By::Image, By::Image, By::Instruction("")].map(Misled);
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    let expected = format!("p_paddr {right:#x}, for p_vaddr 0xffffffff8");
    let found = &judgement.findings[0];
    assert_eq!((found.rule, &found.place[..]), (Rule::Placement, "segment 1"));
    assert!(found.expected.contains(&expected) && found.actual == hex(wrong), "{found}");
}

/// The image with a field of its setup header overwritten.
pub fn edit_header(kernel: &Kernel, field: usize, value: &[u8]) -> Vec<u8> {
    let mut file = kernel.image.file().to_vec();
    file[field..field + value.len()].copy_from_slice(value);
    file
}

/// The stub does as it was compiled; the loader is misled.
fn pref_address(kernel: &Kernel) {
    let lie = 2 * LINKED;
    let file = edit_header(kernel, PREF_ADDRESS, &lie.to_le_bytes());
    let found =
        (Rule::Placement, "pref_address", "0x1000000, which the kernel is linked for", "0x2000000");
    for load in [LOW, LOAD] {
        let judgement = kernel.damaged(file.clone(), &plain(kernel, load), &[Misled(By::Image)]);
        assert_says(&judgement, &[found]);
    }
}

fn xloadflags(kernel: &Kernel) {
    const CAN_BE_LOADED_ABOVE_4G: u16 = 2;
    let flags = kernel.image.header().xloadflags.unwrap() & !CAN_BE_LOADED_ABOVE_4G;
    let file = edit_header(kernel, XLOADFLAGS, &flags.to_le_bytes());
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &[Misled(By::Image)]);
    let expected = "KERNEL_64 and CAN_BE_LOADED_ABOVE_4G";
    assert_says(&judgement, &[(Rule::Placement, "xloadflags", expected, &hex(flags.into()))]);
}

fn init_size_without_bss(kernel: &Kernel) {
    let lie = kernel.subject().total_size() as u32 - 1;
    let file = edit_header(kernel, INIT_SIZE, &lie.to_le_bytes());
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &[Misled(By::Image)]);
    let expected = "or more, which the kernel's segments take";
    assert_says(&judgement, &[(Rule::Placement, "init_size", expected, &hex(lie.into()))]);
}

fn small_init_size(kernel: &Kernel) {
    let lie = kernel.image.payload().output_len - 1;
    let (exit, message) = refusal(edit_header(kernel, INIT_SIZE, &lie.to_le_bytes()));
    assert_eq!(exit, Exit::Usage);
    assert!(message.contains(&format!("init_size allows at most {lie}")), "{message}");
}

/// Room for the kernel, but not for decompressing it in place: the output catches up with the input.
fn tight_init_size(kernel: &Kernel) {
    let lie = kernel.image.payload().output_len.next_multiple_of(0x1000);
    let file = edit_header(kernel, INIT_SIZE, &lie.to_le_bytes());
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &[Misled(By::Overwritten(""))]);
    // What the stub's decompressor makes of overwritten input differs from kernel to kernel.
    let [finding] = &judgement.findings[..] else { panic!("{}", said(&judgement)) };
    assert!([Rule::Halt, Rule::Fault].contains(&finding.rule), "{finding}");
    assert!(finding.place.starts_with("stub+0x"), "{finding}");
}
