// SPDX-License-Identifier: GPL-2.0-only
//! The loaders whose habits a case can have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A loader of Linux kernels.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// No particular one: everything that the boot protocol allows.
    #[default]
    Any,
    /// kexec-tools, image type bzImage, by the 32-bit entry.
    #[serde(rename = "kexec-32")]
    Kexec32,
    /// kexec-tools, image type bzImage64.
    #[serde(rename = "kexec-64")]
    Kexec64,
    /// The running kernel's own loader, behind the system call kexec_file_load.
    KexecFile,
    /// A crash kernel, put into the memory that was reserved for it.
    Kdump,
    /// QEMU's option `-kernel`.
    Qemu,
    /// cloud-hypervisor, by the 32-bit entry.
    CloudHypervisor,
    /// crosvm.
    Crosvm,
    /// coreboot with the kernel as its payload (LinuxBIOS).
    Coreboot,
    /// GRUB on a PC BIOS.
    Grub,
}

impl Loader {
    /// All of them.
    pub const ALL: [Loader; 10] = [
        Loader::Any,
        Loader::Kexec32,
        Loader::Kexec64,
        Loader::KexecFile,
        Loader::Kdump,
        Loader::Qemu,
        Loader::CloudHypervisor,
        Loader::Crosvm,
        Loader::Coreboot,
        Loader::Grub,
    ];

    /// The name in case files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Loader::Any => "any",
            Loader::Kexec32 => "kexec-32",
            Loader::Kexec64 => "kexec-64",
            Loader::KexecFile => "kexec-file",
            Loader::Kdump => "kdump",
            Loader::Qemu => "qemu",
            Loader::CloudHypervisor => "cloud-hypervisor",
            Loader::Crosvm => "crosvm",
            Loader::Coreboot => "coreboot",
            Loader::Grub => "grub",
        }
    }

    /// The identifier by which it presents itself (boot.rst, `type_of_loader`).
    pub fn type_of_loader(self) -> u8 {
        match self {
            Loader::Kexec32 | Loader::Kexec64 | Loader::KexecFile | Loader::Kdump => 0xd0,
            Loader::Qemu => 0xb0,
            Loader::Grub => 0x72,
            Loader::Any | Loader::CloudHypervisor | Loader::Crosvm | Loader::Coreboot => 0xff,
        }
    }
}

impl std::fmt::Display for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Loader {
    type Err = String;

    fn from_str(text: &str) -> Result<Loader, String> {
        Loader::ALL.into_iter().find(|loader| loader.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Loader::ALL.iter().map(|loader| loader.name()).collect();
            format!("no loader is called {text:?}; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for loader in Loader::ALL {
            assert_eq!(loader.name().parse(), Ok(loader));
            let written = serde_json::to_string(&loader).unwrap();
            assert_eq!(written, format!("{:?}", loader.name()));
        }
        assert!("lilo".parse::<Loader>().unwrap_err().contains("kdump"));
    }
}
