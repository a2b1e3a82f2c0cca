// SPDX-License-Identifier: GPL-2.0-only
//! Known issues: findings that a named person looks after until a day, and that are no news before it.

use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer};

use super::PlanError;
use crate::case::Case;
use crate::oracle::{Finding, Rule};
use crate::record::{Found, ImageRecord, KnownIssueRecord, KnownState};
use crate::toml_file;

/// The version of the format that this program reads.
const SCHEMA: u32 = 1;

/// The known issues of a file, on one day.
#[derive(Clone, Debug, Default)]
pub struct KnownIssues {
    issues: Vec<Issue>,
    today: Date,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "schema")]
    _schema: u32,
    #[serde(default, rename = "issue")]
    issues: Vec<Issue>,
}

/// One known issue. What it excuses is narrow: one rule, on some kernels, in cases of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    id: String,
    owner: String,
    #[serde(deserialize_with = "date")]
    expires: Date,
    explanation: String,
    /// The rule that is broken.
    rule: Rule,
    /// Kernel releases, each a series such as "6.1" or the whole release; none: any.
    #[serde(default)]
    releases: Vec<String>,
    /// Names of images; none: any.
    #[serde(default)]
    images: Vec<String>,
    /// What is unusual about the case, in the words of reports, such as "sentinel": all of it must be there.
    #[serde(default)]
    features: Vec<String>,
    /// Text in the finding's place.
    place: Option<String>,
}

/// A TOML date, without a time.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let date = toml::value::Datetime::deserialize(deserializer)?;
    let plain = date.date.filter(|_| date.time.is_none() && date.offset.is_none());
    let parts = plain.and_then(|date| {
        let year = i16::try_from(date.year).ok()?;
        Date::new(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
    });
    parts.ok_or_else(|| serde::de::Error::custom(format!("expected a date, found {date}")))
}

/// The known issues of the kernels in the corpus.
const BUILT_IN: &str = include_str!("../../../../corpus/nightly/known-issues.toml");

impl KnownIssues {
    /// Those that the binary carries: corpus/nightly/known-issues.toml.
    ///
    /// # Errors
    /// None in a program whose tests pass.
    pub fn built_in(today: Date) -> Result<KnownIssues, PlanError> {
        let path = String::from("the built-in known issues");
        KnownIssues::parse(BUILT_IN, today).map_err(|problem| PlanError { path, problem })
    }

    /// Reads the file at `path`, for use on the day `today`.
    ///
    /// # Errors
    /// It is no TOML file of this format.
    pub fn read(path: &Path, today: Date) -> Result<KnownIssues, PlanError> {
        let error = |problem| PlanError { path: path.display().to_string(), problem };
        let text = toml_file::read(path, "a list of known issues").map_err(error)?;
        KnownIssues::parse(&text, today).map_err(error)
    }

    pub(super) fn parse(text: &str, today: Date) -> Result<KnownIssues, String> {
        let Document { issues, .. }: Document = toml_file::parse_versioned(text, SCHEMA)?;
        for (number, issue) in issues.iter().enumerate() {
            let field =
                [("id", &issue.id), ("owner", &issue.owner), ("explanation", &issue.explanation)];
            if let Some((field, _)) = field.iter().find(|(_, text)| text.trim().is_empty()) {
                return Err(format!("issue number {}: {field}: expected a text", number + 1));
            }
            if issues[..number].iter().any(|other| other.id == issue.id) {
                return Err(format!(
                    "issue number {}: id: there are two {:?}",
                    number + 1,
                    issue.id
                ));
            }
            let known = Case::FEATURES;
            if let Some(unknown) =
                issue.features.iter().find(|name| !known.contains(&name.as_str()))
            {
                let known = known.join(", ");
                return Err(format!(
                    "issue number {}: features: expected some of {known}, found {unknown:?}",
                    number + 1
                ));
            }
        }
        Ok(KnownIssues { issues, today })
    }

    /// Whether an active issue excuses `finding`, shown by `case` (`None`: by the image itself) of an image.
    pub fn excuse(
        &self,
        image: &str,
        release: Option<&str>,
        case: Option<&Case>,
        finding: &Finding,
    ) -> Option<&str> {
        let active = self.issues.iter().filter(|issue| self.today <= issue.expires);
        let features = case.map(Case::features).unwrap_or_default();
        let mut fitting = active.filter(|issue| {
            issue.rule == finding.rule
                && (issue.images.is_empty() || issue.images.iter().any(|name| name == image))
                && (issue.releases.is_empty()
                    || release.is_some_and(|release| {
                        issue.releases.iter().any(|series| is_of(release, series))
                    }))
                && issue.features.iter().all(|feature| features.contains(&feature.as_str()))
                && issue.place.as_ref().is_none_or(|place| finding.place.contains(place.as_str()))
        });
        fitting.next().map(|issue| issue.id.as_str())
    }

