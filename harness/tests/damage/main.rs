// SPDX-License-Identifier: GPL-2.0-only
//! Proves that the harness can fail: takes real kernels from the corpus cache, damages them, and checks that just the
//! oracle that is meant for the damage speaks, and names the place. The undamaged twin conforms with the same case.
//!
//! A kernel that is not fetched makes its tests "ignored" and says so; it never makes them pass.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod binary;
mod hostile;
mod kaslr;
mod patch;
mod payload;
mod repeat;
mod stub;
mod stub_i386;
mod table;

use std::process::ExitCode;

use bench::Trials;

fn main() -> ExitCode {
    let mut trials = Trials::new();
    table::add(&mut trials);
    stub::add(&mut trials);
    stub_i386::add(&mut trials);
    payload::add(&mut trials);
    kaslr::add(&mut trials);
    repeat::add(&mut trials);
    binary::add(&mut trials);
    hostile::add(&mut trials);
    trials.run()
}
