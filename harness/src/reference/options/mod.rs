// SPDX-License-Identifier: GPL-2.0-only
//! The stub's ways of reading the command line. It has two that disagree about spaces, quotes and numbers: a search for
//! single words, and the kernel's own parser, which only KASLR uses.

mod arguments;
mod numbers;
mod words;

pub use arguments::Arguments;
pub use numbers::{Sizes, guessed, strict};
pub use words::{CommandLine, value};
