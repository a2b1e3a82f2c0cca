// SPDX-License-Identifier: GPL-2.0-only
//! A whole report in one line.

use textwrap::core::display_width;

use super::plain::{count, one_line};
use crate::record::{Report, Standing, Totals};

/// Such as "everything: 2 new divergences, 61 of 63 images conform". A divergence is a finding of an image, in however
/// many cases, or a regression case that is back.
pub fn headline(report: &Report) -> String {
    name(report) + &parts(report).join(", ")
}

/// The same with as many of its parts as fit into `width` columns, but for the first one, which is always there.
pub fn subject(report: &Report, width: usize) -> String {
    let mut subject = format!("[relocheck] {}", name(report));
    for (number, part) in parts(report).iter().enumerate() {
        let part = if number > 0 { format!(", {part}") } else { part.clone() };
        if number > 0 && display_width(&subject) + display_width(&part) > width {
            break;
        }
        subject += &part;
    }
    subject
}

fn name(report: &Report) -> String {
    report.campaign.as_ref().map(|campaign| one_line(&campaign.name) + ": ").unwrap_or_default()
}

fn parts(report: &Report) -> Vec<String> {
    let Totals { images, conforming, known, not_judged, .. } = report.totals();
    let mut parts = vec![match divergences(report) {
        0 => "no new divergence".to_owned(),
        new => count(new, "new divergence"),
    }];
    if images > 0 {
        let verb = if images == 1 { "conforms" } else { "conform" };
        parts.push(format!("{conforming} of {} {verb}", count(images, "image")));
    }
    let campaign = report.campaign.as_ref();
    if let Some(partition) = campaign.and_then(|campaign| campaign.partition.as_ref()) {
        parts.push(format!("{} of {} only", count(partition.parts.len(), "part"), partition.of));
    }
    if not_judged > 0 {
        parts.push(format!("{not_judged} not judged"));
    }
    if known > 0 {
        parts.push(format!("{known} with known issues only"));
    }
    parts
}

/// How many findings are new.
pub fn divergences(report: &Report) -> usize {
    let images = report.images.iter().map(|image| image.new_groups().count());
    let back = |one: &&crate::record::RegressionRecord| one.standing == Standing::Regressed;
    images.sum::<usize>() + report.regressions.iter().filter(back).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    #[test]
    fn the_news_come_first() {
        assert_eq!(
            headline(&samples::everything()),
            "everything: 2 new divergences, 1 of 5 images conform, 2 parts of 4 only, 2 not judged, \
             1 with known issues only"
        );
        assert_eq!(
            subject(&samples::everything(), 80),
            "[relocheck] everything: 2 new divergences, 1 of 5 images conform"
        );
        assert_eq!(subject(&samples::plain(), 0), "[relocheck] no new divergence");
        assert_eq!(headline(&samples::plain()), "no new divergence, 1 of 1 image conforms");
    }
}
