// SPDX-License-Identifier: GPL-2.0-only
//! A report as a mail to a list: plain text of at most 80 columns, the subject in the first line, the news first.

mod layout;
mod table;

use super::again;
use super::checks::expectation;
use super::headline::{divergences, headline, subject};
use super::plain::count;
use crate::record::{Group, ImageRecord, KnownState, RegressionRecord, Report, Standing};
use layout::{Layout, WIDTH, elide};

/// Renders `report`.
pub fn mail(report: &Report) -> String {
    let mut mail = Layout::default();
    let subject = subject(report, WIDTH);
    mail.line(&elide(&subject, WIDTH));
    if subject != format!("[relocheck] {}", headline(report)) {
        mail.line("");
        mail.paragraph(0, &headline(report));
    }
    news(&mut mail, report);
    known(&mut mail, report);
    doubts(&mut mail, report);
    if !report.images.is_empty() {
        mail.heading("All images");
        table::rows(&report.images).iter().for_each(|row| mail.line(row));
    }
    mail.line("");
    let mut basis = format!("{}, seed {}.", count(report.totals().cases, "case"), report.seed);
    if let Some(campaign) = &report.campaign {
        basis += &format!(" Campaign of {}, plan {}.", campaign.date, campaign.plan);
    }
    mail.paragraph(0, &basis);
    mail.text
}

/// The new divergences, and the regression cases that are back.
fn news(mail: &mut Layout, report: &Report) {
    if divergences(report) == 0 {
        return;
    }
    mail.heading("New divergences");
    let back = |one: &&RegressionRecord| one.standing == Standing::Regressed;
    for record in report.regressions.iter().filter(back) {
        mail.paragraph(2, &format!("{}: the mistake of {} is back", record.image, record.case));
        let first = record.judgement.as_ref().and_then(|judgement| judgement.findings.first());
        if let Some(found) = first {
            mail.paragraph(4, &found.finding.to_string());
        }
        mail.command(4, &again::regression(record));
    }
    for image in &report.images {
        let groups: Vec<Group<'_>> = image.new_groups().collect();
        if !groups.is_empty() {
            mail.paragraph(2, &title(image));
        }
        for group in groups {
            mail.paragraph(4, &format!("{}; {}", group.finding, group.extent(image)));
            mail.command(6, &again::rule(report.seed, image, group.rule, group.first));
        }
    }
}

fn title(image: &ImageRecord) -> String {
    let kernel = image.facts.as_ref().map(|facts| {
        let release = facts.release.as_deref().unwrap_or("unknown release");
        format!(": {release}, {}-bit, {}", facts.word_bits, facts.compression)
    });
    format!("{}{}", image.title(), kernel.unwrap_or_default())
}

/// The known issues: those of the campaign, and those that findings name all the same; on which images they were seen.
fn known(mail: &mut Layout, report: &Report) {
    let mut seen: Vec<(&str, Vec<String>)> =
        report.known_issues.iter().map(|issue| (&issue.id[..], Vec::new())).collect();
    for image in &report.images {
        for id in image.groups().iter().filter_map(|group| group.known) {
            let at = seen.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
                seen.push((id, Vec::new()));
                seen.len() - 1
            });
            let images = &mut seen[at].1;
            if images.last() != Some(&image.title()) {
                images.push(image.title());
            }
        }
    }
    if !seen.is_empty() {
        mail.heading("Known issues");
    }
    for (id, images) in seen {
        let issue = report.known_issues.iter().find(|issue| issue.id == id);
        let about = issue.map(|issue| {
            let state = match issue.state {
                KnownState::Active => "until",
                KnownState::Expired => "EXPIRED on",
            };
            format!(" ({}, {state} {}, {})", issue.owner, issue.expires, issue.explanation)
        });
        mail.paragraph(2, &format!("{id}{}", about.unwrap_or_default()));
        let cases = issue.map_or(0, |issue| issue.cases);
        let cases = (cases > 0).then(|| format!("in {}", count(cases, "case")));
        let images = (!images.is_empty()).then(|| format!("on {}", images.join(", ")));
        let places: Vec<String> = cases.into_iter().chain(images).collect();
        let places = places.join(", ");
        mail.paragraph(4, if places.is_empty() { "not seen" } else { &places });
    }
}

/// What could not be judged, and why.
fn doubts(mail: &mut Layout, report: &Report) {
    let mut lines = Vec::new();
    for record in &report.regressions {
        if matches!(record.standing, Standing::NotShown | Standing::CannotJudge) {
            let doubt = record.judgement.as_ref().and_then(|shown| shown.not_judged.first());
            let why = record.error.as_ref().or(doubt).cloned();
            let why = why.unwrap_or_else(|| expectation(record));
            lines.push(format!("{} on {}: {why}", record.case, record.image));
        }
    }
    for image in &report.images {
        let title = image.title();
        lines.extend(image.error.as_ref().map(|error| format!("{title}: {error}")));
        let mut reasons = image.cases.iter().flat_map(|case| &case.judgement.not_judged);
        if let Some(first) = reasons.next() {
            let cases = image.cases.iter().filter(|case| !case.judgement.not_judged.is_empty());
            lines.push(format!("{title}: in {}: {first}", count(cases.count(), "case")));
        }
        if image.not_run > 0 {
            let cases = count(image.not_run, "case");
            lines.push(format!("{title}: {cases} not run: the time for this image was used up"));
        }
    }
    if !lines.is_empty() {
        mail.heading("Cannot judge");
    }
    lines.iter().for_each(|line| mail.paragraph(2, line));
}

#[cfg(test)]
mod tests;
