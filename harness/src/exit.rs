// SPDX-License-Identifier: GPL-2.0-only
//! The exit codes that scripts and `git bisect run` rely on.

use std::process::ExitCode;

/// How a run of `relocheck` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything judged conforms.
    Conforms = 0,
    /// At least one image diverges from the reference.
    Diverges = 1,
    /// The command line or an input file cannot be used. `git bisect run` takes this for a bad commit.
    Usage = 2,
    /// relocheck itself failed.
    Internal = 70,
    /// Nothing can be said about the image; `git bisect run` skips it.
    CannotJudge = 125,
}

impl Exit {
    /// The exit code with this number; one that relocheck does not use counts as its own failure.
    pub fn of(code: u8) -> Exit {
        match code {
            0 => Exit::Conforms,
            1 => Exit::Diverges,
            2 => Exit::Usage,
            125 => Exit::CannotJudge,
            _ => Exit::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
