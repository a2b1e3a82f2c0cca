// SPDX-License-Identifier: GPL-2.0-only
//! Puts the parts of a campaign together: all of them make the report that the undivided campaign would have made.

use std::collections::BTreeSet;

use super::{Campaign, KnownIssueRecord, Partition, Report};

impl Partition {
    /// The numbers of the parts that are not covered.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        let covered: BTreeSet<u32> = self.parts.iter().copied().collect();
        (1..=self.of).filter(move |part| !covered.contains(part))
    }
}

/// Merges reports on parts of one campaign, each with the name that errors call it by, in any order. Where parts are
/// missing, `campaign.partition` of the result says which it has.
///
/// # Errors
///
/// One line that names the report: it is of no campaign or of another one, or covers what another one covers.
pub fn merge(parts: Vec<(String, Report)>) -> Result<Report, String> {
    let mut parts = parts.into_iter();
    let (first_name, mut merged) = parts.next().ok_or("there is no report to merge")?;
    let mut campaign =
        merged.campaign.take().ok_or_else(|| format!("{first_name}: {NO_CAMPAIGN}"))?;
    check_partition(&first_name, campaign.partition.as_ref())?;
    for (name, part) in parts {
        let theirs = part.campaign.as_ref().ok_or_else(|| format!("{name}: {NO_CAMPAIGN}"))?;
        let same = |what, theirs: &str, ours: &str| match theirs == ours {
            true => Ok(()),
            false => {
                Err(format!("{name}: {what}: expected {ours}, as in {first_name}, found {theirs}"))
            }
        };
        same("campaign.plan", &theirs.plan, &campaign.plan)?;
        same("campaign.name", &theirs.name, &campaign.name)?;
        same("campaign.date", &theirs.date, &campaign.date)?;
        same("seed", &part.seed.to_string(), &merged.seed.to_string())?;
        check_partition(&name, theirs.partition.as_ref())?;
        campaign.partition = Some(join(&name, &campaign, theirs)?);
        merged.images.extend(part.images);
        merged.regressions.extend(part.regressions);
        add_issues(&name, &mut merged.known_issues, part.known_issues)?;
    }
    merged.images.sort_by_key(|image| image.number);
    merged.regressions.sort_by_key(|one| one.number);
    unique("images", merged.images.iter().map(|image| image.number))?;
    unique("regressions", merged.regressions.iter().map(|one| one.number))?;
    campaign.partition =
        campaign.partition.filter(|partition| partition.missing().next().is_some());
    let Report { seed, regressions, images, known_issues, .. } = merged;
    Ok(Report::new(Some(campaign), seed, regressions, images, known_issues))
}

const NO_CAMPAIGN: &str = "campaign: expected a part of a campaign, found a report without one";

fn check_partition(name: &str, partition: Option<&Partition>) -> Result<(), String> {
    let Some(Partition { parts, of }) = partition else { return Ok(()) };
    let sane = !parts.is_empty()
        && parts.is_sorted_by(|a, b| a < b)
        && parts.iter().all(|part| (1..=*of).contains(part));
    match sane {
        true => Ok(()),
        false => Err(format!(
            "{name}: campaign.partition.parts: expected ascending numbers from 1 to {of}"
        )),
    }
}

/// The parts of both.
fn join(name: &str, ours: &Campaign, theirs: &Campaign) -> Result<Partition, String> {
    let (Some(ours), Some(theirs)) = (&ours.partition, &theirs.partition) else {
        return Err(format!("{name}: one of the reports covers the whole campaign already"));
    };
    if ours.of != theirs.of {
        return Err(format!(
            "{name}: campaign.partition.of: expected {}, found {}",
            ours.of, theirs.of
        ));
    }
    let mut parts: BTreeSet<u32> = ours.parts.iter().copied().collect();
    for part in &theirs.parts {
        if !parts.insert(*part) {
            return Err(format!("{name}: part {part} of {} is there twice", ours.of));
        }
    }
    Ok(Partition { parts: parts.into_iter().collect(), of: ours.of })
}