    /// Marks what is known among the findings of `image`.
    pub fn mark(&self, image: &mut ImageRecord) {
        let Some(facts) = &mut image.facts else { return };
        let (name, release) = (&image.name, facts.release.as_deref());
        let mark = |case: Option<&Case>, found: &mut Found| {
            found.known = self.excuse(name, release, case, &found.finding).map(str::to_owned);
        };
        facts.image_findings.iter_mut().for_each(|found| mark(None, found));
        let own: Vec<Found> = facts.image_findings.clone();
        for case in &mut image.cases {
            for found in &mut case.judgement.findings {
                mark(case.case.as_ref(), found);
                // Every case repeats what is wrong with the image itself.
                if let Some(own) = own.iter().find(|own| own.finding == found.finding) {
                    found.known.clone_from(&own.known);
                }
            }
        }
        if let Some(shrunk) = &mut image.shrunk {
            shrunk.findings.iter_mut().for_each(|found| mark(Some(&shrunk.case), found));
        }
    }

    /// The issues, with the number of cases in which each was seen.
    pub fn record(&self, images: &[ImageRecord]) -> Vec<KnownIssueRecord> {
        let cases = || images.iter().flat_map(|image| &image.cases);
        let record = |issue: &Issue| {
            let seen = |found: &Found| found.known.as_ref() == Some(&issue.id);
            KnownIssueRecord {
                id: issue.id.clone(),
                owner: issue.owner.clone(),
                expires: issue.expires.to_string(),
                explanation: issue.explanation.clone(),
                state: match self.today <= issue.expires {
                    true => KnownState::Active,
                    false => KnownState::Expired,
                },
                cases: cases().filter(|case| case.judgement.findings.iter().any(seen)).count(),
            }
        };
        self.issues.iter().map(record).collect()
    }
}

/// Whether `release` is of `series`: equal, or the same up to a dot or a dash.
fn is_of(release: &str, series: &str) -> bool {
    release.strip_prefix(series).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "schema = 1\n[[issue]]\nid = \"i\"\nowner = \"x86\"\nexpires = 2027-03-01\n\
        explanation = \"README\"\nrule = \"fault\"\nreleases = [\"6.1\"]\nfeatures = [\"sentinel\"]\n";

    fn issues(text: &str, today: Date) -> KnownIssues {
        KnownIssues::parse(text, today).unwrap()
    }

    fn day(month: i8, day: i8) -> Date {
        Date::constant(2027, month, day)
    }

    #[test]
    fn the_built_in_ones_can_be_read() {
        assert!(!KnownIssues::built_in(day(1, 1)).unwrap().issues.is_empty());
    }

    #[test]
    fn an_issue_excuses_its_rule_on_its_kernels_in_its_cases_until_its_day() {
        let known = issues(FILE, day(3, 1));
        let sentinel = Case { sentinel: Some(1), ..Case::default() };
        let fault = Finding::new(Rule::Fault, "stub+0x10", "", "");
        let excuse = |release: &str, case: &Case, finding: &Finding| {
            known.excuse("k", Some(release), Some(case), finding).is_some()
        };
        assert!(excuse("6.1.0-50-amd64", &sentinel, &fault));
        assert_eq!(known.excuse("k", Some("6.1.9"), Some(&sentinel), &fault), Some("i"));
        assert!(excuse("6.1", &sentinel, &fault));
        assert!(!excuse("6.12.3", &sentinel, &fault));
        assert!(!excuse("6.1.0", &Case::default(), &fault));
        let other = Finding::new(Rule::Halt, "stub+0x10", "", "");
        assert!(!excuse("6.1.0", &sentinel, &other));
        assert_eq!(known.excuse("k", None, Some(&sentinel), &fault), None);
        assert_eq!(known.excuse("k", Some("6.1.0"), None, &fault), None);
        assert_eq!(known.record(&[])[0].state, KnownState::Active);
        let late = issues(FILE, day(3, 2));
        assert_eq!(late.excuse("k", Some("6.1.0"), Some(&sentinel), &fault), None);
        assert_eq!(late.record(&[])[0].state, KnownState::Expired);
    }

    #[test]
    fn image_and_place_narrow_it() {
        let text = FILE.to_owned() + "images = [\"k\"]\nplace = \"+0x10\"\n";
        let known = issues(&text, day(1, 1));
        let sentinel = Case { sentinel: Some(1), ..Case::default() };
        let excuse = |image, place: &str| {
            let finding = Finding::new(Rule::Fault, place, "", "");
            known.excuse(image, Some("6.1.0"), Some(&sentinel), &finding).is_some()
        };
        assert!(excuse("k", "stub+0x10"));
        assert!(!excuse("k", "stub+0x20"));
        assert!(!excuse("other", "stub+0x10"));
    }

    #[test]
    fn errors_are_one_line_that_names_the_field() {
        for (from, to, expected) in [
            ("2027-03-01", "\"soon\"", "line 5 (expires = \"soon\")"),
            ("2027-03-01", "2027-03-01T10:00:00Z", "expected a date"),
            ("\"x86\"", "\" \"", "issue number 1: owner: expected a text"),
            ("\"fault\"", "\"weather\"", "unknown variant `weather`"),
            ("[\"sentinel\"]", "[\"moon\"]", "issue number 1: features: expected some of"),
            ("schema = 1", "schema = 3", "schema: expected 1, found 3"),
            ("owner = \"x86\"\n", "", "missing field `owner`"),
        ] {
            assert!(FILE.contains(from), "{from}");
            let error = KnownIssues::parse(&FILE.replace(from, to), day(1, 1)).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let twice = FILE.to_owned() + FILE.trim_start_matches("schema = 1\n");
        let error = KnownIssues::parse(&twice, day(1, 1)).unwrap_err();
        assert_eq!(error, "issue number 2: id: there are two \"i\"");
    }
}
