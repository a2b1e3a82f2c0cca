// SPDX-License-Identifier: GPL-2.0-only
//! Halves the time of a run: takes a check out of translated code that no run needs.
//!
//! Unicorn makes the guest's code ask after *every* memory access, and after every hook on an instruction, whether a hook
//! wants to stop, by a call that also forces all guest registers out to memory and back. No memory hook here ever stops the
//! engine, and an access that is refused leaves translated code at once by another way. The check at the start of each
//! block, by which the watchdog and the block budget stop an engine, is a different function and stays.
//!
//! A session has hooks on instructions that stop the engine there and then: where it needs the check, it is kept.
//!
//! The function that emits the check is replaced when the program is linked (see `build.rs`). A build in
//! which that fails is slower and otherwise the same; a test here notices.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use unicorn_engine::hook::sys;

/// How often the engine wanted to emit the check.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The engine that runs in this thread and keeps the check; none in most.
    static KEPT_IN: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// As long as it lives, what an engine translates in this thread keeps the check.
pub struct Kept(());

impl Kept {
    /// For `engine`, which must be the only one to run in this thread until this is dropped, and not closed before.
    pub fn new(engine: *mut sys::uc_engine) -> Kept {
        KEPT_IN.set(engine.cast());
        Kept(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT_IN.set(ptr::null_mut());
    }
}

/// Replaces the engine's function of the same name (qemu/tcg/tcg-op.c), which is called while a memory
/// access or a hook on an instruction is translated.
// SAFETY: the name is that of an engine function with this signature; emitting nothing is what it does
// itself when the engine's `no_exit_request` is set.
#[unsafe(no_mangle)]
extern "C" fn check_exit_request_x86_64(translation: *mut c_void) {
    let engine = KEPT_IN.get();
    if engine.is_null() {
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
    } else {
        // SAFETY: the engine calls with its translation, and is the one that keeps the check.
        unsafe { emit(translation, engine) };
    }
}

// The engine's own functions (qemu/tcg/tcg.c, qemu/accel/tcg/tcg-runtime.c). A value of translated code is told by the
// distance of its record from the translation's.
unsafe extern "C" {
    fn tcg_const_i32_x86_64(translation: *mut c_void, value: i32) -> usize;
    fn tcg_const_i64_x86_64(translation: *mut c_void, value: i64) -> usize;
    fn tcg_temp_free_internal_x86_64(translation: *mut c_void, record: *mut c_void);
    fn tcg_gen_callN_x86_64(
        translation: *mut c_void,
        function: *mut c_void,
        result: *mut c_void,
        count: c_int,
        arguments: *mut *mut c_void,
    );
    fn helper_check_exit_request_x86_64(engine: *mut c_void, in_delay_slot: u32);
}

/// Emits the check as the engine does for x86, which has no delay slots.
///
/// # Safety
/// `translation` is what `engine` is translating.
unsafe fn emit(translation: *mut c_void, engine: *mut c_void) {
    // SAFETY: the calls of the function that is replaced (`check_exit_request`, qemu/tcg/tcg-op.c, and
    // `gen_helper_check_exit_request`, exec/helper-gen.h), with the same arguments.
    unsafe {
        let engine = tcg_const_i64_x86_64(translation, engine as i64);
        let in_delay_slot = tcg_const_i32_x86_64(translation, 0);
        let record = |value: usize| translation.byte_add(value);
        let mut arguments = [record(engine), record(in_delay_slot)];
        tcg_gen_callN_x86_64(
            translation,
            helper_check_exit_request_x86_64 as *mut c_void,
            ptr::null_mut(),
            arguments.len() as c_int,
            arguments.as_mut_ptr(),
        );
        tcg_temp_free_internal_x86_64(translation, record(in_delay_slot));
        tcg_temp_free_internal_x86_64(translation, record(engine));
    }
}

/// How many checks have been left out of translated code so far: 0 in a build that keeps them.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}
