// SPDX-License-Identifier: GPL-2.0-only
//! A report as one HTML file: no script, nothing to load, readable on a phone and on paper.
//!
//! What needs action comes first: the verdict, new findings, known issues and doubts; then all images by all rules, and at
//! last each image with pictures of memory. Everything from outside passes maud's escaping and [`text::printable`].

mod head;
mod image;
mod matrix;
mod news;
mod space;
mod text;
mod trend;

#[cfg(test)]
mod tests;

use maud::{DOCTYPE, PreEscaped, html};

pub use crate::history::Past;
use crate::record::{Report, State};

const STYLE: &str = include_str!("style.css");
/// Pictures of one image, and of all together: a page has to stay small enough to be mailed.
const MOST_PICTURES: usize = 6;
const ALL_PICTURES: usize = 180;

/// The page. `past` has earlier runs of the same campaign; without any there is no trend.
pub fn html(report: &Report, past: &Past) -> String {
    let images = || report.images.iter().enumerate();
    let failing = |state: State| matches!(state, State::New | State::Known);
    let count = images().filter(|(_, image)| failing(image.state())).count();
    let pictures = (ALL_PICTURES / count.max(1)).clamp(1, MOST_PICTURES);
    let section = |(index, image)| image::section(report.seed, index, image, pictures);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "relocheck: " (head::title(report)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head::head(report))
                main {
                    (news::news(report, past))
                    (trend::trend(past))
                    (matrix::matrix(report))
                    section #images {
                        h2 { "Images" }
                        @for one in images().filter(|(_, image)| failing(image.state())) { (section(one)) }
                        @for one in images().filter(|(_, image)| !failing(image.state())) { (section(one)) }
                    }
                }
            }
        }
    };
    text::printable(page.into_string())
}
