// SPDX-License-Identifier: GPL-2.0-only
//! Stubs that do as they should by what they happen to find in memory that nobody has written. One
//! run of them conforms: only a second one, with another fill, shows it.

use relocheck::case::Case;
use relocheck::machine::Fill;
use relocheck::oracle::Rule;

use crate::bench::{
    By, CLOUD, Changed, Kernel, LOAD, Misled, Trials, Who, assert_says, judge, plain,
};
use crate::patch::{EXTRACT, detour};

/// Where nobody has written.
const FAR: u64 = 768 << 20;
const SECOND: u64 = 2;
/// Where the two runs part is not known.
const COMPARED: By = By::NoOne("it shows only when runs with two fills are compared");

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("fill::a_register_with_what_memory_held_is_found", register);
    cloud("fill::an_end_that_memory_decides_is_found", end);
    cloud("fill::a_text_that_memory_decides_is_found", text);
}

/// A bit of the byte at the address that this returns is clear in the first fill and set in the
/// second.
fn differing(case: &Case, bit: u8) -> [u8; 4] {
    let (first, second) = (Fill(case.fill).page(FAR), Fill(SECOND).page(FAR));
    let differs = |(a, b): (&u8, &u8)| a & bit == 0 && b & bit != 0;
    let at = first.iter().zip(&second).position(differs).expect("the fills differ");
    (FAR as u32 + at as u32).to_le_bytes()
}

/// `file` conforms with one fill; with two, it says this at `place`.
fn assert_told_by_fill(
    kernel: &Kernel,
    file: Vec<u8>,
    (place, first, second): (&str, &str, &str),
    who: Who,
) {
    let case = plain(kernel, LOAD);
    assert_says(&judge(file.clone(), &case), &[]);
    let case = Case { second_fill: Some(SECOND), ..case };
    assert_says(&kernel.damaged(file, &case, &[who]), &[(Rule::Fill, place, first, second)]);
}

/// `mov ..., %rbx`, which C code keeps and nobody clears.
fn register(kernel: &Kernel) {
    let [a, b, c, d] = (FAR as u32).to_le_bytes();
    let (file, _) = detour(kernel, EXTRACT, 6, &[0x48, 0x8b, 0x1c, 0x25, a, b, c, d]);
    let word = |fill: u64| u64::from_le_bytes(Fill(fill).page(FAR)[..8].try_into().unwrap());
    let first = format!("{:#x}, as with the first fill", word(plain(kernel, LOAD).fill));
    let second = format!("{:#x}", word(SECOND));
    let who = Changed(By::Chosen("mov 0x30000000,%rbx"));
    assert_told_by_fill(kernel, file, ("rbx", &first, &second), who);
}

/// `testb $1, ...; je` over `hlt`.
fn end(kernel: &Kernel) {
    let [a, b, c, d] = differing(&plain(kernel, LOAD), 1);
    let code = [0xf6, 0x04, 0x25, a, b, c, d, 1, 0x74, 1, 0xf4];
    let (file, _) = detour(kernel, EXTRACT, 6, &code);
    let said = ("end", "HandOff, as with the first fill", "Halted");
    assert_told_by_fill(kernel, file, said, Misled(COMPARED));
}

/// `testb $1, ...; je` over `mov $0x3f8, %edx; mov $'!', %al; out %al, (%dx)`.
fn text(kernel: &Kernel) {
    let [a, b, c, d] = differing(&plain(kernel, LOAD), 1);
    let test = [0xf6, 0x04, 0x25, a, b, c, d, 1, 0x74, 8];
    let print = [0xba, 0xf8, 3, 0, 0, 0xb0, b'!', 0xee];
    let (file, _) = detour(kernel, EXTRACT, 6, &[&test[..], &print].concat());
    assert_told_by_fill(kernel, file, ("serial port", "\"", "\"!"), Misled(COMPARED));
}
