// SPDX-License-Identifier: GPL-2.0-only
//! Instructions whose result would otherwise come from the host: CPUID, RDTSC, RDTSCP and RDRAND answer
//! as the case says.
//!
//! The wrapper's own hook for these instructions returns nothing where the engine expects an int, so they
//! are registered directly.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use unicorn_engine::hook::sys;
use unicorn_engine::{RegisterX86, Unicorn, X86Insn, uc_error};

use super::features::{CpuFeatures, cpuid};
use crate::image::WordSize;

/// What a guest reads that asks for the time-stamp counter although none is announced.
const TIME_STAMP: u64 = 0x1000;

/// The answers of one machine's CPU, and how often it was asked.
pub struct Script {
    word: WordSize,
    features: CpuFeatures,
    rdrand_reads: Cell<u64>,
    tsc_reads: Cell<u64>,
    refused: Cell<bool>,
}

impl Script {
    /// The answers of a machine of `word` size.
    pub fn new(word: WordSize, features: CpuFeatures) -> Rc<Script> {
        let (rdrand_reads, tsc_reads) = <(Cell<u64>, Cell<u64>)>::default();
        let refused = Cell::new(false);
        Rc::new(Script { word, features, rdrand_reads, tsc_reads, refused })
    }

    /// Makes `uc`, an engine without code so far, answer from this script.
    ///
    /// # Safety
    /// The script must live as long as the engine does.
    pub unsafe fn install<D>(&self, uc: &Unicorn<D>) -> Result<(), uc_error> {
        let hooks: [(X86Insn, Callback); 3] = [
            (X86Insn::CPUID, answer_cpuid),
            (X86Insn::RDTSC, answer_rdtsc),
            (X86Insn::RDTSCP, refuse),
        ];
        for (instruction, callback) in hooks {
            let mut hook: sys::uc_hook = 0;
            // SAFETY: the callback has the signature that the engine documents for instruction hooks
            // (`uc_cb_insn_cpuid_t`), and the script outlives the engine as the caller promises.
            let result: Result<(), uc_error> = unsafe {
                sys::uc_hook_add(
                    uc.get_handle(),
                    (&raw mut hook).cast(),
                    sys::HookType::INSN.0 as c_int,
                    callback as *mut c_void,
                    std::ptr::from_ref(self).cast_mut().cast(),
                    1,
                    0,
                    instruction as c_int,
                )
            }
            .into();
            result?;
        }
        Ok(())
    }

    /// What RDRAND delivers this time: `None` if there is no such instruction, `Some(None)` if the
    /// generator has no number ready.
    pub fn rdrand(&self) -> Option<Option<u64>> {
        let values = self.features.rdrand.as_ref()?;
        let tries = u64::from(self.features.rdrand_failures) + 1;
        let turn = self.rdrand_reads.replace(self.rdrand_reads.get() + 1);
        let ready = turn % tries == tries - 1;
        Some(ready.then(|| value(values, turn / tries)).flatten())
    }

    /// Whether the guest executed an instruction that its CPU does not have, since this was asked last.
    pub fn take_refused(&self) -> bool {
        self.refused.take()
    }

    /// How often RDRAND was executed, with or without success.
    pub fn rdrand_reads(&self) -> u64 {
        self.rdrand_reads.get()
    }

    /// How often RDTSC was executed.
    pub fn tsc_reads(&self) -> u64 {
        self.tsc_reads.get()
    }

    /// How often RDRAND and RDTSC were executed.
    pub fn reads(&self) -> (u64, u64) {
        (self.rdrand_reads.get(), self.tsc_reads.get())
    }

    /// Goes back to where [`Script::reads`] said this.
    pub fn set_reads(&self, (rdrand, tsc): (u64, u64)) {
        self.rdrand_reads.set(rdrand);
        self.tsc_reads.set(tsc);
        self.refused.set(false);
    }

    fn time_stamp(&self) -> u64 {
        match &self.features.tsc {
            Some(values) => next(values, &self.tsc_reads).unwrap_or(0),
            None => {
                self.tsc_reads.set(self.tsc_reads.get() + 1);
                TIME_STAMP
            }
        }
    }
}

/// The value of `values` whose turn it is after `reads`, which is counted on.
fn next(values: &[u64], reads: &Cell<u64>) -> Option<u64> {
    value(values, reads.replace(reads.get() + 1))
}

