// SPDX-License-Identifier: GPL-2.0-only
//! The command that shows a finding again.

use super::plain::one_line;
use crate::oracle::Verdict;
use crate::record::{CaseRecord, Group, ImageRecord, Report, Shrunk};

/// The shell command that shows a finding of `image` again: by the file of the simplest case or of this one, if one was
/// written, or else by drawing the same cases.
pub fn finding(report: &Report, image: &ImageRecord, group: &Group<'_>) -> String {
    let Some(first) = group.first else {
        // What only all runs together show needs all of them.
        return check(report, image, image.cases.len().max(1));
    };
    let shows =
        |shrunk: &&Shrunk| shrunk.findings.iter().any(|found| found.finding.rule == group.rule);
    let shrunk = image.shrunk.as_ref().filter(shows).and_then(|shrunk| shrunk.file.as_ref());
    shrunk.map_or_else(|| case(report, image, first), |file| replay(file))
}

/// The shell command that runs one case of `image` again; the first that diverges, as simple as it was made.
pub fn case(report: &Report, image: &ImageRecord, case: &CaseRecord) -> String {
    let diverges = |case: &&CaseRecord| case.judgement.verdict == Verdict::Diverges;
    let is_first =
        || image.cases.iter().find(diverges).map(|first| first.number) == Some(case.number);
    let simple = image.shrunk.as_ref().and_then(|shrunk| shrunk.file.as_ref());
    match case.file.as_ref().or_else(|| simple.filter(|_| is_first())) {
        Some(file) => replay(file),
        None => check(report, image, case.number.saturating_add(1)),
    }
}

/// The shell command that runs the case of a file again.
pub fn replay(file: &str) -> String {
    format!("relocheck replay {}", quote(file))
}

fn check(report: &Report, image: &ImageRecord, cases: usize) -> String {
    let mut command = format!("relocheck check --bases {cases} --seed {}", report.seed);
    if let Some(protocol) = image.selection.protocol {
        command += &format!(" --protocol {protocol}");
    }
    let loaders: Vec<&str> = image.selection.loaders.iter().map(|loader| loader.name()).collect();
    if !loaders.is_empty() {
        command += &format!(" --loader {}", loaders.join(","));
    }
    command + " " + &quote(&image.path)
}

/// A word for the shell. A backslash before each special character, rather than quotes, lets the word be continued on
/// another line.
fn quote(word: &str) -> String {
    let mut quoted = String::new();
    for c in one_line(word).chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !"/._-+,=:@%".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    #[test]
    fn files_come_before_seeds() {
        let mut report = samples::everything();
        let command = |report: &Report, group: usize| {
            finding(report, &report.images[0], &report.images[0].groups()[group])
        };
        assert_eq!(command(&report, 1), "relocheck replay reports/cases/3d616aa853fe-fault.toml");
        assert_eq!(command(&report, 2), "relocheck replay reports/cases/000000000001-case.toml");
        let by_seed =
            "relocheck check --bases 5 --seed 7 --protocol 64 --loader kdump kernels/debian-cloud";
        assert_eq!(command(&report, 0), by_seed);
        report.images[0].cases[1].file = None;
        let first = case(&report, &report.images[0], &report.images[0].cases[1]);
        assert_eq!(first, "relocheck replay reports/cases/3d616aa853fe-fault.toml");
        report.images[0].shrunk = None;
        assert_eq!(command(&report, 1), by_seed.replace("--bases 5", "--bases 2"));
    }

    #[test]
    fn the_shell_reads_one_word() {
        for name in ["a b", "a'b\"c", "$(touch x)", "*", "~", "a\\b", "#x", "é", "-"] {
            let command = format!("printf %s {}", quote(name));
            let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), name);
        }
    }
}
