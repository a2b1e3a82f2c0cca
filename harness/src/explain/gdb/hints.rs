// SPDX-License-Identifier: GPL-2.0-only
//! What to paste into gdb: where the names of stub and kernel belong.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::Debuggee;
use crate::case::Protocol;
use crate::image::WordSize;
use crate::oracle;

/// Files with symbols, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The kernel's ELF file.
    pub vmlinux: Option<PathBuf>,
    /// The stub's ELF file (arch/x86/boot/compressed/vmlinux).
    pub stub: Option<PathBuf>,
}

/// How to connect, by gdb's command, and lines that give gdb names.
pub fn text(debuggee: &Debuggee, files: &Files, connect: &str) -> String {
    let Debuggee { subject, case, setup, .. } = debuggee;
    let architecture = match setup.word {
        WordSize::Bits32 => "i386",
        WordSize::Bits64 => "i386:x86-64",
    };
    // gdb gives up on an answer after two seconds, which the verdict on a large kernel takes. And it takes whatever RAM was
    // filled with for return addresses, as long as there is RAM.
    let mut text = format!(
        "set architecture {architecture}\nset remotetimeout 100\nset backtrace limit 20\n{connect}\n"
    );
    let mut symbols = |what: &str, file: &Path, offset: u64| {
        let _ = writeln!(text, "# {what}\nadd-symbol-file {} -o {offset:#x}", file.display());
    };
    let plan = oracle::plan(subject, case, setup);
    if let Some(stub) = &files.stub {
        symbols("stub as loaded", stub, setup.stub.address);
        if let Ok((placement, _)) = &plan
            && let Some(copy) = placement.copy
        {
            symbols("copy that the stub makes of itself", stub, copy);
        }
    }
    if let (Some(vmlinux), Ok((_, prediction))) = (&files.vmlinux, &plan) {
        let link = subject.link;
        let linked = link.map.wrapping_add(link.physical);
        let narrow = |offset: u64| match link.word {
            WordSize::Bits32 => offset & 0xffff_ffff,
            WordSize::Bits64 => offset,
        };
        symbols(
            "kernel where it lands, as the stub sees it",
            vmlinux,
            narrow(prediction.output.wrapping_sub(linked)),
        );
        let moved = match link.word {
            WordSize::Bits32 => prediction.output.wrapping_sub(link.physical),
            WordSize::Bits64 => prediction.virt.wrapping_sub(link.physical),
        };
        symbols("kernel where it runs, as it sees itself", vmlinux, narrow(moved));
    }
    if setup.word == WordSize::Bits64 && case.protocol == Protocol::Bits32 {
        text += "# The stub is entered with a CPU of 32 bits, and gdb shows 64-bit code. Until startup_64:\n";
        text += "#   monitor disassemble\n";
    }
    text + "# What relocheck knows of the run: monitor help\n"
}
