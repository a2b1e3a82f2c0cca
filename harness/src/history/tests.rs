// SPDX-License-Identifier: GPL-2.0-only

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::oracle::Rule;
use crate::record::samples::{conforming, diverging, image_of, known, new, report};
use crate::record::{Campaign, ImageRecord, Partition, Report, State};

fn place() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("history.db");
    (dir, path)
}

fn on(date: &str, images: Vec<ImageRecord>) -> Report {
    let mut report = report(images);
    report.campaign.as_mut().unwrap().date = date.into();
    report
}

fn fine(name: &str) -> ImageRecord {
    image_of(name, vec![conforming(0)])
}

fn bad(name: &str, rule: Rule) -> ImageRecord {
    image_of(name, vec![diverging(0, vec![new(rule)])])
}

fn excused(name: &str, rule: Rule) -> ImageRecord {
    image_of(name, vec![diverging(0, vec![known(rule)])])
}

fn problem(result: Result<impl Sized, HistoryError>) -> Problem {
    let Err(error) = result else { panic!("expected an error") };
    let line = error.to_string();
    assert!(line.starts_with(&error.path) && !line.contains('\n'), "{line:?}");
    error.problem
}

#[test]
fn the_same_run_is_recorded_once() {
    let (_dir, path) = place();
    let mut history = History::open(&path).unwrap();
    let mut first = on("2026-11-01", vec![fine("a"), bad("b", Rule::Memory)]);
    assert_eq!(history.record(&first).unwrap(), Recorded::New);
    first.images[0].cases[0].duration_ms += 1;
    assert_eq!(history.record(&first).unwrap(), Recorded::Before, "durations do not count");
    first.images[0].cases[0].judgement.fields_relocated += 1;
    assert_eq!(history.record(&first).unwrap(), Recorded::New, "results do");
    drop(history);
    let history = History::read(&path).unwrap();
    assert_eq!(history.trend("nightly", 10).unwrap().runs.len(), 2);
    assert_eq!(history.campaigns().unwrap(), ["nightly"]);
}

#[test]
fn a_trend_has_the_numbers_of_the_reports() {
    let (_dir, path) = place();
    let mut history = History::open(&path).unwrap();
    let reports = [
        on("2026-11-01", vec![fine("a"), fine("b"), fine("c")]),
        on("2026-11-03", vec![bad("a", Rule::Memory), excused("b", Rule::Fault), fine("d")]),
        on("2026-11-02", vec![fine("a"), bad("b", Rule::Fault)]),
    ];
    for report in &reports {
        history.record(report).unwrap();
    }
    let past = history.trend("nightly", 10).unwrap();
    let dates: Vec<&str> = past.runs.iter().map(|run| run.date.as_str()).collect();
    assert_eq!(dates, ["2026-11-01", "2026-11-02", "2026-11-03"], "by day, not as recorded");
    for (run, report) in past.runs.iter().zip([0, 2, 1].map(|number| &reports[number])) {
        let totals = report.totals();
        let expected = [totals.new, totals.known, totals.not_judged, totals.conforming];
        let found = [run.new, run.known, run.not_judged, run.conforming];
        assert_eq!(found, expected.map(|count| count as u64), "{}", run.date);
        assert_eq!((run.cases, run.fields), (totals.cases as u64, totals.fields as u64));
    }
    let of = |image: &str| past.images[image].clone();
    let (ok, new) = (Some(State::Conforms), Some(State::New));
    assert_eq!(of("a"), [ok, ok, new]);
    assert_eq!(of("b"), [ok, new, Some(State::Known)]);
    assert_eq!(of("d"), [None, None, ok]);
    assert!(!past.images.contains_key("c"), "it is gone");
    assert_eq!(history.trend("nightly", 1).unwrap().runs[..], past.runs[2..]);
    assert_eq!(history.trend("other", 9).unwrap(), Past::default());
    let before = history.past(&reports[2], 10).unwrap();
    assert_eq!(before.runs[..], past.runs[..2], "what came later is not its past");
}

#[test]
fn a_failure_is_counted_from_where_it_has_not_been_interrupted() {
    let (_dir, path) = place();
    let mut history = History::open(&path).unwrap();
    for (day, images) in [
        (1, vec![bad("a", Rule::Memory)]),
        (2, vec![fine("a")]),
        (3, vec![bad("a", Rule::Memory)]),
        (4, vec![fine("b")]),
        (5, vec![excused("a", Rule::Memory), bad("b", Rule::Halt)]),
    ] {
        history.record(&on(&format!("2026-11-0{day}"), images)).unwrap();
    }
    let since = |image, rule| history.since("nightly", image, rule).unwrap();
    let expected = Since { date: "2026-11-03".into(), runs: 2 };
    assert_eq!(since("a", Rule::Memory), Some(expected), "a run without it interrupts nothing");
    assert_eq!(since("a", Rule::Halt), None);
    assert_eq!(since("b", Rule::Halt), Some(Since { date: "2026-11-05".into(), runs: 1 }));
    assert_eq!(since("gone", Rule::Halt), None);
    let failing = history.trend("nightly", 1).unwrap().failing;
    let failing: Vec<(&str, Rule)> = failing.iter().map(|f| (f.image.as_str(), f.rule)).collect();
    assert_eq!(failing, [("a", Rule::Memory), ("b", Rule::Halt)]);
}

