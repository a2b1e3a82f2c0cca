// SPDX-License-Identifier: GPL-2.0-only
//! Proves that a Linux x86 bzImage relocates itself correctly.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod build_tree;
pub mod campaign;
pub mod case;
pub mod cli;
pub mod corpus;
pub mod exit;
pub mod explain;
mod hex;
pub mod history;
pub mod image;
pub mod machine;
pub mod mutate;
pub mod oracle;
pub mod range;
pub mod record;
pub mod reference;
pub mod relink;
pub mod report;
mod toml_file;
pub mod vmlinux;
