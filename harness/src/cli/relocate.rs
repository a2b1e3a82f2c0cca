// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck relocate`: write the reference relocation.

use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::values::address;
use super::{Failure, print};
use crate::exit::Exit;
use crate::image::{Image, WordSize};
use crate::oracle::Subject;
use crate::reference::relocate;

/// Write the kernel as it must stand in memory at the jump into it.
///
/// The file holds the bytes of [output, output + output_len): decompressed, segments moved, relocations applied, gaps
/// as the stub leaves them. It is computed from the image alone; nothing is run.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck relocate bzImage --output 0x2000000 -o kernel.bin
  relocheck relocate bzImage --output 0x2000000 --virt 0x1e00000 -o kernel.bin     x86_64 with KASLR")]
pub struct Args {
    /// A bzImage file.
    image: PathBuf,

    /// Physical address of the kernel's first byte.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    output: u64,

    /// Virtual base that an x86_64 kernel is relocated for, counted as the stub counts it: pref_address means that
    /// nothing moves. [default: pref_address] An i386 kernel always moves with its physical address.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    virt: Option<u64>,

    /// Where to write.
    #[arg(short = 'o', value_name = "FILE")]
    file: PathBuf,
}

/// Computes and writes.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let named = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", args.image.display());
    let image = Image::open(&args.image)
        .map_err(|error| Failure { exit: error.exit(), error: named(&error) })?;
    let mut subject = Subject::new(image)
        .map_err(|error| Failure { exit: error.exit(), error: named(&error) })?;
    let link = subject.link;
    let virt = match (subject.word, args.virt) {
        (WordSize::Bits32, Some(_)) => {
            return Err(Failure::usage(anyhow!(
                "--virt: an i386 kernel moves with its physical address; leave it out"
            )));
        }
        (WordSize::Bits32, None) => args.output,
        (WordSize::Bits64, virt) => virt.unwrap_or(link.physical),
    };
    let applied = relocate(&mut subject.moved, &subject.table, link, args.output, virt)
        .map_err(|error| Failure::cannot_judge(named(&error)))?;
    std::fs::write(&args.file, &subject.moved)
        .with_context(|| args.file.display().to_string())
        .map_err(Failure::usage)?;
    print(&format!(
        "{}: {} bytes for {:#x}, relocated for {virt:#x}: {} 32-bit, {} inverse 32-bit, {} 64-bit fields\n",
        args.file.display(),
        subject.moved.len(),
        args.output,
        applied.abs32,
        applied.inverse32,
        applied.abs64
    ))?;
    Ok(Exit::Conforms)
}
