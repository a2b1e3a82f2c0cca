// SPDX-License-Identifier: GPL-2.0-only
//! The `relocheck` binary: everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    relocheck::cli::main().into()
}
