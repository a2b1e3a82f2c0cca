// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report html` and `relocheck report history` as scripts see them.

use std::path::Path;
use std::process::{Command, Output};

use relocheck::exit::Exit;
use relocheck::record::{Campaign, ImageRecord, Report};
use tempfile::TempDir;

/// Runs relocheck in `dir`, and expects this exit code.
fn relocheck(dir: &Path, arguments: &[&str], code: i32) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relocheck"));
    let output = command.current_dir(dir).args(arguments).output().expect("relocheck starts");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("relocheck prints UTF-8")
}

/// The report of one night, in which an image was unusable.
fn night(dir: &Path, name: &str, date: &str) {
    let campaign = Campaign {
        name: "nightly".into(),
        plan: "00".repeat(32),
        date: date.into(),
        partition: None,
    };
    let error = "expected a bzImage".to_owned();
    let image = ImageRecord::unusable(0, "broken".into(), "broken".into(), error, Exit::Usage);
    let report = Report::new(Some(campaign), 1, Vec::new(), vec![image], Vec::new());
    std::fs::write(dir.join(name), report.to_json().unwrap()).unwrap();
}

#[test]
fn a_report_becomes_a_page_and_a_history_remembers_it() {
    let dir = TempDir::new().unwrap();
    for day in ["2026-11-01", "2026-11-02", "2026-11-02"] {
        night(dir.path(), "report.json", day);
        let arguments = ["report", "html", "report.json", "-o", "page.html", "--history", "h.db"];
        let output = relocheck(dir.path(), &arguments, 0);
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    let page = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("expected a bzImage"));
    assert!(page.contains("2 runs, 2026-11-01 to 2026-11-02"), "the trend");
    let output = relocheck(dir.path(), &["report", "html", "report.json"], 0);
    assert!(text(&output.stdout).contains("nightly, 2026-11-02"));
    assert!(!text(&output.stdout).contains("2026-11-01"), "no history, no trend");

    let output = relocheck(dir.path(), &["report", "history", "h.db"], 0);
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0] == "nightly" && lines[2].starts_with("2026-11-01"));
    let arguments = ["report", "history", "h.db", "--campaign", "nightly", "--runs", "1"];
    let output = relocheck(dir.path(), &arguments, 0);
    assert_eq!(text(&output.stdout).lines().count(), 3);
}

#[test]
fn a_file_that_cannot_be_used_is_one_line() {
    let dir = TempDir::new().unwrap();
    night(dir.path(), "report.json", "2026-11-01");
    std::fs::write(dir.path().join("text"), "no report\n".repeat(200)).unwrap();
    let old = std::fs::read_to_string(dir.path().join("report.json")).unwrap();
    let old = old.replace("\"version\": 2", "\"version\": 1");
    std::fs::write(dir.path().join("old.json"), old).unwrap();
    for (arguments, file, hint) in [
        (&["report", "html", "absent"][..], "absent", "No such file"),
        (&["report", "html", "text"], "text", "expected a report"),
        (&["report", "html", "."], ".", "expected a report"),
        (&["report", "html", "old.json"], "old.json", "version"),
        (&["report", "html", "report.json", "-o", "no/where"], "no/where", "No such file"),
        (&["report", "history", "absent"], "absent", "No such file"),
        (&["report", "history", "text"], "text", "no SQLite database"),
    ] {
        let output = relocheck(dir.path(), arguments, 2);
        let said = text(&output.stderr);
        assert!(said.starts_with(&format!("relocheck: {file}: ")), "{said:?}");
        assert!(said.contains(hint) && said.lines().count() == 1, "{said:?}");
        assert!(output.stdout.is_empty());
    }
    relocheck(dir.path(), &["report", "html", "report.json", "--history", "h.db"], 0);
    let unknown = ["report", "history", "h.db", "--campaign", "weekly"];
    let output = relocheck(dir.path(), &unknown, 2);
    assert!(text(&output.stderr).contains("nightly"), "which campaigns are there?");
}

#[test]
fn a_history_that_cannot_be_used_costs_no_page() {
    let dir = TempDir::new().unwrap();
    night(dir.path(), "report.json", "2026-11-01");
    std::fs::write(dir.path().join("text"), "no history\n".repeat(200)).unwrap();
    let arguments = ["report", "html", "report.json", "--history", "text"];
    let output = relocheck(dir.path(), &arguments, 0);
    assert!(text(&output.stdout).contains("expected a bzImage"));
    let said = text(&output.stderr);
    assert!(said.starts_with("relocheck: text: ") && said.lines().count() == 1, "{said:?}");
}
