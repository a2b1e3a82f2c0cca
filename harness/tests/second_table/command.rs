// SPDX-License-Identifier: GPL-2.0-only
//! What the command line makes of a `vmlinux`: found by itself, given, unusable.

use std::path::Path;
use std::process::{Command, Output};

use libtest_mimic::Failed;
use relocheck::corpus::build::CachedBuild;

fn relocheck(arguments: &[&str]) -> Result<(i32, String), Failed> {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_relocheck"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

fn expect(arguments: &[&str], code: i32, text: &str) -> Result<(), Failed> {
    let (found, said) = relocheck(arguments)?;
    assert!(
        found == code && said.contains(text),
        "{arguments:?}: expected {code}, {text:?}; found {found}:\n{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
    Ok(())
}

fn text(path: &Path) -> Result<&str, Failed> {
    Ok(path.to_str().ok_or("a path in UTF-8")?)
}

pub fn all(build: &CachedBuild) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (image, vmlinux) = (build.image(), build.vmlinux());
    let (image, vmlinux) = (text(&image)?, text(&vmlinux)?);
    let cases = folder.path().join("cases");
    let check = ["check", "--bases", "1", "--case-dir", text(&cases)?];
    let checked =
        |more: &[&str], code, said: &str| expect(&[&check[..], more].concat(), code, said);

    checked(&[image], 0, "table compared with vmlinux: ")?;
    checked(&["--format", "json", image], 0, "\"entries_equal_to_vmlinux\": ")?;
    expect(&["inspect", image], 0, " entries equal")?;
    checked(&["--vmlinux", vmlinux, image], 0, "table compared with vmlinux: ")?;
    checked(
        &["--vmlinux", vmlinux, image, image],
        2,
        "--vmlinux belongs to one image, and there are 2",
    )?;
    checked(&["--vmlinux", image, image], 2, "expected an ELF file (vmlinux)")?;
    checked(&["--vmlinux", text(folder.path())?, image], 2, "no regular file")?;
    checked(&["--vmlinux", "nowhere", image], 2, "nowhere: cannot be read")?;

    // The stub's own ELF file is an ELF file of the right word size, and another program.
    let stub = build.stub();
    checked(&["--vmlinux", text(&stub)?, image], 2, "not the vmlinux of this image")?;

    // Without its section headers nothing says what is in it; without relocations, what moves.
    let mut bytes = std::fs::read(vmlinux)?;
    let cut = folder.path().join("cut");
    std::fs::write(&cut, &bytes[..bytes.len() / 2])?;
    checked(&["--vmlinux", text(&cut)?, image], 2, "ends beyond the file's")?;
    strip(&mut bytes);
    let stripped = folder.path().join("stripped");
    std::fs::write(&stripped, &bytes)?;
    checked(&["--vmlinux", text(&stripped)?, image], 125, "it has no relocations of .text")?;

    // One that merely lies there is no reason to fail.
    let place = folder.path().join("tree/arch/x86/boot/bzImage");
    std::fs::create_dir_all(place.parent().ok_or("a folder")?)?;
    std::fs::copy(image, &place)?;
    std::fs::write(folder.path().join("tree/vmlinux"), "garbage")?;
    checked(&[text(&place)?], 0, "table not compared with vmlinux: vmlinux: ELF: magic")?;
    std::fs::write(folder.path().join("tree/vmlinux"), bytes)?;
    checked(&[text(&place)?], 0, "table not compared with vmlinux: vmlinux: it has no relocations")
}

/// Makes the sections of relocations something else (SHT_NULL), of both word sizes.
fn strip(file: &mut [u8]) {
    let number = |file: &[u8], at: usize, size: usize| {
        file[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (headers, size, count) = match file[4] {
        2 => (number(file, 0x28, 8), 64, number(file, 0x3c, 2)),
        _ => (number(file, 0x20, 4), 40, number(file, 0x30, 2)),
    };
    for header in (0..count).map(|index| headers + index * size) {
        if [4, 9].contains(&number(file, header + 4, 4)) {
            file[header + 4..header + 8].fill(0);
        }
    }
}
