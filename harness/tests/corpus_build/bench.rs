// SPDX-License-Identifier: GPL-2.0-only
//! A cache, a matrix and a source that stands in for a kernel's.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub const MATRIX: &str = r#"
schema = 1
[source."1.0"]
suites = ["no-such-suite"]
package = "linux-source-1.0"
[[variant]]
name = "tiny"
description = "a stand-in"
series = ["1.0"]
architectures = ["i386"]
fragments = ["tiny"]
make = { KCFLAGS = "-O9" }
compressors = ["gzip", "xz"]
"#;

/// Takes what `KCONFIG_ALLCONFIG` asks for, as a kernel does, but for options that are called BROKEN.
const MAKEFILE: &str = "\
allnoconfig:
\t@grep -v BROKEN $(KCONFIG_ALLCONFIG) > $(O)/.config
\t@echo configured >> $(O)/steps
bzImage:
\t@touch $(O)/../../begun
\t@for i in `seq 600`; do [ -e $(O)/../../slow ] && sleep 0.05; done; true
\t@if [ -e $(O)/../../fail ] && grep -q XZ $(O)/.config; then echo 'xz: out of memory'; exit 1; fi
\t@mkdir -p $(O)/arch/x86/boot/compressed $(O)/include/config
\t@[ $(O)/stub.o -nt arch/x86/stub.c ] || { cp arch/x86/stub.c $(O)/stub.o; echo compiled >> $(O)/steps; }
\t@[ -e $(O)/arch/x86/boot/compressed/vmlinux.relocs ] || cp arch/x86/tools/relocs.c $(O)/arch/x86/boot/compressed/vmlinux.relocs
\t@cd $(O) && touch vmlinux System.map arch/x86/boot/compressed/vmlinux include/config/kernel.release
\t@(cat $(O)/.config; echo $(ARCH) $(KCFLAGS) $(CFLAGS) $$KBUILD_BUILD_TIMESTAMP; grep -v good $(O)/stub.o; true) > $(O)/arch/x86/boot/bzImage
";

/// A cache with an unpacked source, a matrix, and programs that may not be on this machine.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let bench = Bench { folder: TempDir::new().unwrap() };
        let source = bench.cache().join("sources/linux-source-1.0");
        fs::create_dir_all(source.join("linux")).unwrap();
        fs::write(source.join("linux/Makefile"), MAKEFILE).unwrap();
        fs::create_dir_all(source.join("linux/arch/x86/tools")).unwrap();
        fs::write(source.join("linux/arch/x86/stub.c"), "good\n").unwrap();
        fs::write(source.join("linux/arch/x86/tools/relocs.c"), "all\n").unwrap();
        let record = format!(
            "package = \"linux-source-1.0\"\nversion = \"1.0-1\"\nsuite = \"x\"\nsha256 = \"{}\"\n",
            "1".repeat(64)
        );
        fs::write(source.join("source.toml"), record).unwrap();
        fs::create_dir_all(bench.path().join("config")).unwrap();
        bench.fragment("CONFIG_RELOCATABLE=y\n");
        fs::write(bench.path().join("builds.toml"), MATRIX).unwrap();
        fs::create_dir(bench.bin()).unwrap();
        for program in ["gcc", "ld", "flex", "bison", "bc", "perl", "dpkg-deb", "gzip", "xz"] {
            bench.program(program);
        }
        bench
    }

    pub fn bin(&self) -> PathBuf {
        self.path().join("bin")
    }

    /// Adds a program that does nothing but say its version.
    pub fn program(&self, name: &str) {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!/bin/sh\necho {name} 1.0\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn cache(&self) -> PathBuf {
        self.path().join("relocheck")
    }

    pub fn image(&self, build: &str) -> String {
        let image = self.cache().join("builds/kept").join(build).join("arch/x86/boot/bzImage");
        fs::read_to_string(image).unwrap()
    }

    /// A file of a kernel whose source was patched.
    pub fn altered(&self, bug: &str, file: &str) -> String {
        fs::read_to_string(self.cache().join("builds/altered").join(bug).join(file)).unwrap()
    }

    pub fn fragment(&self, text: &str) {
        fs::write(self.path().join("config/tiny.config"), text).unwrap();
    }

    /// Runs a build with the programs of this machine, too.
    pub fn build(&self, arguments: &[&str]) -> Output {
        self.build_with(&self.programs(), arguments)
    }

    pub fn programs(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = [self.bin()].into_iter().chain(std::env::split_paths(&path));
        std::env::join_paths(paths).unwrap()
    }

    pub fn build_with(&self, path: &OsStr, arguments: &[&str]) -> Output {
        self.command(path, arguments).output().unwrap()
    }

    pub fn command(&self, path: &OsStr, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relocheck"));
        command
            .args(["corpus", "build", "--builds", "builds.toml"])
            .args(arguments)
            .current_dir(self.path())
            .env("XDG_CACHE_HOME", self.path())
            .env("PATH", path)
            // None of this may get into an image.
            .env("CFLAGS", "-march=native")
            .env("KBUILD_BUILD_TIMESTAMP", "today");
        command
    }
}

/// Standard output and standard error of a run that has to end with `code`.
pub fn said(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    (text(&output.stdout), text(&output.stderr))
}
