// SPDX-License-Identifier: GPL-2.0-only
//! `builds.toml` as it is written: sources, and variants that stand for many builds each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::corpus::{CorpusError, Name};
use crate::toml_file;

/// The schema that this version of relocheck reads.
const SCHEMA: u32 = 1;

/// Where the source of a series comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// Debian's suites in order of preference.
    pub suites: Vec<Name>,
    /// The package that holds the source.
    pub package: Name,
    /// Variables for make, for all variants.
    #[serde(default)]
    pub make: BTreeMap<String, String>,
}

/// One kind of configuration, for several series and word sizes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The part of the builds' names that tells it from others.
    pub name: Name,
    /// What is special about it, for people.
    pub description: String,
    /// The series that it is built from.
    pub series: Vec<Name>,
    /// The word sizes that it is built for.
    pub architectures: Vec<Arch>,
    /// The fragments that make its configuration; later ones win.
    pub fragments: Vec<Name>,
    /// What the images are compressed with: one build each.
    pub compressors: Vec<Compressor>,
    /// What it is compiled with.
    #[serde(default)]
    pub compiler: Compiler,
    /// Variables for make, such as `KCFLAGS`.
    #[serde(default)]
    pub make: BTreeMap<String, String>,
}

/// An architecture by the kernel's name (`make ARCH=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 32-bit.
    I386,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Arch::X86_64 => "x86_64",
            Arch::I386 => "i386",
        })
    }
}

/// What compiles and links a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compiler {
    /// gcc and the linker of binutils.
    #[default]
    Gcc,
    /// clang and lld, with LLVM's tools for object files.
    Clang,
}

/// A compressor that x86 kernels know (init/Kconfig, "Kernel compression mode").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is called by its name")]
pub enum Compressor {
    Gzip,
    Bzip2,
    Lzma,
    Xz,
    Lzo,
    Lz4,
    Zstd,
}

impl Compressor {
    /// The option that chooses it.
    pub fn symbol(self) -> String {
        format!("CONFIG_KERNEL_{}", self.to_string().to_uppercase())
    }
}

impl fmt::Display for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Compressor::Gzip => "gzip",
            Compressor::Bzip2 => "bzip2",
            Compressor::Lzma => "lzma",
            Compressor::Xz => "xz",
            Compressor::Lzo => "lzo",
            Compressor::Lz4 => "lz4",
            Compressor::Zstd => "zstd",
        })
    }
}

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    #[serde(rename = "schema")]
    _schema: u32,
    /// The sources, by series.
    #[serde(rename = "source")]
    pub sources: BTreeMap<Name, SourceSpec>,
    /// The variants, in the order in which they are built.
    #[serde(rename = "variant")]
    pub variants: Vec<Variant>,
}

impl Document {
    /// Parses the text of a matrix; `file` is what errors call it.
    ///
    /// # Errors
    /// Not TOML, another schema, an unknown or missing field, a value of another kind: with the
    /// file, the line where there is one, and the field.
    pub fn parse(file: &str, text: &str) -> Result<Document, CorpusError> {
        toml_file::parse_versioned(text, SCHEMA)
            .map_err(|problem| CorpusError::Manifest { place: file.to_owned(), problem })
    }
}
