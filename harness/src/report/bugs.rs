// SPDX-License-Identifier: GPL-2.0-only
//! The table of bugs by rules, with the number of cases that each took, and of the kernels that have to conform.

use std::fmt::Write;

use anstyle::Style;
use serde::Serialize;

use super::plain::{count, one_line};
use super::text::color;
use crate::campaign::bugs::{BugEntry, Hunted};
use crate::exit::Exit;
use crate::oracle::{Rule, Verdict};
use crate::record::{ImageRecord, State};

/// Version of the JSON format.
const VERSION: u32 = 1;

/// What became of all bugs and all clean kernels.
#[derive(Clone, Debug, Serialize)]
pub struct BugsReport {
    /// Version of the format: 1.
    version: u32,
    /// The most cases of each kernel.
    cases: usize,
    /// Seed of everything that was drawn.
    seed: u64,
    /// The bugs.
    bugs: Vec<BugRow>,
    /// Their kernels without them.
    twins: Vec<KernelRow>,
    /// Other kernels that have to conform.
    clean: Vec<KernelRow>,
}

/// One bug.
#[derive(Clone, Debug, Serialize)]
pub struct BugRow {
    /// What the catalogue says of it.
    #[serde(flatten)]
    pub entry: BugEntry,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a bug.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// A rule spoke that has to.
    Found {
        /// Cases that it took; 0 if the image itself shows it.
        cases_until_found: usize,
        /// The rule.
        rule: Rule,
        /// The other rules that the same case breaks.
        also: Vec<Rule>,
        /// The finding.
        finding: String,
    },
    /// None did.
    Missed {
        /// Rules that spoke instead, with the number of the first case.
        instead: Vec<(Rule, usize)>,
    },
    /// Nothing can be said.
    CannotJudge {
        /// Why.
        why: String,
    },
}

impl From<Hunted> for Outcome {
    fn from(hunted: Hunted) -> Outcome {
        match hunted {
            Hunted::Found(caught) => Outcome::Found {
                cases_until_found: caught.cases(),
                rule: caught.finding.rule,
                finding: caught.finding.to_string(),
                also: caught.others,
            },
            Hunted::Missed(instead) => Outcome::Missed { instead },
            Hunted::Unusable(failure) => Outcome::CannotJudge { why: failure.message },
        }
    }
}

/// A kernel that has to conform.
#[derive(Clone, Debug, Serialize)]
pub struct KernelRow {
    /// Its name.
    name: String,
    /// Its release.
    release: Option<String>,
    /// Cases that were run.
    cases: usize,
    /// Cases with nothing but known issues.
    known: usize,
    /// False alarms: cases with anything else, and findings of the image.
    alarms: usize,
    /// Cases that could not be judged.
    not_judged: usize,
    /// The first false alarm, with its case, or why nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
    #[serde(skip)]
    state: State,
}

impl KernelRow {
    /// The row of a kernel that was checked.
    pub fn new(record: &ImageRecord) -> KernelRow {
        let summary = record.summary;
        let new = record.findings().find(|(_, found)| found.known.is_none());
        let first = new.map(|(case, found)| match case {
            Some(case) => format!("case {case}: {}", found.finding),
            None => found.finding.to_string(),
        });
        let own = record.facts.iter().flat_map(|facts| &facts.image_findings);
        let own = own.filter(|found| found.known.is_none()).count();
        let doubt = || record.cases.iter().find_map(|case| case.judgement.not_judged.first());
        KernelRow {
            name: record.title(),
            release: record.facts.as_ref().and_then(|facts| facts.release.clone()),
            cases: summary.cases,
            known: summary.known,
            alarms: summary.diverging - summary.known + own,
            not_judged: summary.not_judged,
            remark: first.or_else(|| record.error.clone()).or_else(|| doubt().cloned()),
            state: record.state(),
        }
    }

    /// The row of a kernel that is not there.
    pub fn absent(name: &str, why: &str) -> KernelRow {
        KernelRow {
            name: name.to_owned(),
            release: None,
            cases: 0,
            known: 0,
            alarms: 0,
            not_judged: 0,
            remark: Some(why.to_owned()),
            state: State::CannotJudge,
        }
    }
}

impl BugsReport {
    /// A report on these bugs and kernels.
    pub fn new(
        (cases, seed): (usize, u64),
        bugs: Vec<BugRow>,
        twins: Vec<KernelRow>,
        clean: Vec<KernelRow>,
    ) -> BugsReport {
        BugsReport { version: VERSION, cases, seed, bugs, twins, clean }
    }

    /// 1 if a bug is missed or a kernel raises a false alarm, else 125 if something cannot be judged.
    pub fn exit(&self) -> Exit {
        let bugs = self.bugs.iter().map(|row| match row.outcome {
            Outcome::Found { .. } => Exit::Conforms,
            Outcome::Missed { .. } => Exit::Diverges,
            Outcome::CannotJudge { .. } => Exit::CannotJudge,
        });
        let kernels = self.twins.iter().chain(&self.clean).map(|row| match row.state {
            State::New => Exit::Diverges,
            State::CannotJudge => Exit::CannotJudge,
            State::Known | State::Conforms => Exit::Conforms,
        });
        let all: Vec<Exit> = bugs.chain(kernels).collect();
        for exit in [Exit::Diverges, Exit::CannotJudge] {
            if all.contains(&exit) {
                return exit;
            }
        }
        Exit::Conforms
    }

