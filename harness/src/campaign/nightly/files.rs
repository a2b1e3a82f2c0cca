// SPDX-License-Identifier: GPL-2.0-only
//! The case files of a campaign: for each image and each rule that it breaks the first case, and the simplest one.

use std::collections::BTreeSet;
use std::path::Path;

use crate::case::{Case, CaseFile, ImageRef};
use crate::oracle::Rule;
use crate::record::{ImageRecord, Report};

/// The folder of case files, beside the report.
const FOLDER: &str = "cases";

/// Writes the case files of `report` below `folder`, and says in the report which is where.
///
/// # Errors
/// A file cannot be written; the text names it.
pub fn write_cases(folder: &Path, report: &mut Report) -> Result<(), String> {
    for image in &mut report.images {
        write_image(folder, image)?;
    }
    Ok(())
}

fn write_image(folder: &Path, image: &mut ImageRecord) -> Result<(), String> {
    let Some(facts) = &image.facts else { return Ok(()) };
    let path =
        std::path::absolute(&image.path).map_err(|error| format!("{}: {error}", image.path))?;
    let reference = ImageRef { path, sha256: facts.sha256.clone() };
    let mut stem: String = facts.sha256.chars().take(12).collect();
    if let Some(protocol) = image.selection.protocol {
        stem += &format!("-{protocol}");
    }
    for loader in &image.selection.loaders {
        stem += &format!("-{}", loader.name());
    }
    let write = |name: &str, case: &Case| -> Result<String, String> {
        let relative = format!("{FOLDER}/{name}.toml");
        let path = folder.join(&relative);
        let text = CaseFile::new(reference.clone(), case.clone()).to_toml();
        let written =
            std::fs::create_dir_all(folder.join(FOLDER)).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(relative)
    };
    let mut seen: BTreeSet<Option<Rule>> = BTreeSet::new();
    for record in &mut image.cases {
        let Some(case) = &record.case else { continue };
        // A case without a finding is one that could not be judged.
        let rules = record.judgement.findings.iter().map(|found| Some(found.finding.rule));
        let mut rules: Vec<Option<Rule>> = rules.collect();
        if rules.is_empty() {
            rules.push(None);
        }
        let new: Vec<Option<Rule>> = rules.into_iter().filter(|rule| seen.insert(*rule)).collect();
        if let Some(first) = new.first() {
            let rule = first.map_or("not-judged", Rule::name);
            record.file = Some(write(&format!("{stem}-{rule}-{}", record.number), case)?);
        }
    }
    if let Some(shrunk) = &mut image.shrunk {
        let rule = shrunk.findings.first().map_or("simple", |found| found.finding.rule.name());
        shrunk.file = Some(write(&format!("{stem}-{rule}"), &shrunk.case)?);
    }
    Ok(())
}
