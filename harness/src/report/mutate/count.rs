// SPDX-License-Identifier: GPL-2.0-only
//! Fates, counted.

use serde::Serialize;

use crate::mutate::{Class, Fate, Mutant};

/// How many mutants had which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All of them.
    pub mutants: usize,
    /// An oracle spoke.
    pub killed: usize,
    /// The file was not accepted, or no loader could load it.
    pub refused: usize,
    /// Proved to do the same.
    pub equivalent: usize,
    /// The instruction runs in none of the cases.
    pub not_reached: usize,
    /// Survived without any difference.
    pub same: usize,
    /// Survived, and only what nobody reads differs.
    pub idle: usize,
    /// Survived, because it is a lie that a loader may believe.
    pub believed: usize,
    /// Survived, and something differs: a hole.
    pub holes: usize,
    /// Nothing could be said.
    pub not_judged: usize,
}

impl Count {
    /// Counts those of one class, or of one kind in it.
    pub fn of(results: &[(Mutant, Fate)], class: Class, kind: Option<&str>) -> Count {
        let mut count = Count::default();
        let counts =
            |mutant: &Mutant| mutant.class == class && kind.is_none_or(|kind| mutant.kind == kind);
        for (_, fate) in results.iter().filter(|(mutant, _)| counts(mutant)) {
            count.mutants += 1;
            *match fate {
                Fate::Killed { .. } => &mut count.killed,
                Fate::Refused(_) | Fate::NotLoadable(_) => &mut count.refused,
                Fate::Equivalent(_) => &mut count.equivalent,
                Fate::NotReached => &mut count.not_reached,
                Fate::Same => &mut count.same,
                Fate::Idle(_) => &mut count.idle,
                Fate::Believed => &mut count.believed,
                Fate::Differs(_) => &mut count.holes,
                Fate::NotJudged(_) | Fate::NotBuilt(_) => &mut count.not_judged,
            } += 1;
        }
        count
    }

    /// Of the mutants that do something else, in a way that matters, the part that was found out; `None` if there are none.
    pub fn ratio(self) -> Option<f64> {
        let found = self.killed + self.refused;
        let all = found + self.holes;
        (all > 0).then(|| found as f64 / all as f64)
    }

    /// The same if every difference mattered.
    pub fn strict_ratio(self) -> Option<f64> {
        let found = self.killed + self.refused;
        let all = found + self.holes + self.idle;
        (all > 0).then(|| found as f64 / all as f64)
    }
}
