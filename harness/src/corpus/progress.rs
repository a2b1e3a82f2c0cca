// SPDX-License-Identifier: GPL-2.0-only
//! Says on standard error how far a fetch is: moving bars on a terminal, a line per download
//! elsewhere.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes.
pub struct Progress {
    bars: Option<MultiProgress>,
    lines: bool,
}

/// The progress of one entry; its bar goes with the value.
pub struct Task {
    name: String,
    bar: Option<ProgressBar>,
    lines: bool,
}

impl Progress {
    /// To standard error, in the form that suits it.
    pub fn to_stderr() -> Progress {
        let terminal = io::stderr().is_terminal();
        Progress { bars: terminal.then(MultiProgress::new), lines: !terminal }
    }

    /// Nowhere.
    pub fn none() -> Progress {
        Progress { bars: None, lines: false }
    }

    /// A message of its own.
    pub fn note(&self, text: &str) {
        match &self.bars {
            // Drawing to a terminal that is gone is no reason to stop.
            Some(bars) => drop(bars.println(text)),
            None if self.lines => eprintln!("{text}"),
            None => {}
        }
    }

    /// Begins the progress of an entry.
    pub fn task(&self, name: &str) -> Task {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style("{prefix:22} {spinner} {msg}"));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Task { name: name.to_owned(), bar, lines: self.lines }
    }
}

impl Task {
    /// What is being done now.
    pub fn stage(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.set_style(style("{prefix:22} {spinner} {msg}"));
        }
    }

    /// A download of `size` bytes begins.
    pub fn download(&self, package: &str, size: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(size);
            bar.set_position(0);
            bar.set_message(package.to_owned());
            bar.set_style(style("{prefix:22} {bar:24} {bytes:>10}/{total_bytes:10} {msg}"));
        }
        if self.lines {
            eprintln!("{}: fetching {package}, {} KiB", self.name, size.div_ceil(1024));
        }
    }

    /// So many bytes of the download are there.
    pub fn position(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
