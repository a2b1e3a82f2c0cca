// SPDX-License-Identifier: GPL-2.0-only
//! Where the names come from: files that are named, or lie beside the image, or else the kernel itself.

use std::path::{Path, PathBuf};

use super::elf::ElfFile;
use super::error::SymbolError;
use super::kallsyms;
use super::lines::Lines;
use super::system_map;
use super::table::{Named, SymbolTable};
use crate::build_tree::BuildTree;
use crate::oracle::Subject;

/// A file with code that differs in more than one byte of so many is of another build. An image that was damaged or patched
/// differs in a few.
const MOST_DIFFERENT: usize = 20;

/// Files with symbols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolFiles {
    /// The kernel's ELF file.
    pub vmlinux: Option<PathBuf>,
    /// The kernel's symbols in text.
    pub system_map: Option<PathBuf>,
    /// The stub's ELF file.
    pub stub: Option<PathBuf>,
}

impl SymbolFiles {
    /// Those of the folder that an image was built in.
    pub fn of(tree: &BuildTree) -> SymbolFiles {
        SymbolFiles { vmlinux: tree.vmlinux(), system_map: tree.system_map(), stub: tree.stub() }
    }
}

/// Names for the addresses of one image.
#[derive(Default)]
pub struct Symbols {
    kernel: SymbolTable,
    stub: SymbolTable,
    lines: Option<Lines>,
    /// What could not be read, and why; one line each.
    pub missing: Vec<String>,
}

impl Symbols {
    /// Reads the symbols of `subject`: from the files in `named`, else from those in `found`, else, for the kernel, from the
    /// kernel itself. What was not named and cannot be used is told in [`Symbols::missing`].
    ///
    /// # Errors
    /// A file in `named` cannot be read, has no symbols, or is of another build.
    pub fn read(
        subject: &Subject,
        named: &SymbolFiles,
        found: &SymbolFiles,
    ) -> Result<Symbols, SymbolError> {
        let mut symbols = Symbols::default();
        symbols.read_stub(subject, named, found)?;
        symbols.read_kernel(subject, named, found)?;
        Ok(symbols)
    }

    /// The symbols of the kernel.
    pub fn kernel(&self) -> &SymbolTable {
        &self.kernel
    }

    /// The symbols of the stub.
    pub fn stub(&self) -> &SymbolTable {
        &self.stub
    }

    /// What lies at a link-time virtual address of the kernel.
    pub fn in_kernel(&self, address: u64) -> Option<Named<'_>> {
        self.kernel.lookup(address)
    }

    /// What lies at an offset from the stub's first byte.
    pub fn in_stub(&self, offset: u64) -> Option<Named<'_>> {
        self.stub.lookup(offset)
    }

    /// File and line from which the stub's instruction at that offset was compiled.
    pub fn line(&self, offset: u64) -> Option<String> {
        self.lines.as_ref()?.lookup(offset)
    }

    fn read_stub(
        &mut self,
        subject: &Subject,
        named: &SymbolFiles,
        found: &SymbolFiles,
    ) -> Result<(), SymbolError> {
        type Stub = (SymbolTable, Result<Option<Lines>, String>);
        let read = |path: &Path| -> Result<Stub, String> {
            let elf = ElfFile::open(path)?;
            let image = subject.image.protected_mode();
            belongs(&elf, |address| image.get(usize::try_from(address).ok()?..))?;
            Ok((elf.symbols()?, Lines::read(&elf)))
        };
        let (path, result) = match (&named.stub, &found.stub) {
            (Some(path), _) => (path, read(path).map_err(|why| SymbolError::new(path, why))?),
            (None, Some(path)) => match read(path) {
                Ok(read) => (path, read),
                Err(why) => {
                    self.missing.push(SymbolError::new(path, why).to_string());
                    return Ok(());
                }
            },
            (None, None) => {
                self.missing.push("no symbols of the stub: name its ELF file with --stub".into());
                return Ok(());
            }
        };
        self.stub = result.0;
        match result.1 {
            Ok(lines) => self.lines = lines,
            Err(why) => self.missing.push(SymbolError::new(path, why).to_string()),
        }
        Ok(())
    }

    fn read_kernel(
        &mut self,
        subject: &Subject,
        named: &SymbolFiles,
        found: &SymbolFiles,
    ) -> Result<(), SymbolError> {
        type Read = fn(&Path, &Subject) -> Result<SymbolTable, String>;
        let kinds: [(Read, _, _); 2] = [
            (of_vmlinux, &named.vmlinux, &found.vmlinux),
            (of_system_map, &named.system_map, &found.system_map),
        ];
        // All that was named has to be usable, the first is used.
        let mut first = None;
        for (read, path) in
            kinds.iter().filter_map(|(read, named, _)| Some((read, named.as_ref()?)))
        {
            let table = read(path, subject).map_err(|why| SymbolError::new(path, why))?;
            first.get_or_insert(table);
        }
        if let Some(table) = first {
            self.kernel = table;
            return Ok(());
        }
        for (read, path) in
            kinds.iter().filter_map(|(read, _, found)| Some((read, found.as_ref()?)))
        {
            match read(path, subject) {
                Ok(table) => {
                    self.kernel = table;
                    return Ok(());
                }
                Err(why) => self.missing.push(SymbolError::new(path, why).to_string()),
            }
        }
        match kallsyms::read(&subject.moved, subject.link) {
            Ok(table) => self.kernel = table,
            Err(why) => self
                .missing
                .push(format!("no symbols of the kernel: {why}; name its ELF file with --vmlinux")),
        }
        Ok(())
    }
}

fn of_vmlinux(path: &Path, subject: &Subject) -> Result<SymbolTable, String> {
    let elf = ElfFile::open(path)?;
    let first = subject.link.map.wrapping_add(subject.link.physical);
    belongs(&elf, |address| {
        let offset = usize::try_from(address.checked_sub(first)?).ok()?;
        subject.moved.get(offset..)
    })?;
    elf.symbols()
}

fn of_system_map(path: &Path, subject: &Subject) -> Result<SymbolTable, String> {
    const BANNER: &[u8] = b"Linux version ";
    let table = system_map::read(path)?;
    let first = subject.link.map.wrapping_add(subject.link.physical);
    let text = table.by_name("_text").ok_or("it has no symbol _text, expected that of a kernel")?;
    if text.address != first {
        let found = text.address;
        return Err(format!("_text is {found:#x}, the image's kernel begins at {first:#x}"));
    }
    if let Some(banner) = table.by_name("linux_banner") {
        let offset = usize::try_from(banner.address.wrapping_sub(first)).unwrap_or(usize::MAX);
        if !subject.moved.get(offset..).is_some_and(|bytes| bytes.starts_with(BANNER)) {
            return Err(
                "it is of another build: linux_banner is elsewhere in the image's kernel".into()
            );
        }
    }
    Ok(table)
}

/// Whether the code of `elf` is that of an image, whose bytes from an address on `image` tells.
fn belongs<'a>(elf: &ElfFile, image: impl Fn(u64) -> Option<&'a [u8]>) -> Result<(), String> {
    let (mut bytes, mut different) = (0, 0);
    for (address, code) in elf.code()? {
        let Some(there) = image(address) else { continue };
        bytes += code.len().min(there.len());
        different += code.iter().zip(there).filter(|(a, b)| a != b).count();
    }
    match bytes > 0 && different * MOST_DIFFERENT <= bytes {
        true => Ok(()),
        false => Err(format!(
            "it is of another build: {different} of {bytes} bytes of its code are not those of the image"
        )),
    }
}
