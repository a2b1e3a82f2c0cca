// SPDX-License-Identifier: GPL-2.0-only
//! Adds a run to a history.

use rusqlite::{Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::{History, HistoryError, Problem};
use crate::oracle::Rule;
use crate::record::{Campaign, Found, ImageRecord, Report};

/// What became of a run that was to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was added.
    New,
    /// It was there already.
    Before,
}

impl History {
    /// Adds `report`. The same run twice is one: campaign, day and all results count, durations do not.
    ///
    /// # Errors
    /// The report is that of no campaign, or of a part of one only: its numbers cannot be compared with those of other
    /// days. Or the history cannot be written, or is locked for seconds.
    pub fn record(&mut self, report: &Report) -> Result<Recorded, HistoryError> {
        let result = add(self, report);
        self.named(result)
    }
}

fn add(history: &mut History, report: &Report) -> Result<Recorded, Problem> {
    let campaign = campaign(report).map_err(Problem::Unsuitable)?;
    let digest = digest(report);
    // Looked for first, because a file that must not be written may have it.
    if history.find(campaign, &digest)?.is_some() {
        return Ok(Recorded::Before);
    }
    let immediate = TransactionBehavior::Immediate;
    let transaction = history.connection.transaction_with_behavior(immediate)?;
    let totals = report.totals();
    let added = transaction.execute(
        "INSERT INTO runs (campaign, date, digest, plan, seed, conforming, new, known, not_judged, cases, fields)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO NOTHING",
        params![
            campaign.name,
            campaign.date,
            digest,
            campaign.plan,
            report.seed.to_string(),
            integer(totals.conforming),
            integer(totals.new),
            integer(totals.known),
            integer(totals.not_judged),
            integer(totals.cases),
            integer(totals.fields),
        ],
    )?;
    if added == 0 {
        return Ok(Recorded::Before);
    }
    let run = transaction.last_insert_rowid();
    for (number, image) in report.images.iter().enumerate() {
        add_image(&transaction, run, integer(number), image)?;
    }
    transaction.commit()?;
    Ok(Recorded::New)
}

/// The campaign of a report that can be compared with those of other days.
fn campaign(report: &Report) -> Result<&Campaign, String> {
    let Some(campaign) = &report.campaign else {
        return Err("a report of no campaign has no name and no day".into());
    };
    if campaign.partition.is_some() {
        return Err("the report covers a part of its campaign; merge the parts".into());
    }
    let day = |text: &str| {
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        lengths == [4, 2, 2] && text.chars().all(|c| c.is_ascii_digit() || c == '-')
    };
    match day(&campaign.date) {
        true => Ok(campaign),
        false => Err(format!("campaign.date: expected year-month-day, found {:?}", campaign.date)),
    }
}

fn add_image(
    transaction: &Transaction,
    run: i64,
    number: i64,
    image: &ImageRecord,
) -> rusqlite::Result<()> {
    let sha256 = image.facts.as_ref().map(|facts| facts.sha256.as_str());
    transaction.execute(
        "INSERT INTO images (run, number, title, sha256, state) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![run, number, image.title(), sha256, image.state().name()],
    )?;
    for rule in Rule::ALL {
        let of_rule = |found: &&Found| found.finding.rule == rule;
        let Some((_, first)) = image.findings().find(|(_, found)| of_rule(found)) else { continue };
        let count = |known: bool| {
            let shown = image.findings().filter(|(_, found)| of_rule(found));
            integer(shown.filter(|(_, found)| found.known.is_some() == known).count())
        };
        transaction.execute(
            "INSERT INTO findings (run, number, rule, place, new, known) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![run, number, rule.name(), first.finding.place, count(false), count(true)],
        )?;
    }
    Ok(())
}

/// Digest of all that is the same when a campaign is run again.
pub(super) fn digest(report: &Report) -> String {
    let mut report = report.clone();
    for case in report.images.iter_mut().flat_map(|image| &mut image.cases) {
        case.duration_ms = 0;
    }
    for regression in &mut report.regressions {
        regression.duration_ms = 0;
    }
    let json = report.to_json().expect("a report has only types that JSON has");
    let digest = Sha256::digest(json);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SQLite's integers are signed.
fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
