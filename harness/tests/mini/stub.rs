// SPDX-License-Identifier: GPL-2.0-only
//! Compiles the stub.

use std::path::Path;
use std::process::Command;

/// So that the code runs wherever it lies, needs no library, and has only the instructions of its time. What `-g` adds is not
/// loaded.
const FLAGS: [&str; 19] = [
    "-m32",
    "-g",
    "-march=i386",
    "-O2",
    "-Wall",
    "-Wextra",
    "-fpie",
    "-fvisibility=hidden",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-fno-tree-loop-distribute-patterns",
    "-nostdlib",
    "-static",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-T,stub.lds",
];

/// Whether there is a compiler for i386; if not, what it says.
pub fn compiler() -> Result<(), String> {
    const NOTHING: &str = ".globl startup_32\nstartup_32: hlt\n";
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let source = folder.path().join("nothing.s");
    std::fs::write(&source, NOTHING).map_err(|error| error.to_string())?;
    cc(&folder.path().join("nothing.bin"), &[&source.to_string_lossy()])
        .map(drop)
        .map_err(|error| format!("cc -m32 fails: {}", error.lines().next().unwrap_or_default()))
}

/// A stub.
pub struct Compiled {
    /// As a loader gets it.
    pub loaded: Vec<u8>,
    /// Its ELF file.
    pub elf: Vec<u8>,
}

/// The stub around `payload`, with these macros defined.
pub fn compile(payload: &[u8], macros: &[String]) -> Compiled {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("payload");
    std::fs::write(&file, payload).expect("a temporary file");
    let payload = format!("-DPAYLOAD=\"{}\"", file.display());
    let macros = macros.iter().map(|name| format!("-D{name}"));
    let arguments: Vec<String> = ["head.S", "misc.c", "inflate.c"]
        .map(str::to_owned)
        .into_iter()
        .chain(macros)
        .chain([payload])
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cc(&folder.path().join("stub.bin"), &arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// Compiles and links.
fn cc(output: &Path, arguments: &[&str]) -> Result<Compiled, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mini/stub");
    let linked = output.with_extension("elf");
    run(Command::new("cc")
        .current_dir(sources)
        .args(FLAGS)
        .args(arguments)
        .arg("-o")
        .arg(&linked))?;
    run(Command::new("objcopy").args(["-O", "binary"]).args([&linked, output]))?;
    let read = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
    Ok(Compiled { loaded: read(output)?, elf: read(&linked)? })
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