/// Adds up in how many cases the issues were seen.
fn add_issues(
    name: &str,
    ours: &mut Vec<KnownIssueRecord>,
    theirs: Vec<KnownIssueRecord>,
) -> Result<(), String> {
    for issue in theirs {
        let Some(known) = ours.iter_mut().find(|known| known.id == issue.id) else {
            ours.push(issue);
            continue;
        };
        let cases = known.cases.saturating_add(issue.cases);
        if *known != (KnownIssueRecord { cases: known.cases, ..issue }) {
            return Err(format!(
                "{name}: known_issues: another {} than in the other parts",
                known.id
            ));
        }
        known.cases = cases;
    }
    Ok(())
}

fn unique(what: &str, numbers: impl Iterator<Item = usize>) -> Result<(), String> {
    let mut last = None;
    for number in numbers {
        if last.replace(number) == Some(number) {
            return Err(format!("{what}: number {number} is in two parts"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{KnownState, samples};
    use super::*;

    /// The part `part` of 4 of [`samples::everything`], dealt out in turn.
    fn part(part: u32) -> (String, Report) {
        let mut report = samples::everything();
        let mine = |number: usize| number % 4 == part as usize - 1;
        report.campaign.as_mut().unwrap().partition = Some(Partition { parts: vec![part], of: 4 });
        report.images.retain(|image| mine(image.number));
        report.regressions.retain(|one| mine(one.number));
        report.known_issues[0].cases = part as usize;
        let Report { campaign, seed, regressions, images, known_issues, .. } = report;
        let report = Report::new(campaign, seed, regressions, images, known_issues);
        (format!("part-{part}.json"), report)
    }

    #[test]
    fn all_parts_make_the_whole_in_any_order() {
        let mut whole = samples::everything();
        whole.campaign.as_mut().unwrap().partition = None;
        whole.known_issues[0].cases = 1 + 2 + 3 + 4;
        for order in [[1, 2, 3, 4], [4, 2, 1, 3]] {
            let merged = merge(order.map(part).into()).unwrap();
            assert_eq!(merged, whole);
            assert_eq!(merged.to_json().unwrap(), whole.to_json().unwrap());
        }
        assert_eq!(merge(vec![("whole".into(), whole.clone())]), Ok(whole));
    }

    #[test]
    fn merged_parts_can_be_merged_again() {
        let half = |parts: [u32; 2]| ("half".into(), merge(parts.map(part).into()).unwrap());
        let (_, report) = half([4, 2]);
        let partition = report.campaign.unwrap().partition.unwrap();
        assert_eq!(partition, Partition { parts: vec![2, 4], of: 4 });
        assert_eq!(partition.missing().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(merge(vec![half([2, 4]), half([1, 3])]), merge([1, 2, 3, 4].map(part).into()));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let refused = |change: fn(&mut Report), expected: &str| {
            let mut other = part(2);
            change(&mut other.1);
            let error = merge(vec![part(1), other]).unwrap_err();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}");
        };
        fn campaign(report: &mut Report) -> &mut Campaign {
            report.campaign.as_mut().unwrap()
        }
        fn partition(report: &mut Report) -> &mut Partition {
            campaign(report).partition.as_mut().unwrap()
        }
        refused(|report| report.campaign = None, "part-2.json: campaign: expected a part");
        refused(
            |report| campaign(report).plan.push('0'),
            "part-2.json: campaign.plan: expected abab",
        );
        refused(|report| campaign(report).date = "2026-11-24".into(), "campaign.date: expected");
        refused(
            |report| report.seed = 8,
            "part-2.json: seed: expected 7, as in part-1.json, found 8",
        );
        refused(|report| campaign(report).partition = None, "the whole campaign already");
        refused(|report| partition(report).of = 5, "campaign.partition.of: expected 4, found 5");
        refused(
            |report| partition(report).parts = vec![1],
            "part-2.json: part 1 of 4 is there twice",
        );
        refused(
            |report| partition(report).parts = vec![],
            "expected ascending numbers from 1 to 4",
        );
        refused(
            |report| partition(report).parts = vec![5],
            "expected ascending numbers from 1 to 4",
        );
        refused(|report| report.images[0].number = 4, "images: number 4 is in two parts");
        refused(|report| report.regressions[0].number = 0, "regressions: number 0 is in two parts");
        refused(
            |report| report.known_issues[0].state = KnownState::Expired,
            "part-2.json: known_issues: another chatty",
        );
        assert!(merge(vec![]).is_err());
        let (_, mut alone) = part(1);
        alone.campaign = None;
        assert!(merge(vec![("a.json".into(), alone)]).unwrap_err().starts_with("a.json: "));
    }
}
