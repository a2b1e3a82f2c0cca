// SPDX-License-Identifier: GPL-2.0-only
//! What differs between two reports, for people.

use std::fmt::Write;

use super::plain::{count, one_line};
use crate::record::diff::{Diff, Entry, ImageName, Key, RegressionName, Shown};

/// The differences, the news first. In plain text.
pub fn diff_text(diff: &Diff) -> String {
    if diff.is_empty() {
        return "nothing differs\n".into();
    }
    let mut text = format!("{}\n", count(diff.news(), "new divergence"));
    part(&mut text, "new", diff.new.iter().map(entry));
    part(&mut text, "fixed", diff.fixed.iter().map(entry));
    let changes = diff.changed.iter().flat_map(|change| {
        let head = format!("{}{}", subject(&change.key), known(&change.is));
        let [was, is] = [("was", &change.was), ("is", &change.is)]
            .map(|(word, shown)| format!("  {word} {}", in_full(shown)));
        [head, was, is]
    });
    part(&mut text, "changed", changes);
    part(&mut text, "not seen, and not known to be fixed", diff.unseen.iter().map(entry));
    let images = diff.images.iter();
    let images = images
        .map(|change| format!("{}: was {}, is {}", name(&change.name), change.was, change.is));
    part(&mut text, "images that stand otherwise", images);
    let regressions = diff.regressions.iter().map(|change| {
        let RegressionName { case, image, .. } = &change.name;
        format!("{case} on {image}: was {}, is {}", change.was, change.is)
    });
    part(&mut text, "regression cases that stand otherwise", regressions);
    part(&mut text, "new images", diff.new_images.iter().map(name));
    part(&mut text, "images that are gone", diff.gone_images.iter().map(name));
    text
}

fn part(text: &mut String, head: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(text, "\n{head}:");
    }
    for line in lines {
        let _ = writeln!(text, "  {}", one_line(&line));
    }
}

fn entry(entry: &Entry) -> String {
    format!("{}{}: {}", subject(&entry.key), known(&entry.shown), in_full(&entry.shown))
}

fn subject(key: &Key) -> String {
    match &key.regression {
        Some(case) => format!("{}, regression {case}", name(&key.name)),
        None => name(&key.name),
    }
}

fn name(name: &ImageName) -> String {
    match name.selection.is_empty() {
        true => name.image.clone(),
        false => format!("{} ({})", name.image, name.selection),
    }
}

fn known(shown: &Shown) -> String {
    shown.known.as_ref().map(|id| format!(", known issue {id}")).unwrap_or_default()
}

fn in_full(shown: &Shown) -> String {
    match shown.cases {
        0 => shown.finding.to_string(),
        cases => format!("{}, in {}", shown.finding, count(cases, "case")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    #[test]
    fn the_news_come_first() {
        let (plain, everything) = (samples::plain(), samples::everything());
        let text = diff_text(&Diff::new(&plain, &everything));
        assert!(text.starts_with("2 new divergences\n\nnew:\n"), "{text}");
        assert!(
            text.contains("\n  debian-amd64, known issue chatty: ports: port 0x3f8 at "),
            "{text}"
        );
        assert!(text.contains("\n  debian-cloud, regression corpus/cases/case-1.toml: fault: "));
        assert!(text.ends_with("\nimages that are gone:\n  bzImage\n"), "{text}");
        assert_eq!(diff_text(&Diff::new(&plain, &plain)), "nothing differs\n");
        let text = diff_text(&Diff::new(&everything, &plain));
        assert!(text.starts_with("0 new divergences\n\nnew images:\n"), "{text}");
    }

    #[test]
    fn a_regression_case_that_stands_otherwise_is_no_news() {
        let a = samples::everything();
        let mut b = a.clone();
        b.regressions[0] = samples::regression(0, b.regressions[0].expected, vec![]);
        assert_eq!(
            diff_text(&Diff::new(&a, &b)),
            "0 new divergences\n\nregression cases that stand otherwise:\n  \
             corpus/cases/case-0.toml on debian-cloud: was as-expected, is not-shown\n"
        );
    }

    #[test]
    fn a_change_shows_both_sides() {
        let a = samples::everything();
        let mut b = a.clone();
        b.images[1].cases[0].judgement.findings[0].known = None;
        let text = diff_text(&Diff::new(&a, &b));
        assert!(text.contains("changed:\n  debian-amd64\n    was ports: "), "{text}");
        assert!(text.contains("was known, is new"), "{text}");
    }
}
