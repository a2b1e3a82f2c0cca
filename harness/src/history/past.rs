// SPDX-License-Identifier: GPL-2.0-only
//! What a history tells of a campaign: how many images stood how, night by night, and since when one has been failing.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};

use super::record::digest;
use super::{History, HistoryError, Problem};
use crate::oracle::Rule;
use crate::record::{Campaign, Report, State};

/// The last runs of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The runs, the oldest first; the last one is what the rest is about.
    pub runs: Vec<Run>,
    /// How each image of the last run stood in each of these runs; `None` where it was not in it.
    pub images: BTreeMap<String, Vec<Option<State>>>,
    /// The rules that images of the last run break.
    pub failing: Vec<Failing>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its key in the file.
    id: i64,
    /// The campaign's day.
    pub date: String,
    /// Images that conform.
    pub conforming: u64,
    /// That diverge in a way that is not known.
    pub new: u64,
    /// That diverge in known ways only.
    pub known: u64,
    /// That cannot be judged.
    pub not_judged: u64,
    /// Cases run.
    pub cases: u64,
    /// Relocated fields verified.
    pub fields: u64,
}

/// A rule that an image breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The image's title.
    pub image: String,
    /// The rule.
    pub rule: Rule,
    /// Since when.
    pub since: Since,
}

/// Since when something has been seen in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The day of the first of these runs.
    pub date: String,
    /// How many there are.
    pub runs: usize,
}

impl History {
    /// The names of all campaigns.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn campaigns(&self) -> Result<Vec<String>, HistoryError> {
        let names = || -> rusqlite::Result<Vec<String>> {
            let sql = "SELECT DISTINCT campaign FROM runs ORDER BY campaign";
            self.connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        self.named(names())
    }

