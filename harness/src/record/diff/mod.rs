// SPDX-License-Identifier: GPL-2.0-only
//! Compares two reports: which findings are new, which are gone, which stand otherwise; likewise images and regression
//! cases.
//!
//! A finding is the same one in both if image (by name and selection), rule and place are, addresses apart. Of several
//! images of one name and selection the findings count together.

mod keyed;

use serde::Serialize;

use super::{Expected, Report, Selection, State};
use crate::oracle::{Finding, Rule};
use keyed::{Keyed, keyed};

/// Version of the format.
pub const VERSION: u32 = 1;

/// What differs between two reports, A and B.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Version of the format: 1.
    pub version: u32,
    /// Findings that only B has.
    pub new: Vec<Entry>,
    /// Findings that only A has, where B ran at least the cases in which they would have shown.
    pub fixed: Vec<Entry>,
    /// Findings that only A has, where B cannot tell: it ran other or fewer cases, or could not judge all.
    pub unseen: Vec<Entry>,
    /// Findings that both have, in different ways.
    pub changed: Vec<Change>,
    /// Images that stand otherwise.
    pub images: Vec<ImageChange>,
    /// Regression cases that stand otherwise.
    pub regressions: Vec<RegressionChange>,
    /// Images that only B has.
    pub new_images: Vec<ImageName>,
    /// Images that only A has.
    pub gone_images: Vec<ImageName>,
}

/// What an image is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ImageName {
    /// Its name.
    pub image: String,
    /// Which of its cases were drawn; absent if all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selection: String,
}

/// What a finding is known by in both reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// The image.
    #[serde(flatten)]
    pub name: ImageName,
    /// The regression case that shows it; absent if a case of the image's own does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regression: Option<String>,
    /// The rule.
    pub rule: Rule,
    /// The place without addresses.
    pub place: String,
}

/// A finding of one report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What it is known by.
    #[serde(flatten)]
    pub key: Key,
    /// How it shows.
    #[serde(flatten)]
    pub shown: Shown,
}

/// How a finding shows in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The known issue that it belongs to, if all of it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// Cases that have it; 0 if the image itself does.
    pub cases: usize,
    /// The first of them, in full.
    pub finding: Finding,
}

/// A finding of both reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is known by.
    #[serde(flatten)]
    pub key: Key,
    /// How it shows in A.
    pub was: Shown,
    /// How it shows in B.
    pub is: Shown,
}

/// An image that stands otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageChange {
    /// The image.
    #[serde(flatten)]
    pub name: ImageName,
    /// How it stands in A: `new`, `known`, `cannot-judge` or `conforms`.
    pub was: &'static str,
    /// How it stands in B.
    pub is: &'static str,
}

/// A regression case of both reports that stands otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegressionChange {
    /// Which one.
    #[serde(flatten)]
    pub name: RegressionName,
    /// How it stands in A: `as-expected`, `regressed`, `not-shown` or `cannot-judge`.
    pub was: &'static str,
    /// How it stands in B.
    pub is: &'static str,
}

/// What a regression case is known by in both reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RegressionName {
    /// The case file.
    pub case: String,
    /// The image's name.
    pub image: String,
    /// What should come of it: one case can be there to show several mistakes.
    pub expected: Expected,
}

impl Diff {
    /// Compares `b` with `a`.
    pub fn new(a: &Report, b: &Report) -> Diff {
        let (was, is) = (keyed(a), keyed(b));
        let mut diff = Diff {
            version: VERSION,
            new: Vec::new(),
            fixed: Vec::new(),
            unseen: Vec::new(),
            changed: Vec::new(),
            images: Vec::new(),
            regressions: Vec::new(),
            new_images: only_in(&is, &was),
            gone_images: only_in(&was, &is),
        };
        for (key, shown) in &is.findings {
            match was.findings.get(key) {
                None => diff.new.push(entry(key, shown)),
                Some(before) if before.differs(shown, was.sight(key) == is.sight(key)) => {
                    let (was, is) = (before.clone(), shown.clone());
                    diff.changed.push(Change { key: key.clone(), was, is });
                }
                Some(_) => {}
            }
        }
        for (key, shown) in was.findings.iter().filter(|(key, _)| !is.findings.contains_key(key)) {
            match (was.sight(key), is.sight(key)) {
                (_, None) => {}
                (Some(before), Some(now)) if now.covers(before) => {
                    diff.fixed.push(entry(key, shown));
                }
                _ => diff.unseen.push(entry(key, shown)),
            }
        }
        for (name, state) in &is.states {
            let before = was.states.get(name).filter(|before| *before != state);
            diff.images.extend(before.map(|before| ImageChange {
                name: name.clone(),
                was: before.name(),
                is: state.name(),
            }));
        }
        for (name, standing) in &is.standings {
            let before = was.standings.get(name).filter(|before| *before != standing);
            diff.regressions.extend(before.map(|before| RegressionChange {
                name: name.clone(),
                was: before.name(),
                is: standing.name(),
            }));
        }
        diff
    }

    /// Divergences of B that A does not have, or that were known in A and are no longer.
    pub fn news(&self) -> usize {
        let new = self.new.iter().filter(|entry| entry.shown.known.is_none());
        let risen = |change: &&Change| change.was.known.is_some() && change.is.known.is_none();
        new.count() + self.changed.iter().filter(risen).count()
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let Diff {
            version: _,
            new,
            fixed,
            unseen,
            changed,
            images,
            regressions,
            new_images,
            gone_images,
        } = self;
        [new, fixed, unseen].iter().all(|list| list.is_empty())
            && [new_images, gone_images].iter().all(|list| list.is_empty())
            && changed.is_empty()
            && images.is_empty()
            && regressions.is_empty()
    }
}

fn entry(key: &Key, shown: &Shown) -> Entry {
    Entry { key: key.clone(), shown: shown.clone() }
}

fn only_in(these: &Keyed, those: &Keyed) -> Vec<ImageName> {
    these.states.keys().filter(|name| !those.states.contains_key(name)).cloned().collect()
}

#[cfg(test)]
mod tests;
