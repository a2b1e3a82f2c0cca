// SPDX-License-Identifier: GPL-2.0-only
//! The command that shows a finding again. All forms of a report give the same one.

use super::plain::one_line;
use crate::oracle::{Rule, Verdict};
use crate::record::{CaseRecord, ImageRecord, RegressionRecord, Shrunk};

/// The shell command that shows `rule` broken by `image`, first in the case `first`: by the file of the simplest case or of
/// this one, if one was written, or else by drawing the same cases from `seed`.
pub fn rule(seed: u64, image: &ImageRecord, rule: Rule, first: Option<&CaseRecord>) -> String {
    let Some(first) = first else {
        // What only all runs together show needs all of them.
        return check(seed, image, image.cases.len().max(1));
    };
    let shows = |shrunk: &&Shrunk| shrunk.findings.iter().any(|found| found.finding.rule == rule);
    let shrunk = image.shrunk.as_ref().filter(shows).and_then(|shrunk| shrunk.file.as_ref());
    shrunk.map_or_else(|| case(seed, image, first), |file| replay(file))
}

/// The shell command that runs one case of `image` again; the first that diverges, as simple as it was made.
pub fn case(seed: u64, image: &ImageRecord, case: &CaseRecord) -> String {
    let diverges = |case: &&CaseRecord| case.judgement.verdict == Verdict::Diverges;
    let is_first =
        || image.cases.iter().find(diverges).map(|first| first.number) == Some(case.number);
    let simple = image.shrunk.as_ref().and_then(|shrunk| shrunk.file.as_ref());
    match case.file.as_ref().or_else(|| simple.filter(|_| is_first())) {
        Some(file) => replay(file),
        None => check(seed, image, case.number.saturating_add(1)),
    }
}

/// The shell command that runs a regression case again, on its image, which need not be the one that the case was written
/// for.
pub fn regression(record: &RegressionRecord) -> String {
    let image = quote(&record.image);
    format!("{} --image \"$(relocheck corpus path {image})\"", replay(&record.case))
}

/// The shell command that runs the case of a file again.
pub fn replay(file: &str) -> String {
    format!("relocheck replay {}", quote(file))
}

fn check(seed: u64, image: &ImageRecord, cases: usize) -> String {
    let mut command = format!("relocheck check --bases {cases} --seed {seed}");
    if let Some(protocol) = image.selection.protocol {
        command += &format!(" --protocol {protocol}");
    }
    let loaders: Vec<&str> = image.selection.loaders.iter().map(|loader| loader.name()).collect();
    if !loaders.is_empty() {
        command += &format!(" --loader {}", loaders.join(","));
    }
    command + " " + &quote(&image.path)
}

/// A word for the shell, which no command takes for an option. A backslash before each special character, rather than
/// quotes, lets the word be continued on another line.
pub fn quote(word: &str) -> String {
    let mut quoted = String::new();
    match word.chars().next() {
        None => quoted += "''",
        Some('-') => quoted += "./",
        Some(_) => {}
    }
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
        let command = |image: &ImageRecord, group: usize| {
            let group = &image.groups()[group];
            rule(7, image, group.rule, group.first)
        };
        let image = &mut report.images[0];
        assert_eq!(command(image, 1), "relocheck replay reports/cases/3d616aa853fe-fault.toml");
        assert_eq!(command(image, 2), "relocheck replay reports/cases/000000000001-case.toml");
        let by_seed =
            "relocheck check --bases 5 --seed 7 --protocol 64 --loader kdump kernels/debian-cloud";
        assert_eq!(command(image, 0), by_seed);
        image.cases[1].file = None;
        let first = case(7, image, &image.cases[1]);
        assert_eq!(first, "relocheck replay reports/cases/3d616aa853fe-fault.toml");
        image.shrunk = None;
        assert_eq!(command(image, 1), by_seed.replace("--bases 5", "--bases 2"));
    }

    #[test]
    fn a_regression_case_runs_on_its_own_image() {
        let mut record = samples::everything().regressions.remove(1);
        record.image = "a b".into();
        assert_eq!(
            regression(&record),
            "relocheck replay corpus/cases/case-1.toml --image \"$(relocheck corpus path a\\ b)\""
        );
    }

    #[test]
    fn the_shell_reads_one_word() {
        let read = |word: &str| {
            let command = format!("printf %s {}", quote(word));
            let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for name in ["", "a b", "a'b\"c", "$(touch x)", "*", "~", "a\\b", "#x", "é"] {
            assert_eq!(read(name), name);
            // As in the command of a regression case.
            let inner = format!("printf %s \"$(printf %s {})\"", quote(name));
            let output = std::process::Command::new("sh").args(["-c", &inner]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), name);
        }
        assert_eq!(read("-o"), "./-o", "no option");
    }
}
