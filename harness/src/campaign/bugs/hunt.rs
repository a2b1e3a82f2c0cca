// SPDX-License-Identifier: GPL-2.0-only
//! Looks for a bug: runs the cases of its class in order, until a rule speaks that has to.

use std::path::PathBuf;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::Bug;
use crate::campaign::nightly::KnownIssues;
use crate::campaign::{ImageFailure, Opened};
use crate::case::Case;
use crate::machine::Engine;
use crate::oracle::{Finding, Rule};

/// How to look.
#[derive(Clone, Copy, Debug)]
pub struct Hunt<'a> {
    /// The most cases of each bug.
    pub cases: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// What twins are known to have wrong, too.
    pub known: &'a KnownIssues,
}

/// A finding that shows a bug.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The number of the case, from 0; `None` if the image itself shows it.
    pub number: Option<usize>,
    /// The case.
    pub case: Option<Case>,
    /// The finding.
    pub finding: Finding,
    /// The other rules that this case breaks.
    pub others: Vec<Rule>,
}

impl Caught {
    /// How many cases had to be run.
    pub fn cases(&self) -> usize {
        self.number.map_or(0, |number| number + 1)
    }
}

/// What became of a bug.
#[derive(Clone, Debug)]
pub enum Hunted {
    /// A rule spoke that had to.
    Found(Box<Caught>),
    /// None did, in all cases; rules that spoke instead, each with the first case.
    Missed(Vec<(Rule, usize)>),
    /// Its kernel cannot be checked.
    Unusable(ImageFailure),
}

/// Looks for each bug in its kernel, in parallel; `done` is told of each that is through.
pub fn hunt(
    engine: &dyn Engine,
    bugs: &[(&Bug, PathBuf)],
    how: Hunt<'_>,
    done: &(dyn Fn(&Bug, &Hunted) + Sync),
) -> Vec<Hunted> {
    let one = |(bug, image): &(&Bug, PathBuf)| {
        let hunted = match Opened::new(image, None, bug.entry.protocols(), &bug.entry.loaders) {
            Ok(opened) => search(engine, bug, &opened, how),
            Err(failure) => Hunted::Unusable(failure),
        };
        done(bug, &hunted);
        hunted
    };
    // One at a time from the list: those that take long should not wait behind each other.
    bugs.par_iter().with_max_len(1).map(one).collect()
}

fn search(engine: &dyn Engine, bug: &Bug, opened: &Opened, how: Hunt<'_>) -> Hunted {
    let rules = &bug.entry.rules;
    let own = &opened.subject.image_findings;
    if let Some(finding) = own.iter().find(|finding| rules.contains(&finding.rule)) {
        let others = others(own, finding);
        return Hunted::Found(Box::new(Caught {
            number: None,
            case: None,
            finding: finding.clone(),
            others,
        }));
    }
    let release = opened.subject.image.release().map(|release| release.to_string());
    let mut instead: Vec<(Rule, usize)> = Vec::new();
    for number in 0..how.cases {
        let result = opened.run(engine, how.seed, number);
        let new = |finding: &&Finding| {
            let known =
                how.known.excuse(&bug.entry.twin, release.as_deref(), Some(&result.case), finding);
            known.is_none() && !own.contains(finding)
        };
        let findings: Vec<Finding> =
            result.judgement.findings.iter().filter(new).cloned().collect();
        if let Some(finding) = findings.iter().find(|finding| rules.contains(&finding.rule)) {
            return Hunted::Found(Box::new(Caught {
                number: Some(number),
                case: Some(result.case.clone()),
                finding: finding.clone(),
                others: others(&findings, finding),
            }));
        }
        for finding in findings {
            if !instead.iter().any(|(rule, _)| *rule == finding.rule) {
                instead.push((finding.rule, number));
            }
        }
    }
    Hunted::Missed(instead)
}

/// The rules that others than `finding` are about, each once.
fn others(findings: &[Finding], finding: &Finding) -> Vec<Rule> {
    let mut rules: Vec<Rule> = findings.iter().map(|other| other.rule).collect();
    rules.retain(|rule| *rule != finding.rule);
    rules.sort();
    rules.dedup();
    rules
}
