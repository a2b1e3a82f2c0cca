// SPDX-License-Identifier: GPL-2.0-only
//! Kernels that were built from source, with all their symbols, and damaged: what is blamed is looked up in their own files
//! once more, without the library.
//!
//! A kernel that is not built makes its tests "ignored" and says so; it never makes them pass.

#[path = "../common/mod.rs"]
mod common;
#[path = "../kernels/mod.rs"]
mod kernels;

mod built;
mod damaged;
mod replay;
mod symbols;

use std::process::ExitCode;

use built::Built;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut trials: Vec<Trial> = symbols::trials();
    let builds = ["6.1-x86_64-base-gzip", "6.1-i386-base-gzip", "6.1-x86_64-debug-gzip"];
    for name in builds {
        let built = Built::find(name);
        if let Err(why) = &built {
            eprintln!("SKIPPED: the tests on {name}: {why}");
        }
        for (test, run) in [damaged::TESTS, replay::TESTS].concat() {
            let built = built.clone();
            let missing = built.is_err();
            let trial = Trial::test(format!("{test}_{name}"), move || {
                run(&built?);
                Ok(())
            });
            trials.push(trial.with_ignored_flag(missing));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
