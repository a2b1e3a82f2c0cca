// SPDX-License-Identifier: GPL-2.0-only
//! The cases under corpus/cases: kernels that have the mistake show it, kernels that have the fix conform.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed};
use relocheck::campaign;
use relocheck::case::CaseFile;
use relocheck::image::Image;
use relocheck::machine::UnicornEngine;
use relocheck::oracle::{Judgement, Subject, Verdict};
use serde::Deserialize;

mod kernels;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Findings {
    finding: Vec<Finding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    case: String,
    rule: String,
    shown_by: Vec<String>,
    fixed_in: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/cases");
    let text = std::fs::read_to_string(folder.join("findings.toml")).expect("findings.toml");
    let findings: Findings = toml::from_str(&text).expect("findings.toml");
    let mut trials = Vec::new();
    for Finding { case, rule, shown_by, fixed_in } in findings.finding {
        let path = folder.join(&case);
        for entry in shown_by {
            let (path, rule) = (path.clone(), rule.clone());
            let name = format!("{case}_is_shown_by_{entry}");
            trials.push(kernels::trial(&name, &entry, move |image| shows(&path, image, &rule)));
        }
        for entry in fixed_in {
            let path = path.clone();
            let name = format!("{case}_is_fixed_in_{entry}");
            trials.push(kernels::trial(&name, &entry, move |image| conforms(&path, image)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn shows(case: &Path, image: PathBuf, rule: &str) -> Result<(), Failed> {
    let judgement = replay(case, image)?;
    let found = judgement.findings.iter().any(|finding| finding.rule.name() == rule);
    if found { Ok(()) } else { Err(format!("{rule} was expected: {judgement:#?}").into()) }
}

fn conforms(case: &Path, image: PathBuf) -> Result<(), Failed> {
    let judgement = replay(case, image)?;
    let conforms = judgement.verdict() == Verdict::Conforms;
    if conforms { Ok(()) } else { Err(format!("not fixed: {judgement:#?}").into()) }
}

fn replay(case: &Path, image: PathBuf) -> Result<Judgement, Failed> {
    let file = CaseFile::read(case)?;
    let subject = Subject::new(Image::open(&image)?)?;
    Ok(campaign::run(&UnicornEngine::new(), &subject, &file.case).judgement)
}