/// The value of `values`, which are used over and over, whose turn it is.
fn value(values: &[u64], turn: u64) -> Option<u64> {
    let index = turn.checked_rem(values.len() as u64)?;
    Some(values[index as usize])
}

type Callback = unsafe extern "C" fn(*mut sys::uc_engine, *mut c_void) -> c_int;

/// The engine is not to execute the instruction itself.
const DONE: c_int = 1;

unsafe extern "C" fn answer_cpuid(uc: *mut sys::uc_engine, script: *mut c_void) -> c_int {
    // SAFETY: the pointer is the one given to `uc_hook_add`.
    let script = unsafe { &*script.cast::<Script>() };
    // SAFETY: called by the engine with its own handle.
    let (leaf, subleaf) = unsafe { (read(uc, RegisterX86::EAX), read(uc, RegisterX86::ECX)) };
    let registers = [RegisterX86::EAX, RegisterX86::EBX, RegisterX86::ECX, RegisterX86::EDX];
    let values = cpuid(script.word, &script.features, leaf, subleaf);
    for (register, value) in registers.into_iter().zip(values) {
        // SAFETY: as above.
        unsafe { write(uc, register, value) };
    }
    DONE
}

unsafe extern "C" fn answer_rdtsc(uc: *mut sys::uc_engine, script: *mut c_void) -> c_int {
    // SAFETY: the pointer is the one given to `uc_hook_add`.
    let time = unsafe { &*script.cast::<Script>() }.time_stamp();
    // SAFETY: called by the engine with its own handle.
    unsafe {
        write(uc, RegisterX86::EAX, time as u32);
        write(uc, RegisterX86::EDX, (time >> 32) as u32);
    }
    DONE
}

/// An instruction that the engine's CPU model has and CPUID does not announce.
unsafe extern "C" fn refuse(uc: *mut sys::uc_engine, script: *mut c_void) -> c_int {
    // SAFETY: the pointer is the one given to `uc_hook_add`.
    unsafe { &*script.cast::<Script>() }.refused.set(true);
    // SAFETY: called by the engine with its own handle.
    unsafe { sys::uc_emu_stop(uc) };
    DONE
}

/// # Safety
/// `uc` is a live engine that is inside a hook, and `register` has 32 bits in every mode.
unsafe fn read(uc: *mut sys::uc_engine, register: RegisterX86) -> u32 {
    let mut value = 0u32;
    // SAFETY: as the caller promises; the engine fills 32 bits.
    unsafe { sys::uc_reg_read(uc, register as c_int, (&raw mut value).cast()) };
    value
}

/// # Safety
/// As for [`read`].
unsafe fn write(uc: *mut sys::uc_engine, register: RegisterX86, value: u32) {
    // SAFETY: as the caller promises; the engine takes 32 bits.
    unsafe { sys::uc_reg_write(uc, register as c_int, (&raw const value).cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_used_over_and_over() {
        let reads = Cell::default();
        let answers = [1, 2, 3].map(|_| next(&[7, 8], &reads));
        assert_eq!((answers, reads.get()), ([Some(7), Some(8), Some(7)], 3));
    }

    #[test]
    fn an_empty_list_is_asked_and_has_no_answer() {
        let features =
            CpuFeatures { rdrand: Some(vec![]), tsc: Some(vec![]), ..CpuFeatures::default() };
        let script = Script::new(WordSize::Bits64, features);
        assert_eq!((script.rdrand(), script.time_stamp()), (Some(None), 0));
        assert_eq!((script.rdrand_reads(), script.tsc_reads()), (1, 1));
    }

    #[test]
    fn without_a_generator_there_is_no_instruction_and_time_stands_still() {
        let script = Script::new(WordSize::Bits64, CpuFeatures::default());
        assert_eq!((script.rdrand(), script.rdrand_reads()), (None, 0));
        let slow =
            CpuFeatures { rdrand: Some(vec![5, 6]), rdrand_failures: 1, ..CpuFeatures::default() };
        let script = Script::new(WordSize::Bits64, slow);
        let answers = [(); 6].map(|()| script.rdrand().unwrap());
        assert_eq!(answers, [None, Some(5), None, Some(6), None, Some(5)]);
        assert_eq!(script.rdrand_reads(), 6);
        assert_eq!([script.time_stamp(), script.time_stamp()], [TIME_STAMP; 2]);
    }
}
