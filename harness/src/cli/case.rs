// SPDX-License-Identifier: GPL-2.0-only
//! Case files: read with their image, by commands that run one case; written, to see a failure again.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::Failure;
use crate::campaign::compare;
use crate::case::{Case, CaseFile, Fault, ImageRef, place};
use crate::corpus::Cache;
use crate::image::Image;
use crate::oracle::{Finding, Judgement, Subject};

/// Reads the case file at `path`, and its image, or the one that `instead` names. An image that is not where the case
/// says is looked for in the user's cache.
pub fn open(path: &Path, instead: Option<&PathBuf>) -> Result<(CaseFile, Subject), Failure> {
    let file = CaseFile::read(path).map_err(Failure::usage)?;
    let cached = || Cache::of_user().ok()?.by_sum(&file.image.sha256);
    let image_path = match instead {
        Some(path) => path.clone(),
        None if file.image.path.exists() => file.image.path.clone(),
        None => cached().ok_or_else(|| {
            Failure::cannot_judge(anyhow!(
                "{}: the image {} is neither there nor in the cache; name it with --image",
                path.display(),
                file.image.path.display()
            ))
        })?,
    };
    let image = Image::open(&image_path).map_err(|error| Failure {
        exit: error.exit(),
        error: anyhow!("{}: {error}", image_path.display()),
    })?;
    let sha256 = image.sha256();
    if instead.is_none() && sha256 != file.image.sha256 {
        return Err(Failure::cannot_judge(anyhow!(
            "{}: SHA-256 is {sha256}, the case is for {}; name the right file with --image",
            image_path.display(),
            file.image.sha256
        )));
    }
    let mut subject = Subject::new(image).map_err(|error| Failure {
        exit: error.exit(),
        error: anyhow!("{}: {error}", image_path.display()),
    })?;
    compare(&mut subject, &image_path, None)
        .map_err(|failure| Failure { exit: failure.exit, error: anyhow!(failure.message) })?;
    if let Err(error) = place(&subject.image, subject.word, &file.case)
        && error.fault == Fault::Case
    {
        return Err(Failure::usage(anyhow!("{}: case.{error}", path.display())));
    }
    Ok((file, subject))
}

/// Writes `case`, in which the image at `image` shows what `judgement` says, into `dir`. The name tells the image and the
/// rule: that of the first finding which is not among `known`, what is wrong with the image itself.
pub fn save(
    dir: &Path,
    image: &Path,
    sha256: &str,
    known: &[Finding],
    case: &Case,
    judgement: &Judgement,
) -> anyhow::Result<PathBuf> {
    let own = judgement.findings.iter().find(|finding| !known.contains(finding));
    let shown = own.or(judgement.findings.first());
    let rule = shown.map(|finding| finding.rule.to_string()).unwrap_or_default();
    let path = dir.join(format!("{}-{rule}.toml", &sha256[..12]));
    let image = ImageRef { path: std::path::absolute(image)?, sha256: sha256.to_owned() };
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    std::fs::write(&path, CaseFile::new(image, case.clone()).to_toml())
        .with_context(|| path.display().to_string())?;
    Ok(path)
}
