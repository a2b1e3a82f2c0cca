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

/// A length in bytes, to a tenth of the largest unit that it fills.
fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, name)) = UNITS.into_iter().find(|(shift, _)| bytes >> shift > 0) else {
        return format!("{bytes} bytes");
    };
    let tenths = (u128::from(bytes) * 10 + (1 << (shift - 1))) >> shift;
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        rest => format!("{}.{rest} {name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_tenths() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (0x9fc00, "639 KiB"),
            (0x340_0000, "52 MiB"),
            (0x103_3334, "16.2 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 44, "16 TiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
