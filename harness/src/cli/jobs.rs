// SPDX-License-Identifier: GPL-2.0-only
//! How much runs at the same time.

use anyhow::Context;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::Failure;

/// `--jobs`.
#[derive(clap::Args)]
pub struct Jobs {
    /// Cases that run at the same time. [default: one per core]
    #[arg(long, short, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Jobs {
    /// As many threads.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn pool(&self) -> Result<ThreadPool, Failure> {
        let builder = ThreadPoolBuilder::new().num_threads(self.jobs.unwrap_or(0).into());
        Ok(builder.build().context("threads")?)
    }
}