    /// The last `limit` runs of a campaign. A campaign that is not there has none.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn trend(&self, campaign: &str, limit: u32) -> Result<Past, HistoryError> {
        self.named(self.until(campaign, None, limit))
    }

    /// The run of `report` with those before it, `limit` in all; none if it is not recorded.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn past(&self, report: &Report, limit: u32) -> Result<Past, HistoryError> {
        let Some(campaign) = &report.campaign else { return Ok(Past::default()) };
        let own = self.named(self.find(campaign, &digest(report)))?;
        let Some(own) = own else { return Ok(Past::default()) };
        self.named(self.until(&campaign.name, Some(&own), limit))
    }

    /// The run of this digest.
    pub(super) fn find(&self, campaign: &Campaign, digest: &str) -> rusqlite::Result<Option<Run>> {
        let sql = "SELECT * FROM runs WHERE campaign = ?1 AND date = ?2 AND digest = ?3";
        let key = params![campaign.name, campaign.date, digest];
        self.connection.query_row(sql, key, run).optional()
    }

    /// Since when `image` has broken `rule` in every run of the campaign that it was in; `None` if it did not in the last.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn since(
        &self,
        campaign: &str,
        image: &str,
        rule: Rule,
    ) -> Result<Option<Since>, HistoryError> {
        let since = || -> Result<Option<Since>, Problem> {
            let last = self.runs(campaign, None, 1)?;
            match last.last() {
                Some(last) => self.broken_since(campaign, image, rule, last),
                None => Ok(None),
            }
        };
        self.named(since())
    }

    fn until(&self, campaign: &str, last: Option<&Run>, limit: u32) -> Result<Past, Problem> {
        let runs = self.runs(campaign, last, limit)?;
        let Some(last) = runs.last() else { return Ok(Past::default()) };
        let mut failing = Vec::new();
        for (image, rule) in self.broken(last)? {
            let since = self.broken_since(campaign, &image, rule, last)?;
            failing.extend(since.map(|since| Failing { image, rule, since }));
        }
        Ok(Past { images: self.states(&runs)?, failing, runs })
    }

    /// The last runs up to `last`, the oldest first.
    fn runs(&self, campaign: &str, last: Option<&Run>, limit: u32) -> rusqlite::Result<Vec<Run>> {
        let mut statement = self.connection.prepare(
            "SELECT * FROM runs WHERE campaign = ?1 AND (?2 IS NULL OR (date, id) <= (?2, ?3))
             ORDER BY date DESC, id DESC LIMIT ?4",
        )?;
        let (date, id) = (last.map(|last| &last.date), last.map(|last| last.id));
        let runs = statement.query_map(params![campaign, date, id, limit], run)?;
        let mut runs: Vec<Run> = runs.collect::<rusqlite::Result<_>>()?;
        runs.reverse();
        Ok(runs)
    }

    /// How each image of the last of `runs` stood in each; of two images with one title the worse counts.
    fn states(&self, runs: &[Run]) -> Result<BTreeMap<String, Vec<Option<State>>>, Problem> {
        let mut all: BTreeMap<String, Vec<Option<State>>> = BTreeMap::new();
        let mut statement =
            self.connection.prepare("SELECT title, state FROM images WHERE run = ?1")?;
        // From the last one back, so that images which are gone are left out.
        for (place, run) in runs.iter().enumerate().rev() {
            let mut rows = statement.query([run.id])?;
            while let Some(row) = rows.next()? {
                let title: String = row.get(0)?;
                let name: String = row.get(1)?;
                let state = State::named(&name)
                    .ok_or_else(|| Problem::Damaged(format!("images.state is {name:?}")))?;
                if place + 1 == runs.len() {
                    all.entry(title.clone()).or_insert_with(|| vec![None; runs.len()]);
                }
                if let Some(states) = all.get_mut(&title) {
                    states[place] = Some(states[place].map_or(state, |other| other.min(state)));
                }
            }
        }
        Ok(all)
    }

    /// Images and rules that they broke in `run`.
    fn broken(&self, run: &Run) -> Result<Vec<(String, Rule)>, Problem> {
        let mut statement = self.connection.prepare(
            "SELECT DISTINCT title, rule FROM findings JOIN images USING (run, number)
             WHERE run = ?1 ORDER BY title, rule",
        )?;
        let rows = statement.query_map([run.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let rows: Vec<(String, String)> = rows.collect::<rusqlite::Result<_>>()?;
        // A rule that this version does not know is none that a report of this version names.
        Ok(rows.into_iter().filter_map(|(title, rule)| Some((title, rule.parse().ok()?))).collect())
    }

    fn broken_since(
        &self,
        campaign: &str,
        image: &str,
        rule: Rule,
        last: &Run,
    ) -> Result<Option<Since>, Problem> {
        let mut statement = self.connection.prepare(
            "SELECT runs.date, max(EXISTS (
                 SELECT 1 FROM findings
                 WHERE findings.run = images.run AND findings.number = images.number AND rule = ?3))
             FROM images JOIN runs ON runs.id = images.run
             WHERE title = ?2 AND campaign = ?1 AND (date, runs.id) <= (?4, ?5)
             GROUP BY runs.id ORDER BY date DESC, runs.id DESC",
        )?;
        let mut rows =
            statement.query(params![campaign, image, rule.name(), last.date, last.id])?;
        let mut since = None;
        let mut runs = 0;
        while let Some(row) = rows.next()? {
            if !row.get::<_, bool>(1)? {
                break;
            }
            runs += 1;
            since = Some(Since { date: row.get(0)?, runs });
        }
        Ok(since)
    }
}

fn run(row: &Row) -> rusqlite::Result<Run> {
    // Never negative in a file that we wrote; one that somebody else wrote is not worth an error for it.
    let count = |name| row.get::<_, i64>(name).map(|count| count.max(0).unsigned_abs());
    Ok(Run {
        id: row.get("id")?,
        date: row.get("date")?,
        conforming: count("conforming")?,
        new: count("new")?,
        known: count("known")?,
        not_judged: count("not_judged")?,
        cases: count("cases")?,
        fields: count("fields")?,
    })
}

#[cfg(test)]
impl Run {
    /// A run of `date` in which so many images stood in each way, in the order of [`State::ALL`].
    pub fn sample(date: &str, [new, known, not_judged, conforming]: [u64; 4]) -> Run {
        let date = date.to_owned();
        Run { id: 0, date, conforming, new, known, not_judged, cases: 0, fields: 0 }
    }
}
