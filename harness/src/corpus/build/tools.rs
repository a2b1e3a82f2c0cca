// SPDX-License-Identifier: GPL-2.0-only
//! The programs that builds need: which are missing, and which versions are there.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{BuildError, Compiler, Compressor};

/// A program or header, and Debian's package that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tool {
    name: &'static str,
    package: &'static str,
}

const fn tool(name: &'static str, package: &'static str) -> Tool {
    Tool { name, package }
}

/// What every build needs (Documentation/process/changes.rst). Host programs are compiled with
/// gcc; objtool, and on x86 the tool that makes the relocation table, read ELF.
const ALWAYS: [Tool; 8] = [
    tool("make", "make"),
    tool("gcc", "gcc"),
    tool("ld", "binutils"),
    tool("flex", "flex"),
    tool("bison", "bison"),
    tool("bc", "bc"),
    tool("perl", "perl"),
    tool("dpkg-deb", "dpkg"),
];

/// The header of libelf, which objtool is compiled with.
const HEADER: Tool = tool("gelf.h", "libelf-dev");

const CLANG: [Tool; 3] =
    [tool("clang", "clang"), tool("ld.lld", "lld"), tool("llvm-objcopy", "llvm")];

/// The compilers and linkers of a build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// The compiler's name and version.
    pub compiler: String,
    /// The linker's name and version.
    pub linker: String,
}

impl Toolchain {
    /// Asks the programs of a compiler for their versions.
    ///
    /// # Errors
    /// A program is missing or does not run.
    pub fn of(compiler: Compiler) -> Result<Toolchain, BuildError> {
        complain(&absent(tools_of(compiler)))?;
        let (compiler, linker) = match compiler {
            Compiler::Gcc => ("gcc", "ld"),
            Compiler::Clang => ("clang", "ld.lld"),
        };
        Ok(Toolchain { compiler: version(compiler)?, linker: version(linker)? })
    }
}

/// Looks for what every build needs.
///
/// # Errors
/// Something is missing; the error names all of it.
pub fn check_always() -> Result<(), BuildError> {
    let mut missing = absent(&ALWAYS);
    // Without a compiler nobody can say whether the header is there.
    if is_there("gcc") && !compiles_with(HEADER.name) {
        missing.push(HEADER);
    }
    complain(&missing)
}

/// Looks for what one build needs beyond that.
///
/// # Errors
/// Something is missing; the error names all of it.
pub fn check(compiler: Compiler, compressor: Compressor) -> Result<(), BuildError> {
    let compressor = match compressor {
        Compressor::Gzip => tool("gzip", "gzip"),
        Compressor::Bzip2 => tool("bzip2", "bzip2"),
        Compressor::Lzma => tool("lzma", "xz-utils"),
        Compressor::Xz => tool("xz", "xz-utils"),
        Compressor::Lzo => tool("lzop", "lzop"),
        Compressor::Lz4 => tool("lz4", "lz4"),
        Compressor::Zstd => tool("zstd", "zstd"),
    };
    let mut missing = absent(tools_of(compiler));
    missing.extend(absent(&[compressor]));
    complain(&missing)
}

fn tools_of(compiler: Compiler) -> &'static [Tool] {
    match compiler {
        Compiler::Gcc => &[],
        Compiler::Clang => &CLANG,
    }
}

fn absent(tools: &[Tool]) -> Vec<Tool> {
    tools.iter().copied().filter(|tool| !is_there(tool.name)).collect()
}

fn complain(missing: &[Tool]) -> Result<(), BuildError> {
    let names: Vec<&str> = missing.iter().map(|tool| tool.name).collect();
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let what = match names.as_slice() {
        [] => return Ok(()),
        [one] => format!("{one} is"),
        [most @ .., last] => format!("{} and {last} are", most.join(", ")),
    };
    Err(BuildError::Missing { what, packages: packages.join(" ") })
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn compiles_with(header: &str) -> bool {
    let include = format!("-include{header}");
    let status = Command::new("gcc")
        .args(["-fsyntax-only", "-xc", &include, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// The first line that `program --version` prints.
fn version(program: &str) -> Result<String, BuildError> {
    let failed =
        |problem: String| BuildError::Tool { command: format!("{program} --version"), problem };
    let output = Command::new(program)
        .arg("--version")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("does not run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(failed(format!("ends with {}", output.status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_one_line_with_the_packages_to_install() {
        assert!(complain(&[]).is_ok());
        let error = complain(&[tool("lzop", "lzop")]).unwrap_err().to_string();
        assert_eq!(error, "lzop is not installed: apt-get install lzop");
        let error = complain(&[tool("flex", "flex"), tool("bc", "bc"), HEADER]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "flex, bc and gelf.h are not installed: apt-get install flex bc libelf-dev"
        );
    }

    #[test]
    fn a_program_is_looked_for_by_name() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program"));
    }
}
