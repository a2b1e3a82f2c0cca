// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck inspect`: what an image says of itself.

mod report;
mod text;

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use self::report::{Report, VmlinuxFacts};
use super::{Failure, Format, complain, print};
use crate::build_tree::BuildTree;
use crate::campaign::compare;
use crate::exit::Exit;
use crate::image::{Image, ImageError};
use crate::oracle::Subject;

/// Show an image's header, payload, segments, relocation table, and what its stub demands.
///
/// Nothing is run: the facts come from the file alone. An image that cannot be judged (not relocatable, or older than
/// Linux 2.6.26) is shown as far as it goes, and the exit code is 125; a file that is no bzImage, or a damaged one,
/// gives 2.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck inspect /boot/vmlinuz-$(uname -r)
  relocheck inspect arch/x86/boot/bzImage

  Which kernels have the inverse 32-bit relocations of 3.19 to 6.14?
  relocheck inspect --format json /boot/vmlinuz-* |
      jq -r '.images[] | select(.stub.relocation_loops | index(\"inverse 32-bit\")) | .path'")]
pub struct Args {
    /// bzImage files.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// How to print: text for people, json for programs (addresses, offsets and flags are hex strings, counts numbers).
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The JSON document.
#[derive(Serialize)]
struct Document {
    images: Vec<Report>,
}

/// Inspects each image; the exit code is that of the worst one.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let mut worst = Exit::Conforms;
    let mut reports = Vec::new();
    for path in &args.images {
        let (report, error) = inspect(path);
        match args.format {
            Format::Text if !report.is_empty() => print(&text::render(&report))?,
            Format::Text => {}
            Format::Json => reports.push(report),
        }
        if let Some(error) = error {
            complain(format_args!("{}: {error}", path.display()));
            worst = worse(worst, error.exit());
        }
    }
    if matches!(args.format, Format::Json) {
        let document =
            serde_json::to_string_pretty(&Document { images: reports }).context("JSON")?;
        print(&(document + "\n"))?;
    }
    Ok(worst)
}

/// Collects as much as there is to tell, and the reason why there is no more.
fn inspect(path: &Path) -> (Report, Option<ImageError>) {
    let mut report = Report::new(path);
    let outcome = Image::open(path).and_then(|image| {
        report.add_image(&image);
        image.require_relocatable()?;
        report.add_kernel(&image.kernel()?);
        report.vmlinux = compared(path, image);
        Ok(())
    });
    let error = outcome.err();
    report.error = error.as_ref().map(ImageError::to_string);
    (report, error)
}

/// What the `vmlinux` beside an image that lies in its build folder says of the table; `None` if there is none.
fn compared(path: &Path, image: Image) -> Option<VmlinuxFacts> {
    BuildTree::of_image(path)?.vmlinux()?;
    let mut subject = Subject::new(image).ok()?;
    compare(&mut subject, path, None).ok()?;
    Some(VmlinuxFacts::new(&subject))
}

/// A file that cannot be used at all weighs more than one about which nothing can be said.
fn worse(left: Exit, right: Exit) -> Exit {
    match (left, right) {
        (Exit::Usage, _) | (_, Exit::Usage) => Exit::Usage,
        _ => left.max(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_file_weighs_most() {
        assert_eq!(worse(Exit::Conforms, Exit::CannotJudge), Exit::CannotJudge);
        assert_eq!(worse(Exit::CannotJudge, Exit::Conforms), Exit::CannotJudge);
        assert_eq!(worse(Exit::CannotJudge, Exit::Usage), Exit::Usage);
        assert_eq!(worse(Exit::Usage, Exit::CannotJudge), Exit::Usage);
    }
}
