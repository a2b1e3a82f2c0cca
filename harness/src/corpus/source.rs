// SPDX-License-Identifier: GPL-2.0-only
//! Where an image comes from: one variant of [`Source`] for each kind of registry.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::{MemberPath, Name};

/// Where an image comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A package of the Debian archive.
    Debian(DebianSource),
    /// A crate of the registry that this user's cargo uses.
    Crate(RegistrySource),
}

/// A package of the Debian archive, and the suites that are asked for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianSource {
    /// Suites in order of preference; `host` is the release of the machine that runs relocheck.
    pub suites: Vec<Name>,
    /// The package architecture.
    pub architecture: Architecture,
    /// The package, or a metapackage whose dependencies lead to it.
    pub package: Name,
    /// The image's path in this very package; without it the kernel is looked for where Debian
    /// puts kernels, in the package and in those that it depends on.
    pub file: Option<MemberPath>,
    /// Whether it is the kernel's own ELF file that is wanted, out of a package with debug information: no image, but what an
    /// image is compared with (`relocheck check --vmlinux`).
    #[serde(default)]
    pub vmlinux: bool,
}

/// One version of a package in the registry of a programming language. Such versions never change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySource {
    /// The package.
    pub package: PackageName,
    /// The version, exactly.
    pub version: Name,
    /// The image's path in the package, as its author sees it: without the folder that the archive
    /// wraps everything in. A file that ends with `.xz`, `.gz` or
    /// `.zst` is unpacked.
    pub file: MemberPath,
    /// The architecture that the image is for.
    pub architecture: Architecture,
}

/// The name of a package in such a registry: letters, digits and `-_.`, first a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct PackageName(String);

impl PackageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PackageName {
    type Error = String;

    fn try_from(text: String) -> Result<PackageName, String> {
        let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            Ok(PackageName(text))
        } else {
            Err(format!("`{text}` is no name of a package"))
        }
    }
}

/// A Debian architecture that has bzImage kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit.
    Amd64,
    /// 32-bit.
    I386,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Architecture::Amd64 => "amd64",
            Architecture::I386 => "i386",
        })
    }
}

impl DebianSource {
    /// The index's key for the image that `suite` gives: entries with the same source share it.
    pub(super) fn key(&self, suite: &str) -> String {
        let key = format!("debian/{suite}/{}/{}", self.architecture, self.package);
        match &self.file {
            Some(file) => format!("{key}#{}", file.as_str()),
            None if self.vmlinux => key + "#vmlinux",
            None => key,
        }
    }
}

impl RegistrySource {
    /// The index's key for the image that `registry` gives.
    pub(super) fn key(&self, registry: &str) -> String {
        let file = self.file.as_str();
        format!("{registry}/{}/{}#{file}", self.package.as_str(), self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_that_could_be_options_or_paths_are_refused() {
        for bad in ["", "-r", "../x", "a/b", "git+x", "a@b", "a b", "a\"b"] {
            assert!(PackageName::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        for good in ["omea-kernel-x86-64", "Some_Name.x"] {
            assert!(PackageName::try_from(good.to_owned()).is_ok(), "{good}");
        }
    }
}
