// SPDX-License-Identifier: GPL-2.0-only
//! Halves the time of a run: takes a check out of translated code that no machine here needs.
//!
//! Unicorn makes the guest's code ask after *every* memory access whether a memory hook wants to stop, by a
//! call that also forces all guest registers out to memory and back. No memory hook here ever stops the engine, and
//! an access that is refused leaves translated code at once by another way. The check at the start of each
//! block, by which the watchdog and the block budget stop an engine, is a different function and stays.
//!
//! The function that emits the check is replaced when the program is linked (see `build.rs`). A build in
//! which that fails is slower and otherwise the same; a test here notices.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often the engine wanted to emit the check.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Replaces the engine's function of the same name (qemu/tcg/tcg-op.c), which is called while a memory
/// access is translated.
// SAFETY: the name is that of an engine function with this signature; emitting nothing is what it does
// itself when the engine's `no_exit_request` is set.
#[unsafe(no_mangle)]
extern "C" fn check_exit_request_x86_64(_translation: *mut c_void) {
    LEFT_OUT.fetch_add(1, Ordering::Relaxed);
}

/// How many checks have been left out of translated code so far: 0 in a build that keeps them.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}
