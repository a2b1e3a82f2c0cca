// SPDX-License-Identifier: GPL-2.0-only
//! The progress bar on standard error; none without a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts `count` of `what`.
pub fn bar(count: usize, what: &str) -> ProgressBar {
    let style = format!("{{bar:40.cyan/blue}} {{pos}}/{{len}} {what} {{elapsed}} {{wide_msg}}");
    let bar = ProgressBar::new(count as u64);
    // Unknown to the library only if the constant above is wrong: then the default style serves.
    if let Ok(style) = ProgressStyle::with_template(&style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// A bar that counts `what` without knowing how many there will be.
pub fn spinner(what: &str) -> ProgressBar {
    let style = format!("{{spinner}} {{human_pos}} {what} {{elapsed}}");
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(&style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
