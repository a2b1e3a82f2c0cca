// SPDX-License-Identifier: GPL-2.0-only
//! What a plan comes down to: each image with each selection of cases.

use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use sha2::{Digest, Sha256};

use super::plan::{NightlyPlan, PlannedRun};
use crate::campaign::{ImageFailure, Input};
use crate::case::{Loader, Protocols, offers};
use crate::image::Image;
use crate::record::Selection;

/// An image that a plan names, or why it is not there.
pub type Named = Result<Input, (String, ImageFailure)>;

/// One image with one selection of cases.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its place in the campaign, from 0.
    pub number: usize,
    /// What reports call it.
    pub name: String,
    /// The image, or why it is not there.
    pub image: Result<UnitImage, ImageFailure>,
    /// Entry protocol and loaders.
    pub selection: Selection,
    /// How many cases.
    pub cases: usize,
}

/// The file of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitImage {
    /// Where it is.
    pub path: PathBuf,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Unit {
    fn is_same(&self, other: &Unit) -> bool {
        let same = match (&self.image, &other.image) {
            (Ok(one), Ok(other)) => one.sha256 == other.sha256,
            (Err(_), Err(_)) => self.name == other.name,
            _ => false,
        };
        same && self.selection == other.selection
    }

    /// Its name, and which cases it has if not all.
    pub fn title(&self) -> String {
        match self.selection.is_all() {
            true => self.name.clone(),
            false => format!("{} ({})", self.name, self.selection),
        }
    }

    /// What determines its results, but for the program: units with the same key have the same cases. Neither the name nor
    /// the number of cases is part of it, so that more can be added.
    pub fn key(&self, seed: u64) -> String {
        let image = self.image.as_ref().map_or(&self.name, |image| &image.sha256);
        format!("{seed} {image} {}", self.selection)
    }
}

/// A digest of everything that determines a campaign, but for the program.
pub fn digest(seed: u64, units: &[Unit], regressions: &[String]) -> String {
    let mut hasher = Sha256::new();
    for unit in units {
        hasher.update(format!("{} {} {} cases\n", unit.name, unit.key(seed), unit.cases));
    }
    for regression in regressions {
        hasher.update(format!("{regression}\n"));
    }
    crate::corpus::Sha256Sum::of(hasher).to_string()
}

/// The units of `plan`; `images[n]` are those that its run number `n` names. Selections that an image has no cases for, such
/// as the 64-bit entry of a 32-bit kernel, are left out; an image that cannot be opened is one unit. An image that is named
/// twice, by whatever names, is run once, by the first of them.
pub fn units(plan: &NightlyPlan, images: Vec<Vec<Named>>) -> Vec<Unit> {
    let mut units = Vec::new();
    for (run, images) in plan.runs.iter().zip(images) {
        let selections = selections(run);
        let opened: Vec<_> = images.into_par_iter().map(|image| open(image, &selections)).collect();
        for (name, opened) in opened {
            let selected = match opened {
                Ok((image, offered)) => {
                    offered.into_iter().map(|selection| (Ok(image.clone()), selection)).collect()
                }
                Err(failure) => vec![(Err(failure), Selection::default())],
            };
            for (image, selection) in selected {
                let (number, name) = (units.len(), name.clone());
                let unit = Unit { number, name, image, selection, cases: run.cases };
                match units.iter_mut().find(|known: &&mut Unit| known.is_same(&unit)) {
                    Some(known) => known.cases = known.cases.max(unit.cases),
                    None => units.push(unit),
                }
            }
        }
    }
    units
}

fn selections(run: &PlannedRun) -> Vec<Selection> {
    let each = run.protocols.iter().flat_map(|protocol| {
        run.loaders.iter().map(|loader| Selection {
            protocol: match Protocols::from(*protocol) {
                Protocols::Only(protocol) => Some(protocol),
                Protocols::All => None,
            },
            loaders: Some(*loader).filter(|loader| *loader != Loader::Any).into_iter().collect(),
        })
    });
    each.collect()
}

/// A name with its image and the selections that it has cases for.
type OpenedImage = (String, Result<(UnitImage, Vec<Selection>), ImageFailure>);

fn open(named: Named, selections: &[Selection]) -> OpenedImage {
    match named {
        Ok(input) => {
            let opened = open_file(&input.path, selections);
            (input.name, opened)
        }
        Err((name, failure)) => (name, Err(failure)),
    }
}

fn open_file(
    path: &Path,
    selections: &[Selection],
) -> Result<(UnitImage, Vec<Selection>), ImageFailure> {
    let image = Image::open(path)
        .map_err(|error| ImageFailure { exit: error.exit(), message: error.to_string() })?;
    let offered =
        |selection: &&Selection| offers(image.header(), selection.protocols(), &selection.loaders);
    let offered = selections.iter().filter(offered).cloned().collect();
    Ok((UnitImage { path: path.to_owned(), sha256: image.sha256() }, offered))
}
