// SPDX-License-Identifier: GPL-2.0-only
//! Links the kernel of a build folder again, for another address, without compiling anything.
//!
//! The linker script says where a kernel begins. With another number there, make links the same objects anew. Everything
//! that it changes is put back afterwards; what is between (objects that carry the time) it makes again as before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::build_tree::BuildTree;
use crate::corpus::build::ENVIRONMENT;

/// The linker script, made from vmlinux.lds.S.
const SCRIPT: &str = "arch/x86/kernel/vmlinux.lds";
/// What linking makes and what is kept of it.
const MADE: [&str; 4] = ["vmlinux", "vmlinux.unstripped", "vmlinux.map", "System.map"];
/// Behind the name of a file that is put aside.
const ASIDE: &str = ".relocheck-aside";
/// Lines of make's complaint that an error shows.
const TAIL: usize = 12;

/// Why a kernel cannot be linked again.
#[derive(Debug, thiserror::Error)]
pub enum RelinkError {
    /// A file of the folder.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Not a folder in which a kernel was built.
    #[error("{0}: expected a kernel build directory with {1} in it")]
    NotBuilt(PathBuf, &'static str),
    /// The linker script has another form than those that are known.
    #[error("{0}: no line sets the address {1:#x}, at which the kernel begins")]
    Script(PathBuf, u64),
    /// Make fails.
    #[error("make vmlinux fails:\n{0}")]
    Make(String),
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RelinkError {
    let path = path.to_path_buf();
    move |source| RelinkError::File { what, path, source }
}

/// A build folder whose kernel is linked again. When it ends, the folder's own files are back.
pub struct Relink {
    tree: BuildTree,
    script: PathBuf,
    original: String,
    arguments: Vec<String>,
}

impl Relink {
    /// Prepares a folder; `arguments` are more arguments of make than ARCH and LLVM, which the configuration tells.
    ///
    /// # Errors
    /// No kernel was built there.
    pub fn new(folder: &Path, arguments: &[String]) -> Result<Relink, RelinkError> {
        let missing = |what| RelinkError::NotBuilt(folder.to_path_buf(), what);
        let tree = BuildTree::at(folder);
        let config = tree.config().ok_or_else(|| missing(".config"))?;
        let config = fs::read_to_string(&config).map_err(file("read", &config))?;
        tree.vmlinux().ok_or_else(|| missing("vmlinux"))?;
        let script = folder.join(SCRIPT);
        if !script.is_file() {
            return Err(missing(SCRIPT));
        }
        let original = fs::read_to_string(&script).map_err(file("read", &script))?;
        let has = |option: &str| config.lines().any(|line| line == option);
        let arch = if has("CONFIG_X86_64=y") { "x86_64" } else { "i386" };
        let mut all = vec![format!("ARCH={arch}")];
        if has("CONFIG_LD_IS_LLD=y") {
            all.push("LLVM=1".to_owned());
        }
        all.extend_from_slice(arguments);
        let relink = Relink { tree, script, original, arguments: all };
        for made in relink.made() {
            let aside = aside(&made);
            fs::rename(&made, &aside).map_err(file("move", &made))?;
        }
        Ok(relink)
    }

    fn made(&self) -> Vec<PathBuf> {
        let made = MADE.iter().map(|name| self.tree.root().join(name));
        made.filter(|path| path.is_file()).collect()
    }

    /// The kernel as it was built.
    pub fn built(&self) -> Option<PathBuf> {
        let names = ["vmlinux.unstripped", "vmlinux"];
        names.iter().map(|name| aside(&self.tree.root().join(name))).find(|path| path.is_file())
    }

    /// Links the kernel for `to` instead of `from`, and moves it to `file`.
    ///
    /// # Errors
    /// The linker script is not understood, or make fails.
    pub fn link(&self, from: u64, to: u64, target: &Path) -> Result<(), RelinkError> {
        let script = edited(&self.original, from, to)
            .ok_or_else(|| RelinkError::Script(self.script.clone(), from))?;
        fs::write(&self.script, script).map_err(file("write", &self.script))?;
        let output = Command::new("make")
            .envs(ENVIRONMENT)
            .arg("-C")
            .arg(self.tree.root())
            .args(&self.arguments)
            .arg("vmlinux")
            .stdin(Stdio::null())
            .output()
            .map_err(file("run", Path::new("make")))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let start = lines.len().saturating_sub(TAIL);
            return Err(RelinkError::Make(lines.get(start..).unwrap_or_default().join("\n")));
        }
        let missing = || RelinkError::NotBuilt(self.tree.root().to_path_buf(), "vmlinux");
        let linked = self.tree.vmlinux().ok_or_else(missing)?;
        fs::copy(&linked, target).map_err(file("copy", &linked))?;
        Ok(())
    }
}

impl Drop for Relink {
    fn drop(&mut self) {
        // The folder is someone's: whatever can be put back is, and nothing can be said here.
        let _ = fs::write(&self.script, &self.original);
        for made in self.made() {
            let _ = fs::remove_file(made);
        }
        for name in MADE {
            let path = self.tree.root().join(name);
            let _ = fs::rename(aside(&path), path);
        }
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ASIDE);
    name.into()
}

/// The script with another begin: its first assignment to the location counter has the begin's physical address, and then
/// the alignment.
fn edited(script: &str, from: u64, to: u64) -> Option<String> {
    let begin = script.lines().find(|line| line.trim_start().starts_with(". = "))?;
    let (old, new) = (format!("{from:#x}"), format!("{to:#x}"));
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    let (at, _) =
        begin.match_indices(&old).find(|(at, _)| !digit(begin[at + old.len()..].chars().next()))?;
    let line = format!("{}{new}{}", &begin[..at], &begin[at + old.len()..]);
    Some(script.replacen(begin, &line, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_begin_is_found_in_every_form_that_it_has_had() {
        for (line, expected) in [
            (
                " . = 0xC0000000 + ((0x1000000 + (0x1000000 - 1)) & ~(0x1000000 - 1));",
                " . = 0xC0000000 + ((0x6000000 + (0x1000000 - 1)) & ~(0x1000000 - 1));",
            ),
            (
                " . = (0xffffffff80000000 + ALIGN(0x1000000, 0x200000));",
                " . = (0xffffffff80000000 + ALIGN(0x6000000, 0x200000));",
            ),
            (
                " . = (0xffffffff80000000 + (((0x1000000) + (0x200000 - 1)) & ~(0x200000 - 1)));",
                " . = (0xffffffff80000000 + (((0x6000000) + (0x200000 - 1)) & ~(0x200000 - 1)));",
            ),
        ] {
            let script = format!("SECTIONS\n{{\n{line}\n . = ALIGN(0x1000000);\n}}");
            let edited = edited(&script, 0x100_0000, 0x600_0000).unwrap();
            assert_eq!(edited, script.replace(line, expected));
        }
        assert_eq!(edited(" . = 0x10000000;", 0x100_0000, 0x600_0000), None);
        assert_eq!(edited("", 0x100_0000, 0x600_0000), None);
    }

    #[test]
    fn a_folder_without_a_kernel_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let error = |folder: &Path| Relink::new(folder, &[]).map(drop).unwrap_err().to_string();
        assert!(error(folder.path()).contains("with .config in it"));
        fs::write(folder.path().join(".config"), "CONFIG_X86_64=y\n").unwrap();
        assert!(error(folder.path()).contains("with vmlinux in it"));
        fs::write(folder.path().join("vmlinux"), "elf").unwrap();
        assert!(error(folder.path()).contains("with arch/x86/kernel/vmlinux.lds in it"));
        assert_eq!(fs::read(folder.path().join("vmlinux")).unwrap(), b"elf");
        let script = folder.path().join(SCRIPT);
        fs::create_dir_all(script.parent().unwrap()).unwrap();
        fs::write(&script, " . = 0x5;").unwrap();
        let relink = Relink::new(folder.path(), &[]).unwrap();
        assert!(!folder.path().join("vmlinux").exists());
        assert!(relink.link(1, 2, &folder.path().join("other")).is_err());
        drop(relink);
        assert_eq!(fs::read(folder.path().join("vmlinux")).unwrap(), b"elf");
        assert_eq!(fs::read(&script).unwrap(), b" . = 0x5;");
    }
}
