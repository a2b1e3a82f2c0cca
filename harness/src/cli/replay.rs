// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay`: run one case again.

mod gdb;
mod map;
mod profile;
mod target;
mod trace;

use std::path::PathBuf;

use anyhow::Context;

use super::case::{self, Opened};
use super::{Failure, Format, print};
use crate::build_tree::BuildTree;
use crate::campaign;
use crate::exit::Exit;
use crate::explain::blame::explain;
use crate::explain::provenance::origins;
use crate::explain::symbols::{SymbolFiles, Symbols};
use crate::machine::UnicornEngine;
use crate::oracle::Verdict;
use crate::record::{JudgementRecord, Replay};
use crate::report::{brief, quote, replay_command, replay_text};

/// Run the case in a case file again, say what it shows, and which instruction is to blame.
///
/// The image is the one that the case was written for, told by its SHA-256. If the case diverges, it is run once more, and
/// watched: each finding is told with the instructions that wrote the wrong bytes, or ended the run. Names for addresses come
/// from the build folder that the image lies in, or from the files that are named here, or from the kernel itself.
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
  relocheck replay case.toml --gdb -             for gdb's `target remote | ...`
  relocheck replay case.toml --no-blame          the verdict alone")]
pub struct Args {
    /// The case file.
    #[arg(value_name = "CASE")]
    case: PathBuf,

    /// Run the case on this image, whatever its SHA-256.
    #[arg(long)]
    image: Option<PathBuf>,

    /// The ELF file that the image was made from: its relocations are compared with the image's, and its symbols name
    /// addresses. [default: the one in its build directory]
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,

    /// Take the stub's symbols from this ELF file, arch/x86/boot/compressed/vmlinux.
    #[arg(long, value_name = "FILE")]
    stub: Option<PathBuf>,

    /// Take the kernel's symbols from this System.map.
    #[arg(long, value_name = "FILE")]
    system_map: Option<PathBuf>,

    /// Do not look for the instructions that are to blame.
    #[arg(long)]
    no_blame: bool,

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

/// Runs the case, and once more to explain it.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let Opened { file, subject, image } =
        case::open_where(&args.case, args.image.as_ref(), args.vmlinux.as_deref())?;
    let named = SymbolFiles {
        vmlinux: args.vmlinux.clone(),
        system_map: args.system_map.clone(),
        stub: args.stub.clone(),
    };
    let beside = BuildTree::of_image(&image).map(|tree| SymbolFiles::of(&tree)).unwrap_or_default();
    let read = || Symbols::read(&subject, &named, &beside).map_err(Failure::usage);
    if let Some(endpoint) = &args.gdb {
        return gdb::run(endpoint, &subject, &file.case, gdb::files(&image, &named), &read()?);
    }
    // A file that was named has to be one that can be used, whether it will be needed or not.
    let mut symbols = if named == SymbolFiles::default() { None } else { Some(read()?) };

    let engine = UnicornEngine::new();
    let (run, machine) = campaign::run_keeping(&engine, &subject, &file.case);
    let judgement = &run.judgement;
    let mut blame = Vec::new();
    let mut not_explained = Vec::new();
    let diverges = judgement.verdict() == Verdict::Diverges;
    if let Some((setup, outcome)) = machine.as_ref().filter(|_| diverges && !args.no_blame) {
        let symbols = match symbols.take() {
            Some(symbols) => symbols,
            None => read()?,
        };
        blame = explain(&subject, &file.case, (setup, outcome), judgement, &symbols)
            .context("the run that is watched")?;
        not_explained = symbols.missing;
    }
    let origins = origins(&subject, &image, brief(&file.case), command(&args));
    let mut text = match args.format {
        Format::Text => replay_text(&file.case, judgement, &blame, &not_explained, &origins),
        Format::Json => {
            let judgement = JudgementRecord::new(judgement);
            let replay = Replay { judgement, blame, not_explained, run: origins };
            serde_json::to_string_pretty(&replay).map_err(anyhow::Error::from)? + "\n"
        }
    };
    if args.console {
        text += &String::from_utf8_lossy(&run.serial);
    }
    print(&text)?;
    let target = target::Target::new(&image, &subject, &file.case, &named);
    trace::run(&args.trace, &target)?;
    profile::run(&args.profile, &target)?;
    map::run(&args.map, &target, judgement)?;
    Ok(match judgement.verdict() {
        Verdict::Conforms => Exit::Conforms,
        Verdict::Diverges => Exit::Diverges,
        Verdict::CannotJudge => Exit::CannotJudge,
    })
}

/// The command that does this again.
fn command(args: &Args) -> String {
    let mut command = replay_command(&args.case.display().to_string());
    for (option, file) in [
        ("--image", &args.image),
        ("--vmlinux", &args.vmlinux),
        ("--stub", &args.stub),
        ("--system-map", &args.system_map),
    ] {
        if let Some(file) = file {
            command += &format!(" {option} {}", quote(&file.display().to_string()));
        }
    }
    command
}
