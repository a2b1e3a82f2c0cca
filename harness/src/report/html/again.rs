// SPDX-License-Identifier: GPL-2.0-only
//! The command that shows a finding again.

use std::fmt::Write;

use super::text::quoted;
use crate::oracle::Rule;
use crate::record::{CaseRecord, Found, ImageRecord, RegressionRecord};

/// The command that shows `rule` broken by `image`, first in `case`; none: only the image as a whole shows it.
pub fn of_rule(seed: u64, image: &ImageRecord, rule: Rule, case: Option<&CaseRecord>) -> String {
    let shows = |found: &[Found]| found.iter().any(|found| found.finding.rule == rule);
    let filed = image.cases.iter().filter(|case| shows(&case.judgement.findings));
    let file = filed.filter_map(|case| case.file.as_ref()).next();
    let shrunk = image.shrunk.as_ref().filter(|shrunk| shows(&shrunk.findings));
    match file.or(shrunk.and_then(|shrunk| shrunk.file.as_ref())) {
        Some(file) => replay(file),
        None => check(seed, image, case.map(|case| case.number)),
    }
}

/// The command that runs `case` of `image` again.
pub fn of_case(seed: u64, image: &ImageRecord, case: &CaseRecord) -> String {
    match &case.file {
        Some(file) => replay(file),
        None => check(seed, image, Some(case.number)),
    }
}

/// The command that runs a regression case on its image again, which need not be the one that the case was written for.
pub fn of_regression(one: &RegressionRecord) -> String {
    format!("{} --image \"$(relocheck corpus path {})\"", replay(&one.case), quoted(&one.image))
}

/// The command that runs a case file again.
pub fn replay(file: &str) -> String {
    format!("relocheck replay {}", quoted(file))
}

/// Runs the cases up to this one; none: all.
fn check(seed: u64, image: &ImageRecord, last: Option<usize>) -> String {
    let bases = last.map_or(image.cases.len(), |last| last.saturating_add(1)).max(1);
    let mut command =
        format!("relocheck check {} --seed {seed} --bases {bases}", quoted(&image.path));
    if let Some(protocol) = image.selection.protocol {
        let _ = write!(command, " --protocol {protocol}");
    }
    if !image.selection.loaders.is_empty() {
        let names: Vec<&str> = image.selection.loaders.iter().map(|loader| loader.name()).collect();
        let _ = write!(command, " --loader {}", names.join(","));
    }
    command
}
