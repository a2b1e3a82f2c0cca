// SPDX-License-Identifier: GPL-2.0-only
//! Proves that the harness can fail: takes real kernels from the corpus cache, damages them, and checks that just the
//! oracle that is meant for the damage speaks, and names the place. The undamaged twin conforms with the same case.
//!
//! Each damage is told with its findings and with who is to blame for them (`bench::Kernel::damaged`). Where nobody is asked:
//! images that are refused before anything runs (`hostile`, half of `payload`); a survey of KASLR, which has no findings but
//! those of its runs (`kaslr`); kernels that differ from case to case, of which no run shows it (`loaders`); the repeated runs of
//! `repeat`, whose damage is one of `stub`.
//!
//! A kernel that is not fetched makes its tests "ignored" and says so; it never makes them pass.

#[path = "../common/mod.rs"]
mod common;

mod avoid;
mod bench;
mod binary;
mod boot_params;
mod choice;
mod fill;
mod five_levels;
mod hand_off;
mod hostile;
mod kaslr;
mod loaders;
mod page_tables;
mod patch;
mod payload;
mod ports;
mod repeat;
mod stub;
mod stub_i386;
mod table;
mod text;
mod trampoline;

use std::process::ExitCode;

use bench::Trials;

fn main() -> ExitCode {
    let mut trials = Trials::new();
    table::add(&mut trials);
    text::add(&mut trials);
    stub::add(&mut trials);
    stub_i386::add(&mut trials);
    payload::add(&mut trials);
    hand_off::add(&mut trials);
    page_tables::add(&mut trials);
    boot_params::add(&mut trials);
    trampoline::add(&mut trials);
    five_levels::add(&mut trials);
    ports::add(&mut trials);
    avoid::add(&mut trials);
    choice::add(&mut trials);
    fill::add(&mut trials);
    loaders::add(&mut trials);
    kaslr::add(&mut trials);
    repeat::add(&mut trials);
    binary::add(&mut trials);
    hostile::add(&mut trials);
    trials.run()
}
