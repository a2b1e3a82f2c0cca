// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck link-twice` in folders that look like a kernel's: one object, a linker script, a Makefile that links.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// One address of each kind that there is, one distance, and a number.
const OBJECT: &str = "
.text
.globl startup
startup:
    mov $message, %REGISTER
    call startup
.data
message: .long 5, 0x81000000
.balign 8
pointer: WORD message
";

/// Word size, emulation of ld, where the kernel is mapped.
const WORDS: [(&str, &str, &str); 2] =
    [("64", "elf_x86_64", "0xffffffff80000000"), ("32", "elf_i386", "0xc0000000")];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    let absent: Vec<&str> = ["as", "ld", "make"].into_iter().filter(|tool| !there(tool)).collect();
    let trials = WORDS.into_iter().flat_map(|word| {
        let test = |name: &str, run: fn(&Tree) -> Result<(), Failed>| {
            let name = format!("{name}_{}", word.0);
            if !absent.is_empty() {
                eprintln!("SKIPPED: {name}: {} not there", absent.join(", "));
            }
            Trial::test(name, move || run(&Tree::new(word)?)).with_ignored_flag(!absent.is_empty())
        };
        [
            test("what_the_linker_makes_is_what_relocation_makes", good),
            test("an_address_that_no_relocation_tells_of_is_found", untold),
            test("the_folder_is_as_it_was", restored),
            test("a_kernel_that_cannot_be_linked_elsewhere_is_not_judged", fixed),
        ]
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

struct Tree {
    folder: tempfile::TempDir,
    script: String,
}

impl Tree {
    fn new((bits, emulation, map): (&str, &str, &str)) -> Result<Tree, Failed> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        fs::create_dir_all(path.join("arch/x86/kernel"))?;
        let wide = bits == "64";
        fs::write(
            path.join(".config"),
            if wide { "CONFIG_X86_64=y\n" } else { "CONFIG_X86_32=y\n" },
        )?;
        let (quantity, register) = if wide { (".quad", "rax") } else { (".long", "eax") };
        let object = OBJECT.replace("WORD", quantity).replace("REGISTER", register);
        fs::write(path.join("start.s"), object)?;
        let assembled = Command::new("as")
            .args([&format!("--{bits}"), "start.s", "-o", "start.o"])
            .current_dir(path)
            .status()?;
        assert!(assembled.success());
        let make = format!(
            "vmlinux: arch/x86/kernel/vmlinux.lds\n\tld -m {emulation} --emit-relocs --build-id=sha1 -T $< -o $@ start.o\n"
        );
        fs::write(path.join("Makefile"), make)?;
        let script = format!(
            "ENTRY(startup)
             PHDRS {{ text PT_LOAD FLAGS(7); }}
             SECTIONS {{
             . = ({map} + ALIGN(0x1000000, 0x200000));
             .text : AT(ADDR(.text) - {map}) {{ *(.text) }} :text
             .notes : AT(ADDR(.notes) - {map}) {{ *(.note.*) }}
             .data : AT(ADDR(.data) - {map}) {{ *(.data) /* more */ }}
             }}"
        );
        let tree = Tree { folder, script };
        tree.link(&tree.script)?;
        Ok(tree)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn link(&self, script: &str) -> Result<(), Failed> {
        fs::write(self.path().join("arch/x86/kernel/vmlinux.lds"), script)?;
        let made =
            Command::new("make").args(["-B", "vmlinux"]).current_dir(self.path()).output()?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    fn twice(&self, code: i32) -> Result<String, Failed> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relocheck"));
        let output = command.arg("link-twice").arg(self.path()).env("NO_COLOR", "1").output()?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        assert_eq!(output.status.code(), Some(code), "{said}");
        Ok(said)
    }
}

fn good(tree: &Tree) -> Result<(), Failed> {
    let said = tree.twice(0)?;
    let head = "vmlinux: linked for 0x1000000 and 0x6000000, 2 fields relocated: ";
    assert!(said.starts_with(head) && said.contains(" bytes equal"), "{said}");
    assert!(said.contains("the bzImage's table is left out"), "{said}");
    Ok(())
}

/// The linker script itself writes an address: no object has a relocation for it.
fn untold(tree: &Tree) -> Result<(), Failed> {
    tree.link(&tree.script.replace("/* more */", "odd = .; LONG(startup)"))?;
    let said = tree.twice(1)?;
    assert!(said.contains("table: odd+0x3, .data: expected "), "{said}");
    assert!(said.contains("no entry names this field"), "{said}");
    Ok(())
}

fn restored(tree: &Tree) -> Result<(), Failed> {
    let files = || -> Result<Vec<(String, Vec<u8>)>, Failed> {
        let mut files = Vec::new();
        for entry in
            fs::read_dir(tree.path())?.chain(fs::read_dir(tree.path().join("arch/x86/kernel"))?)
        {
            let path = entry?.path();
            if path.is_file() {
                files.push((path.display().to_string(), fs::read(&path)?));
            }
        }
        files.sort();
        Ok(files)
    };
    let before = files()?;
    tree.twice(0)?;
    assert!(before == files()?, "the folder has other files");
    Ok(())
}

fn fixed(tree: &Tree) -> Result<(), Failed> {
    let script = tree.script.replace("0x1000000", "0x800000 * 2");
    tree.link(&script)?;
    let said = tree.twice(125)?;
    assert!(said.contains("no line sets the address 0x1000000"), "{said}");
    Ok(())
}
