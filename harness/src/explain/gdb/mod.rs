// SPDX-License-Identifier: GPL-2.0-only
//! A debugger's view of one run: gdb connects, and drives the machine forth and back.
//!
//! | file | its part |
//! |---|---|
//! | `arch.rs` | the registers, as gdb is told of them |
//! | `wire.rs` | bytes from and to gdb |
//! | `target.rs` | what gdb asks for, done with a session |
//! | `monitor/` | the commands behind gdb's `monitor` |
//! | `hints.rs` | what to paste into gdb for names |

mod arch;
pub mod hints;
mod monitor;
mod target;
mod wire;

use std::io::{Read, Write};

use gdbstub::common::Signal;
use gdbstub::stub::state_machine::GdbStubStateMachine as Machine;
use gdbstub::stub::{DisconnectReason, GdbStub};

use super::symbols::Symbols;
use crate::case::Case;
use crate::machine::{MachineError, Setup, UnicornEngine};
use crate::oracle::Subject;
use target::{Debugged, StopReason};
use wire::{Polled, Wire};

/// More than any packet of gdb's.
const PACKET: usize = 16 << 10;

/// One run, ready to be debugged.
pub struct Debuggee<'a> {
    /// Runs the machine.
    pub engine: &'a UnicornEngine,
    /// The image.
    pub subject: &'a Subject,
    /// The case.
    pub case: &'a Case,
    /// What the machine is told, which follows from the case.
    pub setup: &'a Setup,
    /// Names of stub and kernel.
    pub symbols: &'a Symbols,
}

/// Why a session with gdb ended other than by gdb's wish.
#[derive(Debug, thiserror::Error)]
pub enum GdbError {
    /// The machine cannot be driven.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Whoever is there does not speak gdb's protocol.
    #[error("the client does not speak gdb's remote protocol: {0}")]
    Protocol(String),
}

/// Serves gdb until it detaches, kills the machine or is gone.
///
/// # Errors
/// The machine cannot be driven any more, or the client is no gdb.
pub fn serve(
    debuggee: &Debuggee,
    from: impl Read + Send + 'static,
    to: impl Write + 'static,
) -> Result<(), GdbError> {
    let mut target = Debugged::new(debuggee)?;
    let wire = Wire::new(from, to);
    let incoming = wire.incoming();
    let protocol = |error: &dyn std::fmt::Display| GdbError::Protocol(error.to_string());
    let stub = GdbStub::builder(wire)
        .packet_buffer_size(PACKET)
        .build()
        .map_err(|error| protocol(&error))?;
    let mut state = stub.run_state_machine(&mut target).map_err(|error| protocol(&error))?;
    loop {
        let next = match state {
            Machine::Idle(idle) => match incoming.wait() {
                Some(byte) => idle.incoming_data(&mut target, byte),
                None => return Ok(()),
            },
            Machine::Running(mut running) => match incoming.poll() {
                Polled::Byte(byte) => running.incoming_data(&mut target, byte),
                Polled::Closed => return Ok(()),
                Polled::Nothing => match target.advance(&mut || incoming.is_waiting())? {
                    Some((reason, told)) => {
                        if let Some(told) = told {
                            running.borrow_conn().tell(&told);
                        }
                        running.report_stop(&mut target, reason)
                    }
                    None => Ok(running.into()),
                },
            },
            Machine::CtrlCInterrupt(interrupt) => {
                let reason = StopReason::Signal(Signal::SIGINT);
                interrupt.interrupt_handled(&mut target, Some(reason))
            }
            Machine::Disconnected(mut last) => {
                if last.get_reason() == DisconnectReason::Kill {
                    // gdb waits for an answer, which the library does not give.
                    last.borrow_conn().send("OK");
                }
                return Ok(());
            }
        };
        state = match next {
            Ok(state) => state,
            Err(error) if error.is_connection_error() => return Ok(()),
            Err(error) if error.is_target_error() => {
                return Err(error.into_target_error().expect("it is one").into());
            }
            Err(error) => return Err(protocol(&error)),
        };
    }
}
