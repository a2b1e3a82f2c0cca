// SPDX-License-Identifier: GPL-2.0-only
//! Where results go: to standard output, or to a file that is named.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::{Failure, print};
use crate::record::Report;
use crate::report::{Format, github_summary, render};

/// Names a file to which a step of GitHub Actions adds Markdown.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Writes a report. For GitHub the summary of the step is written, too, if there is one.
pub fn report(report: &Report, format: Format, output: Option<&Path>) -> Result<(), Failure> {
    text(&render(report, format), output)?;
    if let (Format::Github, Some(path)) = (format, std::env::var_os(STEP_SUMMARY)) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(github_summary(report).as_bytes()))
            .with_context(|| format!("{STEP_SUMMARY}: {}", path.display()))
            .map_err(Failure::usage)?;
    }
    Ok(())
}

/// Prints `text`, or writes it to a file, there without colours.
pub fn text(text: &str, output: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = output else { return print(text) };
    std::fs::write(path, anstream::adapter::strip_str(text).to_string())
        .with_context(|| path.display().to_string())
        .map_err(Failure::usage)
}
