// SPDX-License-Identifier: GPL-2.0-only
//! Why no table can be derived.

use crate::vmlinux::VmlinuxError;

/// What is in the way, in one line that names symbol and place.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] VmlinuxError),
    /// It was linked without `--emit-relocs`, or they were stripped: builds of 6.5 to 6.14 do that, and leave those of
    /// sections with unusual names (arch/x86/Makefile.postlink).
    #[error(
        "it has no relocations of .text: expected a vmlinux as it is linked (up to 6.4; up to 6.14 if built with \
         `make cmd_strip_relocs=true`), or vmlinux.unstripped (from 6.15 on)"
    )]
    NoRelocations,
    /// A type that no stub could apply.
    #[error("{place}: {name} against `{symbol}`: the stub has no such relocation")]
    Unsupported {
        /// The type.
        name: String,
        /// Its symbol.
        symbol: String,
        /// Where.
        place: String,
    },
    /// A symbol that is not there.
    #[error("{place}: a relocation against symbol {number}, which is not in the symbol table")]
    NoSymbol {
        /// The symbol's index.
        number: usize,
        /// Where.
        place: String,
    },
    /// A field that no entry could name.
    #[error("{place}: a relocation at {address:#x}, which a table entry cannot name")]
    Address {
        /// Its address.
        address: u64,
        /// Where.
        place: String,
    },
    /// A per-cpu section at 0 that is nowhere.
    #[error("`.data..percpu` is linked at 0, and no segment says where it is loaded")]
    PerCpu,
    /// More relocations than any kernel has.
    #[error("more relocations than any kernel has")]
    TooMany,
}
