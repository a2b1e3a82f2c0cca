// SPDX-License-Identifier: GPL-2.0-only
//! Does relocheck find what kernels once had wrong? Each bug is looked for by the cases that `check` would
//! draw for its kernel, and the kernel without it, its twin, has to conform in as many.

mod builtin;
mod catalogue;
mod hunt;
mod twin;

pub use catalogue::{Bug, BugEntry, Catalogue, Evidence, altered};
pub use hunt::{Caught, Hunt, Hunted, hunt};
pub use twin::{Quarry, check_twins};