#[test]
fn what_cannot_be_compared_is_not_recorded() {
    let (_dir, path) = place();
    let mut history = History::open(&path).unwrap();
    let mut plain = on("2026-11-01", vec![fine("a")]);
    let campaign = plain.campaign.take();
    assert!(matches!(problem(history.record(&plain)), Problem::Unsuitable(_)));
    assert_eq!(history.past(&plain, 9).unwrap(), Past::default());
    let partition = Some(Partition { parts: vec![1], of: 2 });
    plain.campaign = campaign.clone().map(|campaign| Campaign { partition, ..campaign });
    let Problem::Unsuitable(why) = problem(history.record(&plain)) else { panic!() };
    assert!(why.contains("merge"), "{why}");
    for date in ["", "yesterday", "2026-1-1", "2026-11-01T", "٢٠٢٦-11-01"] {
        let date = date.to_owned();
        plain.campaign = campaign.clone().map(|campaign| Campaign { date, ..campaign });
        assert!(matches!(problem(history.record(&plain)), Problem::Unsuitable(_)));
    }
    let long = on("2026-11-01", vec![fine(&"x".repeat(2 << 20))]);
    assert!(matches!(problem(history.record(&long)), Problem::Unsuitable(_)));
    assert_eq!(history.campaigns().unwrap(), [""; 0], "nothing is left of it");
}

#[test]
fn what_is_no_history_is_told_and_left_alone() {
    let (dir, path) = place();
    assert!(matches!(problem(History::read(&path)), Problem::Io(_)), "reading makes no file");
    assert!(!path.exists());
    assert!(matches!(problem(History::open(dir.path())), Problem::NotHistory(_)));
    assert!(matches!(problem(History::open(&dir.path().join("no/where"))), Problem::Io(_)));
    std::fs::write(&path, "no database\n".repeat(100)).unwrap();
    assert!(matches!(problem(History::open(&path)), Problem::NotHistory("no SQLite database")));
    assert!(std::fs::read(&path).unwrap().starts_with(b"no database"));
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE runs (id)").unwrap();
    assert!(matches!(problem(History::open(&path)), Problem::NotHistory(_)));
}

#[test]
fn a_newer_version_is_not_touched() {
    let (_dir, path) = place();
    let history = History::open(&path).unwrap();
    history.connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
    drop(history);
    assert!(matches!(problem(History::open(&path)), Problem::Newer { found: 2, known: 1 }));
}

#[test]
fn a_lock_is_waited_for_but_not_for_ever() {
    let (_dir, path) = place();
    let mut history = History::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let report = on("2026-11-01", vec![fine("a")]);
    assert!(matches!(problem(history.record(&report)), Problem::Locked));
    assert!(matches!(problem(History::open(&path)), Problem::Locked));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(history.record(&report).unwrap(), Recorded::New);
}

#[test]
fn a_history_that_is_only_read_is_not_written() {
    let (_dir, path) = place();
    drop(History::open(&path).unwrap());
    let report = on("2026-11-01", vec![fine("a")]);
    let mut history = History::read(&path).unwrap();
    assert!(matches!(problem(history.record(&report)), Problem::ReadOnly));
    assert_eq!(history.past(&report, 9).unwrap(), Past::default(), "a past ends with its report");
    History::open(&path).unwrap().record(&report).unwrap();
    assert_eq!(history.record(&report).unwrap(), Recorded::Before, "there is nothing to write");
    assert_eq!(history.past(&report, 9).unwrap().runs.len(), 1);
}

#[test]
fn no_damage_to_the_file_is_more_than_an_error() {
    let (_dir, path) = place();
    let mut history = History::open(&path).unwrap();
    for day in 10..30 {
        let images = (0..20).map(|number| bad(&format!("image {number}"), Rule::Memory)).collect();
        history.record(&on(&format!("2026-11-{day}"), images)).unwrap();
    }
    drop(history);
    let whole = std::fs::read(&path).unwrap();
    let report = on("2026-11-30", vec![fine("a")]);
    let mut refused = 0;
    for (number, place) in (0..whole.len()).step_by(whole.len() / 200).enumerate() {
        let mut file = whole.clone();
        match number % 3 {
            0 => file[place] ^= 0xff,
            1 => file[place..].iter_mut().take(64).for_each(|byte| *byte = 0xff),
            _ => file.truncate(place),
        }
        std::fs::write(&path, file).unwrap();
        let result = History::open(&path).and_then(|mut history| {
            history.record(&report)?;
            history.past(&report, 30)
        });
        refused += usize::from(result.is_err());
    }
    assert!(refused > 50, "only {refused} of about 200 damaged files were noticed");
}

#[test]
fn a_foreign_view_is_not_asked() {
    let (_dir, path) = place();
    let history = History::open(&path).unwrap();
    let endless = "DROP TABLE findings; CREATE VIEW findings AS
        WITH RECURSIVE n(run) AS (SELECT 1 UNION ALL SELECT run + 1 FROM n) SELECT run FROM n";
    history.connection.execute_batch(endless).unwrap();
    drop(history);
    assert!(matches!(problem(History::open(&path)), Problem::Damaged(_)));
}
