// SPDX-License-Identifier: GPL-2.0-only
//! A kernel that `relocheck corpus build` made, and what its files say of an address.

use std::path::{Path, PathBuf};
use std::process::Command;

use goblin::elf::{Elf, Sym};
use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};
use relocheck::case::{Case, MemoryEntry, Protocol};
use relocheck::corpus::build::Builds;
use relocheck::explain::symbols::SymbolFiles;
use relocheck::image::{Image, WordSize};

/// A test on one of them.
pub type Test = (&'static str, fn(&Built));

#[derive(Clone)]
pub struct Built {
    pub image: PathBuf,
    pub files: SymbolFiles,
    pub config: PathBuf,
}

impl Built {
    /// The build of that name, or why there is none.
    pub fn find(name: &str) -> Result<Built, String> {
        let cached = Builds::open(None).and_then(|builds| builds.cached());
        let cached = cached.map_err(|error| error.to_string())?;
        let build = cached.into_iter().find(|build| build.name() == name);
        let build = build.ok_or(format!("not built: run `relocheck corpus build {name}`"))?;
        Ok(Built {
            image: build.image(),
            files: SymbolFiles {
                vmlinux: Some(build.vmlinux()),
                system_map: Some(build.system_map()),
                stub: Some(build.stub()),
            },
            config: build.config(),
        })
    }

    pub fn open(&self) -> Image {
        Image::open(&self.image).expect("the cache holds bzImages")
    }

    pub fn vmlinux(&self) -> &Path {
        self.files.vmlinux.as_ref().expect("each build has one")
    }

    pub fn stub(&self) -> &Path {
        self.files.stub.as_ref().expect("each build has one")
    }

    pub fn word(&self) -> WordSize {
        self.open().kernel().expect("a kernel").word
    }

    /// A case in which each field of the kernel moves.
    pub fn case(&self) -> Case {
        let (protocol, words) = match self.word() {
            WordSize::Bits32 => (Protocol::Bits32, "nokaslr"),
            WordSize::Bits64 => (Protocol::Bits64, ""),
        };
        Case {
            protocol,
            load: 80 << 20,
            command_line: Some(format!("earlyprintk=ttyS0 {words}")),
            timer: vec![0x1234, 0xbeef],
            fill: 1,
            memory: vec![MemoryEntry::usable(0, 0x9_fc00), MemoryEntry::usable(1 << 20, 1 << 30)],
            ..Case::default()
        }
    }

    /// Offset in the stub of the first instruction that adds the distance to a field: the first addition to memory behind
    /// the subtraction of LOAD_PHYSICAL_ADDR, in the function that decompresses.
    pub fn first_addition(&self) -> usize {
        let image = self.open();
        let stub = image.protected_mode();
        let bytes = std::fs::read(self.stub()).expect("the stub's ELF file");
        let elf = Elf::parse(&bytes).expect("an ELF file");
        let function = ["decompress_kernel", "extract_kernel"].iter().find_map(|name| {
            elf.syms.iter().find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name))
        });
        let start = function.expect("the function").st_value;
        let options = DecoderOptions::NONE;
        let bits = self.word().bits();
        let code = &stub[start as usize..];
        let mut decoder = Decoder::with_ip(bits, code, start, options);
        let mut instructions = std::iter::from_fn(|| Some(decoder.decode()));
        instructions
            .find(|i| i.mnemonic() == Mnemonic::Sub && i.immediate32() == 0x100_0000)
            .expect("the distance");
        let addition = instructions.take(100).find(|i| {
            i.mnemonic() == Mnemonic::Add
                && i.op0_kind() == OpKind::Memory
                && i.op1_kind() == OpKind::Register
        });
        addition.expect("the addition").ip() as usize
    }

    /// The source line of the instruction at an offset of the stub, as `addr2line` tells it.
    pub fn source_line(&self, offset: u64) -> Option<String> {
        let output = Command::new("addr2line")
            .arg("-e")
            .args([self.stub().to_str().expect("a name in UTF-8"), &format!("{offset:#x}")])
            .output()
            .expect("addr2line, of binutils");
        let text = String::from_utf8_lossy(&output.stdout);
        // It adds "(discriminator 2)" where a line has several blocks.
        let line = text.split_whitespace().next()?;
        (!line.starts_with('?') && !line.ends_with('?')).then(|| line.to_owned())
    }

    /// The image with `bytes` at an offset of its stub.
    pub fn patched(&self, offset: usize, bytes: &[u8]) -> Vec<u8> {
        let image = self.open();
        let mut file = image.file().to_vec();
        let start = image.header().setup_size() + offset;
        file[start..start + bytes.len()].copy_from_slice(bytes);
        file
    }
}

/// All symbols of an ELF file that reach an address, each as findings name it.
pub fn names(path: &Path, address: u64) -> Vec<String> {
    let reaches =
        |symbol: &Sym| (symbol.st_value..symbol.st_value + symbol.st_size).contains(&address);
    named(path, address, reaches)
}

/// All symbols without a size below an address, each as findings name it.
pub fn labels(path: &Path, address: u64) -> Vec<String> {
    named(path, address, |symbol| symbol.st_size == 0 && symbol.st_value <= address)
}

fn named(path: &Path, address: u64, wanted: impl Fn(&Sym) -> bool) -> Vec<String> {
    let bytes = std::fs::read(path).expect("a file of the build");
    let elf = Elf::parse(&bytes).expect("an ELF file");
    let reaching = elf.syms.iter().filter(wanted);
    let name = |symbol: Sym| {
        let name = elf.strtab.get_at(symbol.st_name).unwrap_or_default();
        match address - symbol.st_value {
            0 => name.to_owned(),
            offset => format!("{name}+{offset:#x}"),
        }
    };
    reaching.map(name).collect()
}

/// The section of an ELF file that an address lies in.
pub fn section(path: &Path, address: u64) -> Option<String> {
    let bytes = std::fs::read(path).expect("a file of the build");
    let elf = Elf::parse(&bytes).expect("an ELF file");
    let section = elf.section_headers.iter().find(|section| {
        let loaded = section.sh_flags & 2 != 0;
        loaded && (section.sh_addr..section.sh_addr + section.sh_size).contains(&address)
    });
    section.and_then(|section| elf.shdr_strtab.get_at(section.sh_name)).map(str::to_owned)
}
