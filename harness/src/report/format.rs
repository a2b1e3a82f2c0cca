// SPDX-License-Identifier: GPL-2.0-only
//! The formats of a report, and the one function that makes them all.

use clap::ValueEnum;

use super::{github, junit, ktap, mail, text};
use crate::record::Report;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Text,
    /// The report itself.
    Json,
    /// JUnit XML, for Jenkins and GitLab.
    Junit,
    /// The kernel's test format.
    Ktap,
    /// A mail to a list, its subject in the first line.
    Mail,
    /// Annotations for GitHub Actions, and a summary of the step.
    Github,
}

/// `report` in this format. [`Format::Text`] is in colour: strip it where no terminal is.
pub fn render(report: &Report, format: Format) -> String {
    match format {
        Format::Text => text::text(report),
        Format::Json => report.to_json().expect("a report has only types that JSON has"),
        Format::Junit => junit::junit(report),
        Format::Ktap => ktap::ktap(report),
        Format::Mail => mail::mail(report),
        Format::Github => github::annotations(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    #[test]
    fn every_format_ends_its_last_line_and_is_the_same_each_time() {
        for report in [samples::everything(), samples::plain()] {
            for format in Format::value_variants() {
                let text = render(&report, *format);
                assert!(text.ends_with('\n'), "{format:?}");
                assert_eq!(text, render(&report, *format), "{format:?}");
            }
        }
    }
}
