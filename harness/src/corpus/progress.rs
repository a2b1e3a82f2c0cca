// SPDX-License-Identifier: GPL-2.0-only
//! Says on standard error how far a fetch is: moving bars on a terminal, a line per download
//! elsewhere.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes, and how far all of it is.
pub struct Progress {
    bars: Option<MultiProgress>,
    lines: bool,
    all: Mutex<All>,
}

/// How far a fetch of several entries is.
#[derive(Default)]
struct All {
    entries: usize,
    finished: usize,
    /// Bytes of the packages that were downloaded.
    bytes: u64,
    bar: Option<ProgressBar>,
}

/// The progress of one entry; its bar goes with the value.
pub struct Task {
    bar: Option<ProgressBar>,
    /// How lines of this task begin; `None` where no lines are wanted.
    lines: Option<String>,
}

impl Progress {
    /// To standard error, in the form that suits it.
    pub fn to_stderr() -> Progress {
        let terminal = io::stderr().is_terminal();
        Progress {
            bars: terminal.then(MultiProgress::new),
            lines: !terminal,
            all: Mutex::default(),
        }
    }

    /// Nowhere.
    pub fn none() -> Progress {
        Progress { bars: None, lines: false, all: Mutex::default() }
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

    /// A fetch of so many entries begins.
    pub fn begin(&self, entries: usize) {
        self.change(|all| {
            let bar = |bars: &MultiProgress| {
                let bar = bars.add(ProgressBar::new(entries as u64));
                bar.set_style(style("{bar:40.cyan/blue} {pos}/{len} {elapsed} {msg}"));
                bar
            };
            *all = All { entries, bar: self.bars.as_ref().map(bar), ..All::default() };
        });
    }

    /// A package of so many bytes was downloaded.
    pub fn downloaded(&self, bytes: u64) {
        self.change(|all| {
            all.bytes = all.bytes.saturating_add(bytes);
            if let Some(bar) = &all.bar {
                bar.set_message(format!("{} fetched", HumanBytes(all.bytes)));
            }
        });
    }

    /// One more entry is done, well or not.
    pub fn finished(&self) {
        self.change(|all| {
            all.finished += 1;
            if let Some(bar) = &all.bar {
                bar.inc(1);
            }
        });
    }

    /// The fetch has ended.
    pub fn end(&self) {
        self.change(|all| {
            if let Some(bar) = all.bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut All)) {
        change(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Begins the progress of an entry.
    pub fn task(&self, name: &str) -> Task {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.insert(0, ProgressBar::new_spinner());
            bar.set_style(style("{prefix:22} {spinner} {msg}"));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let lines = self.lines.then(|| {
            let mut place = String::new();
            self.change(|all| place = format!("[{}/{}] {name}", all.finished, all.entries));
            place
        });
        Task { bar, lines }
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
        if let Some(begin) = &self.lines {
            eprintln!("{begin}: fetching {package}, {}", HumanBytes(size));
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