    /// Pretty-printed JSON with a newline at the end.
    ///
    /// # Errors
    /// None that a report could cause.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Tables for people, in colour.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.bugs.is_empty() {
            let header = ["BUG", "KERNEL", "FOUND BY", "CASES", "ALSO"].map(str::to_owned);
            let rows = self.bugs.iter().map(bug_cells);
            table(&mut text, header, rows.collect(), 3..4);
            for row in &self.bugs {
                bug_remark(&mut text, row, self.cases);
            }
        }
        for (title, rows) in [("TWIN", &self.twins), ("CLEAN KERNEL", &self.clean)] {
            if rows.is_empty() {
                continue;
            }
            text.push('\n');
            let header = [title, "CASES", "KNOWN", "ALARMS", "VERDICT"].map(str::to_owned);
            table(&mut text, header, rows.iter().map(kernel_cells).collect(), 1..4);
            for row in rows {
                if let Some(remark) = &row.remark {
                    let _ = writeln!(text, "{}: {}", one_line(&row.name), one_line(remark));
                }
            }
        }
        text.push('\n');
        let found = |row: &&BugRow| matches!(row.outcome, Outcome::Found { .. });
        if !self.bugs.is_empty() {
            let all = count(self.bugs.len(), "bug");
            let found = self.bugs.iter().filter(found).count();
            let _ = writeln!(text, "{found} of {all} found within {} cases", self.cases);
        }
        for (what, rows) in [("twin", &self.twins), ("clean kernel", &self.clean)] {
            if rows.is_empty() {
                continue;
            }
            let cases: usize = rows.iter().map(|row| row.cases).sum();
            let alarms: usize = rows.iter().map(|row| row.alarms).sum();
            let _ = writeln!(
                text,
                "{}, {}: {}",
                count(rows.len(), what),
                count(cases, "case"),
                count(alarms, "false alarm")
            );
        }
        text
    }
}

/// Cells, and the verdict that colours the one which says how it went.
type Cells = ([String; 5], usize, Verdict);

fn bug_cells(row: &BugRow) -> Cells {
    let rules = |rules: &mut dyn Iterator<Item = &Rule>| {
        rules.map(|rule| rule.name()).collect::<Vec<_>>().join(", ")
    };
    let (found, cases, also, verdict) = match &row.outcome {
        Outcome::Found { cases_until_found, rule, also, .. } => {
            let cases = cases_until_found.to_string();
            (rule.to_string(), cases, rules(&mut also.iter()), Verdict::Conforms)
        }
        Outcome::Missed { instead } => {
            let instead = rules(&mut instead.iter().map(|(rule, _)| rule));
            (String::from("MISSED"), String::from("-"), instead, Verdict::Diverges)
        }
        Outcome::CannotJudge { .. } => {
            let cells = (String::from("cannot judge"), String::from("-"));
            (cells.0, cells.1, String::new(), Verdict::CannotJudge)
        }
    };
    let (name, twin) = (row.entry.name.to_string(), row.entry.twin.clone());
    ([name, twin, found, cases, also], 2, verdict)
}

fn kernel_cells(row: &KernelRow) -> Cells {
    let (word, verdict) = match row.state {
        State::New => ("diverges", Verdict::Diverges),
        State::Known => ("conforms but for known issues", Verdict::Conforms),
        State::CannotJudge => ("cannot judge", Verdict::CannotJudge),
        State::Conforms => ("conforms", Verdict::Conforms),
    };
    let number = |number: usize| number.to_string();
    let numbers = [row.cases, row.known, row.alarms].map(number);
    let [cases, known, alarms] = numbers;
    ([one_line(&row.name), cases, known, alarms, word.to_owned()], 4, verdict)
}

/// What there is to say of a bug that was not found.
fn bug_remark(text: &mut String, row: &BugRow, cases: usize) {
    let _ = match &row.outcome {
        Outcome::Found { .. } => Ok(()),
        Outcome::Missed { .. } => {
            let rules: Vec<&str> = row.entry.rules.iter().map(|rule| rule.name()).collect();
            let rules = rules.join(" or ");
            writeln!(text, "{}: {rules} did not speak in {cases} cases", row.entry.name)
        }
        Outcome::CannotJudge { why } => writeln!(text, "{}: {}", row.entry.name, one_line(why)),
    };
}

/// A table whose columns `numbers` stand to the right.
fn table(
    text: &mut String,
    header: [String; 5],
    rows: Vec<Cells>,
    numbers: std::ops::Range<usize>,
) {
    let cells = || std::iter::once(&header).chain(rows.iter().map(|(cells, ..)| cells));
    let width = |column: usize| cells().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    for (line, row) in cells().enumerate() {
        let colored = line.checked_sub(1).map(|line| (rows[line].1, rows[line].2));
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let padded = match numbers.contains(&column) {
                true => format!("{cell:>width$}"),
                // Nothing stands beside the last one.
                false if column + 1 == row.len() => cell.clone(),
                false => format!("{cell:<width$}"),
            };
            let style = match colored {
                None => Style::new().bold(),
                Some((number, verdict)) if number == column => color(verdict),
                Some(_) => Style::new(),
            };
            let _ = write!(text, "{gap}{style}{padded}{style:#}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}
