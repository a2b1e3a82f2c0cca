// SPDX-License-Identifier: GPL-2.0-only
//! The report on a campaign, from its state.

use super::state::{State, UnitState};
use super::{Campaign, Part, units};
use crate::oracle::judge_invariance;
use crate::record::{self, Found, ImageRecord, Partition, Report};

/// The report on `campaign`, which has come to `state`.
pub fn report(campaign: &Campaign, state: State) -> Report {
    let regressions = state.regressions.into_iter().filter_map(|one| one.record).collect();
    let mut images: Vec<ImageRecord> = state.units.into_iter().map(image).collect();
    for image in &mut images {
        campaign.known.mark(image);
        image.conclude();
    }
    let keys = campaign.regressions.iter().enumerate();
    let keys: Vec<String> = keys.map(|(number, regression)| regression.key(number)).collect();
    let Part { index, count } = campaign.part;
    let about = record::Campaign {
        name: campaign.plan.name.clone(),
        plan: units::digest(campaign.plan.seed, &campaign.units, &keys),
        date: campaign.date.to_string(),
        partition: (count > 1).then(|| Partition { parts: vec![index], of: count }),
    };
    let known = campaign.known.record(&images);
    Report::new(Some(about), campaign.plan.seed, regressions, images, known)
}

fn image(state: UnitState) -> ImageRecord {
    let UnitState { unit, mut facts, failure, cases, shrunk, time_up, .. } = state;
    let path = unit.image.as_ref().map(|image| image.path.display().to_string());
    let path = path.unwrap_or_default();
    if let Some(failure) = failure {
        let record =
            ImageRecord::unusable(unit.number, unit.name, path, failure.message, failure.exit);
        return ImageRecord { selection: unit.selection, ..record };
    }
    if let Some(facts) = &mut facts {
        let kernels = cases.iter().filter_map(|(number, (_, kernel))| Some((*number, (*kernel)?)));
        let found = judge_invariance(kernels);
        facts.image_findings.extend(found.map(|finding| Found { finding, known: None }));
    }
    ImageRecord {
        selection: unit.selection,
        facts,
        not_run: if time_up { unit.cases - cases.len() } else { 0 },
        shrunk,
        cases: cases.into_values().map(|(record, _)| record).collect(),
        ..ImageRecord::new(unit.number, unit.name, path)
    }
}
