// SPDX-License-Identifier: GPL-2.0-only
//! Makes a failing case simpler as long as the same rule stays broken.

use super::draw::CaseTree;
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

/// Shrinks `tree`, whose current case breaks `keep` with `judgement`, in at most `limit` runs.
pub fn shrink(
    tree: &mut CaseTree,
    judgement: Judgement,
    keep: Rule,
    limit: usize,
    mut run: impl FnMut(&Case) -> Judgement,
) -> Shrunk {
    let mut best = Shrunk { case: tree.current(), judgement, runs: 0 };
    let mut more = tree.simplify();
    while more && best.runs < limit {
        let case = tree.current();
        // Several steps of a tree can stand for one case.
        if case == best.case {
            more = tree.simplify();
            continue;
        }
        best.runs += 1;
        let judgement = run(&case);
        more = if judgement.findings.iter().any(|finding| finding.rule == keep) {
            (best.case, best.judgement) = (case, judgement);
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::oracle::Finding;

    fn judgement(broken: bool) -> Judgement {
        let finding = Finding::new(Rule::Memory, "", "", "");
        Judgement {
            findings: if broken { vec![finding] } else { vec![] },
            not_judged: vec![],
            unpredicted: None,
            landing: None,
            refused: false,
            kernel: None,
            applied: Default::default(),
        }
    }

    #[test]
    fn the_lowest_failing_address_is_found() {
        let strategy =
            (0u64..1 << 20).prop_map(|page| Case { load: page * 4096, ..Case::default() });
        let mut runner = TestRunner::deterministic();
        let fails = |case: &Case| case.load >= 0x1234_5000;
        let mut tree: CaseTree = loop {
            let tree = strategy.new_tree(&mut runner).unwrap();
            if fails(&tree.current()) {
                break Box::new(tree);
            }
        };
        let shrunk =
            shrink(&mut tree, judgement(true), Rule::Memory, 100, |case| judgement(fails(case)));
        assert_eq!(shrunk.case.load, 0x1234_5000);
        assert!(shrunk.runs < 40);
    }
}
