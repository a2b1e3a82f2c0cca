// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck worker`: runs cases for a campaign, which started it. Not for people.

use rustix::process::{Signal, set_parent_process_death_signal};

use super::Failure;
use crate::campaign::nightly::serve;
use crate::exit::Exit;
use crate::machine::UnicornEngine;

/// Answers the campaign's requests until it ends; when it is killed, so is this process.
pub fn run() -> Result<Exit, Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(anyhow::Error::from)?;
    serve(&UnicornEngine::new(), std::io::stdin().lock(), std::io::stdout().lock())?;
    Ok(Exit::Conforms)
}
