// SPDX-License-Identifier: GPL-2.0-only
//! Samples that the image itself repeats: where does its own code put the kernel?

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::with_answers;
use crate::campaign::run;
use crate::case::Case;
use crate::machine::Engine;
use crate::oracle::{Finding, Judgement, Rule, Subject};
use crate::reference::Prediction;

/// One run of the image.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What RDRAND answers: for the physical draw, and for the virtual one.
    pub answers: [u64; 2],
    /// Where the model says that the kernel goes.
    pub expected: Prediction,
    /// What the oracles say, and where the kernel went.
    pub judgement: Judgement,
}

impl Observed {
    fn new(answers: [u64; 2], expected: Prediction, judgement: Judgement) -> Observed {
        let mut observed = Observed { answers, expected, judgement };
        let told = observed
            .judgement
            .findings
            .iter()
            .any(|finding| matches!(finding.rule, Rule::Kaslr | Rule::Placement));
        if let (Some(actual), false) = (observed.found(), told || observed.agrees()) {
            let said = |at: Prediction| format!("output {:#x}, virt {:#x}", at.output, at.virt);
            let finding = Finding::new(Rule::Kaslr, "choice", said(expected), said(actual));
            observed.judgement.findings.push(finding);
        }
        let said = &mut observed.judgement;
        if said.landing.is_none() && said.findings.is_empty() && said.not_judged.is_empty() {
            said.not_judged.push("the stub stopped, as it may at this load address".into());
        }
        observed
    }

    /// Where the kernel was found; `None` if it was not started.
    pub fn found(&self) -> Option<Prediction> {
        let landing = self.judgement.landing?;
        Some(Prediction { output: landing.output, virt: landing.virt })
    }

    /// Whether the kernel is where the model says.
    pub fn agrees(&self) -> bool {
        self.found() == Some(self.expected)
    }
}

/// Runs `case` with each of the answers; the results are in their order.
pub fn all(
    engine: &dyn Engine,
    subject: &Subject,
    case: &Case,
    planned: &[([u64; 2], Prediction)],
    run_done: &(dyn Fn() + Sync),
) -> Vec<Observed> {
    let observe = |(answers, expected): &([u64; 2], Prediction)| {
        let case = with_answers(case, *answers);
        let judgement = run(engine, subject, &case).judgement;
        run_done();
        Observed::new(*answers, *expected, judgement)
    };
    planned.par_iter().map(observe).collect()
}

/// The case of one run.
pub fn case_of(case: &Case, observed: &Observed) -> Case {
    with_answers(case, observed.answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Landing, Verdict};

    fn observed(landing: Option<(u64, u64)>, findings: Vec<Finding>) -> Observed {
        let judgement = Judgement {
            findings,
            landing: landing.map(|(output, virt)| Landing { output, virt }),
            ..Judgement::default()
        };
        Observed::new([0; 2], Prediction { output: 0x100_0000, virt: 0x200_0000 }, judgement)
    }

    #[test]
    fn a_wrong_model_shows_even_if_no_oracle_speaks() {
        let wrong = observed(Some((0x100_0000, 0x220_0000)), vec![]);
        assert!(!wrong.agrees());
        assert_eq!(
            wrong.judgement.findings[0].to_string(),
            "kaslr: choice: expected output 0x1000000, virt 0x2000000, found output 0x1000000, virt 0x2200000"
        );
        assert_eq!(wrong.judgement.verdict(), Verdict::Diverges);
    }

    #[test]
    fn what_an_oracle_said_is_not_said_again() {
        let finding = Finding::new(Rule::Kaslr, "virt", "", "");
        let wrong = observed(Some((0x100_0000, 0x220_0000)), vec![finding.clone()]);
        assert_eq!(wrong.judgement.findings, [finding]);
    }

    #[test]
    fn a_kernel_that_was_not_started_agrees_with_nothing() {
        let stopped = observed(None, vec![]);
        assert!(!stopped.agrees());
        assert_eq!(stopped.judgement.verdict(), Verdict::CannotJudge);
        let right = observed(Some((0x100_0000, 0x200_0000)), vec![]);
        assert!(right.agrees() && right.judgement.findings.is_empty());
    }
}
