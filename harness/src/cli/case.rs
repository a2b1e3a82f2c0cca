// SPDX-License-Identifier: GPL-2.0-only
//! A case file and its image, for the commands that run one case.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::Failure;
use crate::case::{CaseFile, Fault, place};
use crate::image::Image;
use crate::oracle::Subject;

/// Reads the case file at `path`, and its image, or the one that `instead` names.
pub fn open(path: &Path, instead: Option<&PathBuf>) -> Result<(CaseFile, Subject), Failure> {
    let file = CaseFile::read(path).map_err(Failure::usage)?;
    let image_path = instead.unwrap_or(&file.image.path);
    let image = Image::open(image_path).map_err(|error| Failure {
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
    let subject = Subject::new(image).map_err(|error| Failure {
        exit: error.exit(),
        error: anyhow!("{}: {error}", image_path.display()),
    })?;
    if let Err(error) = place(&subject.image, subject.word, &file.case)
        && error.fault == Fault::Case
    {
        return Err(Failure::usage(anyhow!("{}: case.{error}", path.display())));
    }
    Ok((file, subject))
}
