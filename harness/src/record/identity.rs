// SPDX-License-Identifier: GPL-2.0-only
//! Which findings are the same one: in several cases of an image, or in two reports.

use std::collections::BTreeMap;

use super::{CaseRecord, Found, ImageRecord};
use crate::oracle::{Finding, Rule};

/// Findings of one image that break the same rule in the same place, and belong to the same known issue or to none.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// The rule.
    pub rule: Rule,
    /// The place, without what changes from case to case (see [`place`]).
    pub place: String,
    /// The known issue.
    pub known: Option<&'a str>,
    /// The first of the findings.
    pub finding: &'a Finding,
    /// The first case that has it; none if the image itself has it, whatever the case.
    pub first: Option<&'a CaseRecord>,
    /// How many cases have it.
    pub cases: usize,
}

impl Group<'_> {
    /// How many of the image's cases have it, and which is the first.
    pub fn extent(&self, image: &ImageRecord) -> String {
        match self.first {
            None => "whatever the case".into(),
            Some(first) => format!(
                "in {} of {} cases, first in case {}",
                self.cases,
                image.cases.len(),
                first.number
            ),
        }
    }
}

impl ImageRecord {
    /// Its findings, each once, in the order in which they first appear: the image's own, then those of its cases.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let mut groups = Groups::default();
        for found in self.facts.iter().flat_map(|facts| &facts.image_findings) {
            groups.add(found, None);
        }
        for case in &self.cases {
            for found in &case.judgement.findings {
                groups.add(found, Some(case));
            }
        }
        groups.groups
    }

    /// The groups that belong to no known issue.
    pub fn new_groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.groups().into_iter().filter(|group| group.known.is_none())
    }
}

/// Rule, place, known issue.
type Key<'a> = (Rule, String, Option<&'a str>);

#[derive(Default)]
struct Groups<'a> {
    groups: Vec<Group<'a>>,
    /// The place of each in `groups`, and the last case that was counted for it.
    index: BTreeMap<Key<'a>, (usize, Option<usize>)>,
}

impl<'a> Groups<'a> {
    fn add(&mut self, found: &'a Found, case: Option<&'a CaseRecord>) {
        let Found { finding, known } = found;
        let known = known.as_deref();
        let place = place(&finding.place);
        let new = (self.groups.len(), None);
        let (at, counted) = self.index.entry((finding.rule, place.clone(), known)).or_insert(new);
        if *at == self.groups.len() {
            let rule = finding.rule;
            self.groups.push(Group { rule, place, known, finding, first: case, cases: 0 });
        }
        if let Some(case) = case
            && *counted != Some(case.number)
        {
            *counted = Some(case.number);
            self.groups[*at].cases += 1;
        }
    }
}

/// A place without addresses: an offset into the stub changes with every build, the first wrong byte of a segment with
/// every case. The number of an I/O port, of a segment or of bits is what the place is.
pub fn place(place: &str) -> String {
    if place.starts_with("port ") {
        return place.into();
    }
    let mut rest = place;
    let mut blank = String::with_capacity(place.len());
    while let Some((before, after)) = rest.split_once("0x") {
        let digits = after.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(after.len());
        blank += before;
        blank += if digits > 0 { "*" } else { "0x" };
        rest = &after[digits..];
    }
    blank + rest
}

/// What was expected or found, without what changes from case to case: addresses, bytes, counts.
pub fn matter(text: &str) -> String {
    let varies = |word: &str| {
        let byte = word.len() == 2 && word.bytes().all(|c| c.is_ascii_hexdigit());
        byte || word.bytes().all(|c| c.is_ascii_digit())
    };
    let place = place(text);
    let words = place
        .split(' ')
        .map(|word| if varies(word.trim_matches([',', '(', ')', ';'])) { "*" } else { word });
    let mut words: Vec<&str> = words.collect();
    words.dedup_by(|a, b| a == b && *a == "*");
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn places_lose_their_addresses_and_keep_their_names() {
        for (full, blank) in [
            ("stub+0x7bd197", "stub+*"),
            (
                "segment 0 (r-x) 0xffffffff81001d8a, field of the inverse 32-bit entry 0x81001d88",
                "segment 0 (r-x) *, field of the inverse 32-bit entry *",
            ),
            ("port 0x3f8", "port 0x3f8"),
            ("segment 12", "segment 12"),
            ("CR0.PG", "CR0.PG"),
            ("0xg 0x", "0xg 0x"),
            ("é0xé", "é0xé"),
        ] {
            assert_eq!(place(full), blank);
        }
    }

    #[test]
    fn what_is_found_loses_its_numbers() {
        for (full, blank) in [
            ("page fault at 0x5f95 that nobody handles", "page fault at * that nobody handles"),
            ("e1 5a", "*"),
            ("e1 5a 00", "*"),
            ("written 3 times: 0x1 0x2", "written * times: *"),
            ("others in 5 cases, first in number 0", "others in * cases, first in number *"),
            ("the kernel, in RAM", "the kernel, in RAM"),
        ] {
            assert_eq!(matter(full), blank);
        }
    }

    #[test]
    fn the_same_finding_in_many_cases_is_one() {
        let report = samples::everything();
        let image = &report.images[0];
        let groups = image.groups();
        let shown: Vec<_> = groups
            .iter()
            .map(|group| (group.rule, &group.place[..], group.known, group.cases))
            .collect();
        assert_eq!(
            shown,
            [
                (Rule::Table, "32-bit group, entry *", Some("old-table"), 0),
                (Rule::Fault, "stub+*", None, 2),
                (Rule::Ports, "port 0x3f8", Some("chatty"), 2),
            ]
        );
        assert_eq!(groups[1].extent(image), "in 2 of 5 cases, first in case 1");
        assert_eq!(groups[0].extent(image), "whatever the case");
        assert_eq!(image.new_groups().count(), 1);
    }
}
