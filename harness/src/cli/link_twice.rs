// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck link-twice`: what the linker itself says of a relocation table.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;

use super::values::address;
use super::{Failure, complain, print};
use crate::build_tree::BuildTree;
use crate::exit::Exit;
use crate::image::{Image, RelocTable};
use crate::oracle::{Twice, TwiceError, judge_twice, same_layout};
use crate::reference::Derived;
use crate::relink::Relink;
use crate::vmlinux::Vmlinux;

/// Link a built kernel for two addresses, and compare the linker's work with relocation's.
///
/// The objects of a kernel build directory are linked as they are, and once more for a higher address; nothing is compiled.
/// The first, relocated, must be the second, byte for byte: by the table that its ELF relocations give, and by the table in the
/// directory's bzImage. So a field is found that needs a relocation and that neither table has. Takes as long as linking
/// twice. Afterwards the directory's own vmlinux is back.
///
/// Exit codes: 0 the same, 1 not, 2 no build directory, 125 the kernel cannot be linked elsewhere.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck link-twice ~/linux
  relocheck link-twice --by 0x3000000 . -- CC=gcc-12          with what make was told for the build")]
pub struct Args {
    /// A directory in which a kernel was built (`make O=`, or the source tree).
    tree: PathBuf,

    /// By how much higher to link: a multiple of CONFIG_PHYSICAL_ALIGN.
    #[arg(long, value_name = "BYTES", value_parser = address, default_value = "0x5000000")]
    by: u64,

    /// More arguments of make. ARCH and LLVM are told by the configuration.
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// Links and compares.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let folder = tempfile::tempdir().context("a folder for the linked kernels")?;
    let (low, high) = (folder.path().join("low"), folder.path().join("high"));
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let begin = |path: &Path| -> Result<u64, Failure> {
        let vmlinux = open(path)?;
        Ok(vmlinux.segments.first().map_or(0, |segment| segment.paddr))
    };
    let relink = Relink::new(&args.tree, &args.arguments).map_err(Failure::usage)?;
    let built = relink.built().ok_or_else(|| Failure::usage(anyhow!("no vmlinux")))?;
    let from = begin(&built)?;
    let to = from.checked_add(args.by).filter(|to| *to != from && *to < 1 << 30);
    let to = to.ok_or_else(|| {
        Failure::usage(anyhow!("--by: {:#x} + {from:#x} is no address for a kernel", args.by))
    })?;
    for (address, file) in [(from, &low), (to, &high)] {
        bar.set_message(format!("linking for {address:#x}"));
        relink.link(from, address, file).map_err(Failure::cannot_judge)?;
    }
    bar.set_message("comparing");
    let (first, second, built) = (open(&low)?, open(&high)?, open(&built)?);
    drop(relink);
    let derived = Derived::new(&first).map_err(Failure::cannot_judge)?.table();
    let mut tables = vec![("vmlinux", derived)];
    match image_table(&args.tree, &built, &first) {
        Ok(table) => tables.push(("bzImage", table)),
        Err(why) => complain(format_args!(
            "{}: the bzImage's table is left out: {why}",
            args.tree.display()
        )),
    }
    let mut exit = Exit::Conforms;
    bar.finish_and_clear();
    for (name, table) in tables {
        let twice = judge_twice(&first, &second, &table).map_err(classify)?;
        print(&told(name, from, to, &twice))?;
        if !twice.findings.is_empty() {
            exit = Exit::Diverges;
        }
    }
    Ok(exit)
}

fn open(path: &Path) -> Result<Vmlinux, Failure> {
    Vmlinux::open(path).map_err(|error| Failure::usage(anyhow!("{}: {error}", path.display())))
}

fn classify(error: TwiceError) -> Failure {
    Failure::cannot_judge(error)
}

/// The table of the bzImage, if that was made of a kernel which has everything where the one linked just now has it.
fn image_table(folder: &Path, built: &Vmlinux, linked: &Vmlinux) -> Result<RelocTable, String> {
    same_layout(built, linked).map_err(|error| error.to_string())?;
    let image = Image::open(&BuildTree::at(folder).image()).map_err(|error| error.to_string())?;
    let kernel = image.kernel().map_err(|error| error.to_string())?;
    match kernel.table.words.is_empty() {
        true => Err("it has none".to_owned()),
        false => Ok(kernel.table),
    }
}

fn told(name: &str, from: u64, to: u64, twice: &Twice) -> String {
    let Twice { bytes, fields, findings, .. } = twice;
    let head = format!("{name}: linked for {from:#x} and {to:#x}, {fields} fields relocated: ");
    if findings.is_empty() {
        return format!("{head}{bytes} bytes equal\n");
    }
    let lines = findings.iter().map(|finding| format!("  {finding}\n"));
    format!("{head}not what the linker makes\n{}", lines.collect::<String>())
}
