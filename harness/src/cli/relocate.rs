// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck relocate`: write the reference relocation.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::values::address;
use super::{Failure, print};
use crate::exit::Exit;
use crate::image::{Image, WordSize};
use crate::oracle::Subject;
use crate::reference::{Applied, DeriveError, Derived, Link, Plain, PlainError, relocate};
use crate::vmlinux::Vmlinux;

/// Write the kernel as it must stand in memory at the jump into it.
///
/// The file holds the bytes of [output, output + output_len): decompressed, segments moved, relocations applied, gaps
/// as the stub leaves them. It is computed from the image alone; nothing is run.
///
/// A vmlinux with relocations (from 6.15 on vmlinux.unstripped) is relocated by those, without any stub or table. What the
/// linker put into sections comes out as from the bzImage; between and behind segments there are zeros, up to the
/// kernel's end with bss.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck relocate bzImage --output 0x2000000 -o kernel.bin
  relocheck relocate bzImage --output 0x2000000 --virt 0x1e00000 -o kernel.bin     x86_64 with KASLR
  relocheck relocate vmlinux --output 0x2000000 --virt 0x1e00000 -o kernel.bin     by its ELF relocations")]
pub struct Args {
    /// A bzImage, or a vmlinux with relocations.
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
    let (bytes, virt, applied) = match is_elf(&args.image) {
        true => plain(&args)?,
        false => image(&args)?,
    };
    std::fs::write(&args.file, &bytes)
        .with_context(|| args.file.display().to_string())
        .map_err(Failure::usage)?;
    print(&format!(
        "{}: {} bytes for {:#x}, relocated for {virt:#x}: {} 32-bit, {} inverse 32-bit, {} 64-bit fields\n",
        args.file.display(),
        bytes.len(),
        args.output,
        applied.abs32,
        applied.inverse32,
        applied.abs64
    ))?;
    Ok(Exit::Conforms)
}

/// Whether a file is an ELF file; one that cannot be read is not, and the error comes later.
fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    // A pipe would block.
    let file = path.is_file().then(|| File::open(path).ok()).flatten();
    file.is_some_and(|mut file| file.read_exact(&mut magic).is_ok()) && magic == *b"\x7fELF"
}

/// The virtual base that is asked for.
fn virtual_base(args: &Args, link: Link) -> Result<u64, Failure> {
    match (link.word, args.virt) {
        (WordSize::Bits32, Some(_)) => Err(Failure::usage(anyhow!(
            "--virt: an i386 kernel moves with its physical address; leave it out"
        ))),
        (WordSize::Bits32, None) => Ok(args.output),
        (WordSize::Bits64, virt) => Ok(virt.unwrap_or(link.physical)),
    }
}

fn named(args: &Args, error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow!("{}: {error}", args.image.display())
}

fn image(args: &Args) -> Result<(Vec<u8>, u64, Applied), Failure> {
    let image = Image::open(&args.image)
        .map_err(|error| Failure { exit: error.exit(), error: named(args, &error) })?;
    let mut subject = Subject::new(image)
        .map_err(|error| Failure { exit: error.exit(), error: named(args, &error) })?;
    let virt = virtual_base(args, subject.link)?;
    let applied = relocate(&mut subject.moved, &subject.table, subject.link, args.output, virt)
        .map_err(|error| Failure::cannot_judge(named(args, &error)))?;
    Ok((subject.moved, virt, applied))
}

fn plain(args: &Args) -> Result<(Vec<u8>, u64, Applied), Failure> {
    let failure = |error: PlainError| match error {
        PlainError::Derive(DeriveError::File(_)) | PlainError::Segment { .. } => {
            Failure::usage(named(args, &error))
        }
        _ => Failure::cannot_judge(named(args, &error)),
    };
    let vmlinux = Vmlinux::open(&args.image).map_err(|error| failure(error.into()))?;
    let derived = Derived::new(&vmlinux).map_err(|error| failure(error.into()))?;
    let mut plain = Plain::new(&vmlinux).map_err(failure)?;
    let virt = virtual_base(args, plain.link)?;
    let applied = plain.relocate(&derived, args.output, virt).map_err(failure)?;
    Ok((plain.bytes, virt, applied))
}
