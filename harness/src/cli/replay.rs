// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay`: run one case again.

mod gdb;
mod map;
mod profile;
mod target;
mod trace;

use std::path::PathBuf;

use anyhow::anyhow;

use super::{Failure, Format, case, print};
use crate::campaign;
use crate::exit::Exit;
use crate::explain::symbols::SymbolFiles;
use crate::machine::UnicornEngine;
use crate::oracle::Verdict;
use crate::record::JudgementRecord;
use crate::report::judgement_text;

/// Run the case in a case file again, and say what it shows.
///
/// The image is the one that the case was written for, told by its SHA-256.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck replay reports/cases/0123456789ab-memory.toml
  relocheck replay case.toml --image arch/x86/boot/bzImage    the same case, another build
  relocheck replay case.toml --trace calls,faults --trace-file calls.txt    who called whom, and page faults
  relocheck replay case.toml --trace writes --trace-range 0x10000..0x11000 --trace-file writes.json --trace-format json
  relocheck replay case.toml --trace all --trace-limit 1000 --trace-file begin.txt    how the run begins
  relocheck replay case.toml --profile -    a call tree with counts of instructions
  relocheck replay case.toml --profile flame.svg --profile time.json --profile stacks.folded --profile calls.txt
  relocheck replay case.toml --map memory.svg    memory as each phase of the run left it
  relocheck replay case.toml --gdb -             for gdb's `target remote | ...`")]
pub struct Args {
    /// The case file.
    #[arg(value_name = "CASE")]
    case: PathBuf,

    /// Run the case on this image, whatever its SHA-256.
    #[arg(long)]
    image: Option<PathBuf>,

    /// The ELF file that the image was made from, as `check` takes it. [default: the one in its build directory]
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Let gdb stand in the run, forth and back: on a port of this machine, or with - on standard input and output.
    #[arg(long, value_name = "ADDRESS")]
    gdb: Option<gdb::Endpoint>,

    /// Print what the stub wrote to its serial port, too.
    #[arg(long)]
    console: bool,

    #[command(flatten)]
    trace: trace::TraceArgs,

    #[command(flatten)]
    profile: profile::ProfileArgs,

    #[command(flatten)]
    map: map::MapArgs,
}

/// Runs the case once.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let (file, mut subject) = case::open(&args.case, args.image.as_ref())?;
    if args.vmlinux.is_some() && subject.compared.as_ref().is_none_or(Result::is_err) {
        campaign::compare(&mut subject, &args.case, args.vmlinux.as_deref())
            .map_err(|failure| Failure { exit: failure.exit, error: anyhow!(failure.message) })?;
    }
    if let Some(endpoint) = &args.gdb {
        let image = args.image.as_ref().unwrap_or(&file.image.path);
        return gdb::run(endpoint, &subject, &file.case, gdb::files(image));
    }
    let run = campaign::run(&UnicornEngine::new(), &subject, &file.case);
    let mut text = match args.format {
        Format::Text => judgement_text(&file.case, &run.judgement),
        Format::Json => {
            let report = JudgementRecord::new(&run.judgement);
            serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)? + "\n"
        }
    };
    if args.console {
        text += &String::from_utf8_lossy(&run.serial);
    }
    print(&text)?;
    let path = args.image.as_ref().unwrap_or(&file.image.path);
    let target = target::Target::new(path, &subject, &file.case, &SymbolFiles::default());
    trace::run(&args.trace, &target)?;
    profile::run(&args.profile, &target)?;
    map::run(&args.map, &target, &run.judgement)?;
    Ok(match run.judgement.verdict() {
        Verdict::Conforms => Exit::Conforms,
        Verdict::Diverges => Exit::Diverges,
        Verdict::CannotJudge => Exit::CannotJudge,
    })
}
