// SPDX-License-Identifier: GPL-2.0-only
//! Which part of a campaign this machine does: said on the command line, or by the CI system around it.

use std::fmt;
use std::str::FromStr;

/// Part `index` of `count` equal parts, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which one, from 1.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

/// The variables by which a CI system tells one of many equal jobs which one it is.
struct Convention {
    index: &'static str,
    count: &'static str,
    /// The number of the first job.
    first: Option<u32>,
    /// A variable with the number of the first job.
    first_in: Option<&'static str>,
}

const CONVENTIONS: [Convention; 6] = [
    // GitLab, `parallel:`.
    Convention { index: "CI_NODE_INDEX", count: "CI_NODE_TOTAL", first: Some(1), first_in: None },
    // GitHub has them as expressions only; the workflow passes `strategy.job-index` and `strategy.job-total` on.
    Convention {
        index: "STRATEGY_JOB_INDEX",
        count: "STRATEGY_JOB_TOTAL",
        first: Some(0),
        first_in: None,
    },
    // Kubernetes sets the index of an Indexed Job; its `completions` the pod template passes on.
    Convention {
        index: "JOB_COMPLETION_INDEX",
        count: "JOB_COMPLETIONS",
        first: Some(0),
        first_in: None,
    },
    Convention {
        index: "SLURM_ARRAY_TASK_ID",
        count: "SLURM_ARRAY_TASK_COUNT",
        first: None,
        first_in: Some("SLURM_ARRAY_TASK_MIN"),
    },
    Convention {
        index: "BUILDKITE_PARALLEL_JOB",
        count: "BUILDKITE_PARALLEL_JOB_COUNT",
        first: Some(0),
        first_in: None,
    },
    Convention {
        index: "CIRCLE_NODE_INDEX",
        count: "CIRCLE_NODE_TOTAL",
        first: Some(0),
        first_in: None,
    },
];

impl Part {
    /// All of it.
    pub const ALL: Part = Part { index: 1, count: 1 };

    /// What the CI system says by way of `variable`, and which variable told; `None` outside of such a job.
    ///
    /// # Errors
    /// Only half of it is there, or it makes no sense: to guess would leave images out in silence.
    pub fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<(Part, &'static str)>, String> {
        for convention in &CONVENTIONS {
            let number = |name: &'static str| {
                let text = variable(name).filter(|text| !text.is_empty());
                text.map(|text| {
                    text.parse::<u32>()
                        .map_err(|_| format!("{name}: expected a number, found {text:?}"))
                })
                .transpose()
            };
            let Some(index) = number(convention.index)? else { continue };
            let count = number(convention.count)?.ok_or_else(|| {
                format!(
                    "{} is set and {} is not: say which part this is with --partition K/N",
                    convention.index, convention.count
                )
            })?;
            let first = match (convention.first, convention.first_in) {
                (Some(first), _) => first,
                (None, Some(name)) => number(name)?.unwrap_or(0),
                (None, None) => 0,
            };
            let part = index.checked_sub(first).and_then(|index| index.checked_add(1));
            let part = part.filter(|index| *index <= count).ok_or_else(|| {
                format!("{}={index} is no job of {}={count}", convention.index, convention.count)
            })?;
            return Ok(Some((Part { index: part, count }, convention.index)));
        }
        Ok(None)
    }

    /// Whether item `number`, from 0, belongs to it. Neighbours, which cost about the same, go to different parts.
    pub fn has(self, number: usize) -> bool {
        number % self.count as usize == (self.index - 1) as usize
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Part, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Some(Part { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        numbers
            .filter(|part| (1..=part.count).contains(&part.index))
            .ok_or_else(|| format!("expected K/N with K from 1 to N, such as 2/4, found {text:?}"))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Result<Option<Part>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| text.to_string())
        };
        Ok(Part::of_environment(variable)?.map(|(part, _)| part))
    }

    #[test]
    fn each_ci_system_counts_in_its_own_way() {
        let part = |index, count| Ok(Some(Part { index, count }));
        assert_eq!(detect(&[("CI_NODE_INDEX", "1"), ("CI_NODE_TOTAL", "4")]), part(1, 4));
        assert_eq!(detect(&[("STRATEGY_JOB_INDEX", "0"), ("STRATEGY_JOB_TOTAL", "4")]), part(1, 4));
        assert_eq!(detect(&[("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "4")]), part(4, 4));
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "12"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
        ];
        assert_eq!(detect(&slurm), part(3, 4));
        assert_eq!(detect(&[]), Ok(None));
        // GitLab sets the total of 1 in every job, and no index.
        assert_eq!(detect(&[("CI_NODE_TOTAL", "1")]), Ok(None));
    }

    #[test]
    fn half_a_statement_is_an_error() {
        assert!(detect(&[("JOB_COMPLETION_INDEX", "3")]).unwrap_err().contains("--partition"));
        assert!(detect(&[("CI_NODE_INDEX", "5"), ("CI_NODE_TOTAL", "4")]).is_err());
        assert!(detect(&[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "4")]).is_err());
        assert!(detect(&[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "4")]).is_err());
    }

    #[test]
    fn the_parts_are_all_of_it_and_share_nothing() {
        for count in 1..6 {
            for number in 0..20 {
                let has = |index| Part { index, count }.has(number);
                assert_eq!((1..=count).filter(|index| has(*index)).count(), 1);
            }
        }
        assert_eq!("2/4".parse(), Ok(Part { index: 2, count: 4 }));
        for text in ["0/4", "5/4", "2", "", "a/b", "1/0", "-1/2"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
