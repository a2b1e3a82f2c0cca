// SPDX-License-Identifier: GPL-2.0-only
//! The table of images at the end of a mail.

use textwrap::core::display_width;

use super::layout::elide;
use crate::record::{ImageRecord, State};

/// The columns, with the most that each may take: with a gap of two before each, the width of a line.
const COLUMNS: [(&str, usize); 5] =
    [("image", 28), ("kernel", 20), ("cases", 5), ("fail", 5), ("verdict", 12)];

/// A row for each image, below a header.
pub fn rows(images: &[ImageRecord]) -> Vec<String> {
    let header = COLUMNS.map(|(name, _)| name.to_owned());
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(images.iter().map(cells)).collect();
    let widths = [0, 1, 2, 3, 4].map(|column| {
        let cells = rows.iter().map(|row| display_width(&row[column]));
        cells.max().unwrap_or_default().min(COLUMNS[column].1)
    });
    let line = |row: &[String; 5]| {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = elide(cell, width);
            let padding = " ".repeat(width.saturating_sub(display_width(&cell)));
            line += "  ";
            // Numbers stand to the right.
            line += &if [2, 3].contains(&column) { padding + &cell } else { cell + &padding };
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn cells(image: &ImageRecord) -> [String; 5] {
    let release = image.facts.as_ref().and_then(|facts| facts.release.clone());
    let verdict = match image.state() {
        State::New => "DIVERGES",
        State::Known => "known issue",
        State::CannotJudge => "cannot judge",
        State::Conforms => "conforms",
    };
    [
        image.title(),
        release.unwrap_or_else(|| "-".into()),
        number(image.cases.len()),
        number(image.summary.diverging),
        verdict.into(),
    ]
}

/// A number in at most five columns, as long as it is one of cases.
fn number(count: usize) -> String {
    if count < 100_000 { count.to_string() } else { format!("{}k", count / 1000) }
}
