// SPDX-License-Identifier: GPL-2.0-only
//! Tells people, programs and the eye what KASLR makes of a machine.

mod json;
mod svg;
mod text;

use std::path::Path;

use crate::campaign::kaslr::Surveyed;
use crate::oracle::Subject;

/// A survey with all that a report says of it.
#[derive(Clone, Copy)]
pub struct KaslrReport<'a> {
    /// What the report calls the image.
    pub name: &'a str,
    /// The image's file.
    pub path: &'a Path,
    /// The image.
    pub subject: &'a Subject,
    /// Seed of the samples.
    pub seed: u64,
    /// What came out.
    pub surveyed: &'a Surveyed,
}

impl KaslrReport<'_> {
    /// For people, at most 100 columns wide but for file names and findings.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// For programs; a newline at the end.
    ///
    /// # Errors
    ///
    /// The file's name cannot be written.
    pub fn json(&self) -> serde_json::Result<String> {
        json::render(self)
    }

    /// A picture that stands for itself: an SVG file without scripts, links or fonts of its own.
    pub fn svg(&self) -> String {
        svg::render(self)
    }
}
