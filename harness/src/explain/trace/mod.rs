// SPDX-License-Identifier: GPL-2.0-only
//! What ran when: a trace of a run, line by line, and a profile, which sums it up by functions.
//!
//! Both follow the run block by block (`walk.rs`): they know which function is running and who called it, as far as calls
//! and returns tell.

mod copies;
mod decode;
mod line;
mod names;
mod profile;
mod spans;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod writer;

pub use copies::Copies;
pub use line::{Line, LineFormat};
pub use names::{Function, FunctionNames, StubNames, Unnamed};
pub use profile::{Profile, Profiler};
pub use spans::Span;
pub use tree::{CallTree, Node};
pub use walk::How;
pub use writer::{Kind, TraceOptions, Tracer, Written, told};
