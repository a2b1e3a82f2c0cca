// SPDX-License-Identifier: GPL-2.0-only
//! The relocatable i386 kernel of 2006 in miniature: a stub of our own in the manner of 2.6.20 to 2.6.30, built by each
//! test, with a kernel of some kilobytes that never runs. The good ones conform wherever they are loaded; each of the
//! others has one mistake, one visible line of the stub's source, and just the rule that is meant for it speaks.
//!
//! Where the C compiler cannot compile for i386 the tests are ignored, and say so; they never pass.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod bisect;
mod blame;
mod decompression;
mod good;
mod gzip;
mod hand_off;
mod image;
mod kernel;
mod placement;
mod relocation;
mod stub;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A test by its name.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    let missing = stub::compiler().err();
    if let Some(why) = &missing {
        eprintln!("SKIPPED: all tests on stubs for i386: {why}");
    }
    let tests = [
        good::TESTS,
        placement::TESTS,
        decompression::TESTS,
        relocation::TESTS,
        hand_off::TESTS,
        blame::TESTS,
        bisect::TESTS,
    ];
    let trials = tests.concat().into_iter().map(|(name, test): Test| {
        let why = missing.clone();
        let run = move || match why {
            Some(why) => Err(format!("SKIPPED: {why}").into()),
            None => {
                test();
                Ok(())
            }
        };
        let trial = Trial::test(name, run).with_ignored_flag(missing.is_some());
        if missing.is_some() { trial.with_kind("SKIPPED without cc -m32") } else { trial }
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
