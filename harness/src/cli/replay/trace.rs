// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay --trace`: what happens in the run, line by line, in a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;

use super::super::{Failure, bar, complain, values};
use super::target::Target;
use crate::explain::trace::{Kind, LineFormat, TraceOptions, Tracer};
use crate::range::Range;

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// What is traced, and where to.
#[derive(clap::Args)]
#[command(next_help_heading = "Trace")]
pub struct TraceArgs {
    /// Run the case again, and write what happens in it to a file.
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',', requires = "trace_file")]
    trace: Vec<Traced>,

    /// The file for the trace.
    #[arg(long, value_name = "FILE", requires = "trace")]
    trace_file: Option<PathBuf>,

    /// Trace only what happens at these addresses; may be given several times.
    ///
    /// Stores count by the physical address that they write, page faults by the missing page or the instruction,
    /// everything else by the instruction.
    #[arg(long, value_name = "START..END", value_parser = values::range, requires = "trace")]
    trace_range: Vec<Range>,

    /// How to write the trace: lines for people, or a JSON object in each line.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = TraceFormat::Text)]
    trace_format: TraceFormat,

    /// Write no more lines than this.
    #[arg(long, value_name = "LINES", default_value_t = 10_000_000)]
    trace_limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Traced {
    /// The blocks of instructions that run.
    Blocks,
    /// Calls and returns, and other ways from function to function.
    Calls,
    /// Stores.
    Writes,
    /// Page faults.
    Faults,
    /// Accesses to ports.
    Ports,
    /// All of these.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TraceFormat {
    Text,
    Json,
}

/// Writes the trace, if one is wanted.
pub fn run(args: &TraceArgs, target: &Target) -> Result<(), Failure> {
    let Some(path) = &args.trace_file else { return Ok(()) };
    let setup = target.setup()?;
    let options = options(args);
    let mut out = BufWriter::with_capacity(BUFFER, unusable(path, File::create(path))?);
    if options.format == LineFormat::Text {
        let sha256 = target.subject.image.sha256();
        let load = target.case.load;
        let head = writeln!(out, "# relocheck trace 1: image {sha256}, loaded at {load:#x}");
        unusable(path, head)?;
    }
    let spinner = bar::spinner("blocks traced");
    let tick = spinner.clone();
    let tracer = Tracer::new(options.clone(), &setup, target.names()?, out, move |blocks| {
        tick.set_position(blocks);
    });
    let run = target.observe(&setup, &options.interest(), tracer);
    spinner.finish_and_clear();
    let (outcome, tracer) = run?;
    let written = unusable(path, tracer.finish(&outcome))?;
    if written.left_out > 0 {
        complain(format_args!(
            "{}: cut at --trace-limit {}, {} more lines are left out; --trace-range asks for less",
            path.display(),
            written.lines,
            written.left_out
        ));
    }
    Ok(())
}

fn options(args: &TraceArgs) -> TraceOptions {
    let kinds = args.trace.iter().flat_map(|traced| match traced {
        Traced::Blocks => &[Kind::Blocks][..],
        Traced::Calls => &[Kind::Calls],
        Traced::Writes => &[Kind::Writes],
        Traced::Faults => &[Kind::Faults],
        Traced::Ports => &[Kind::Ports],
        Traced::All => &Kind::ALL,
    });
    TraceOptions {
        kinds: kinds.copied().collect(),
        ranges: args.trace_range.clone(),
        format: match args.trace_format {
            TraceFormat::Text => LineFormat::Text,
            TraceFormat::Json => LineFormat::Json,
        },
        limit: args.trace_limit,
    }
}

/// A file that cannot be written is the user's to mend.
fn unusable<T>(path: &Path, result: io::Result<T>) -> Result<T, Failure> {
    result.with_context(|| path.display().to_string()).map_err(Failure::usage)
}
