// SPDX-License-Identifier: GPL-2.0-only
//! Makes a failing case simpler as long as the same rule stays broken.

use super::simplify::simpler;
use crate::case::Case;
use crate::oracle::{Judgement, Rule};

/// A case that cannot be made simpler within the limit.
pub struct Shrunk {
    /// The case.
    pub case: Case,
    /// What the oracles say of it.
    pub judgement: Judgement,
    /// How many runs it took.
    pub runs: usize,
}

/// Shrinks `case`, which breaks `keep` with `judgement`, in at most `limit` runs. `preferred` is the address
/// that the kernel was linked for; `run` gives `None` for a case that cannot be run.
pub fn shrink(
    case: Case,
    judgement: Judgement,
    keep: Rule,
    preferred: u64,
    limit: usize,
    mut run: impl FnMut(&Case) -> Option<Judgement>,
) -> Shrunk {
    let mut best = Shrunk { case, judgement, runs: 0 };
    let mut tried = Vec::new();
    'better: loop {
        for case in simpler(&best.case, preferred) {
            if best.runs == limit {
                return best;
            }
            if tried.contains(&case) {
                continue;
            }
            tried.push(case.clone());
            let Some(judgement) = run(&case) else { continue };
            best.runs += 1;
            if judgement.findings.iter().any(|finding| finding.rule == keep) {
                (best.case, best.judgement) = (case, judgement);
                continue 'better;
            }
        }
        return best;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{MemoryEntry, Span};
    use crate::oracle::Finding;

    fn judgement(broken: bool) -> Judgement {
        let finding = Finding::new(Rule::Memory, "", "", "");
        Judgement { findings: if broken { vec![finding] } else { vec![] }, ..Judgement::default() }
    }

    fn case() -> Case {
        Case {
            load: 0x7_0000_0000,
            initrd: Some(Span { start: 0x5000_0000, end: 0x5100_0000 }),
            sentinel: Some(3),
            memory: vec![MemoryEntry::usable(0, 0x1000); 20],
            command_line: Some("quiet mem=5G nokaslr earlyprintk=ttyS0".into()),
            ..Case::default()
        }
    }

    #[test]
    fn what_has_no_part_in_the_failure_goes() {
        let fails = |case: &Case| case.load >= 0x2_0000_0000 && case.initrd.is_some();
        let shrunk = shrink(case(), judgement(true), Rule::Memory, 0x100_0000, 200, |case| {
            Some(judgement(fails(case)))
        });
        assert!(shrunk.case.load < 0x2_4000_0000, "{:#x}", shrunk.case.load);
        assert_eq!(shrunk.case.initrd, case().initrd);
        assert_eq!((shrunk.case.sentinel, shrunk.case.memory.len()), (None, 0));
        assert_eq!(shrunk.case.command_line.as_deref(), Some("earlyprintk=ttyS0 nokaslr"));
    }

    #[test]
    fn the_limit_and_cases_that_cannot_run_are_respected() {
        let shrunk = shrink(case(), judgement(true), Rule::Memory, 0, 5, |_| Some(judgement(true)));
        assert_eq!(shrunk.runs, 5);
        let kept = shrink(case(), judgement(true), Rule::Memory, 0, 5, |_| None);
        assert_eq!((kept.case, kept.runs), (case(), 0));
    }
}
