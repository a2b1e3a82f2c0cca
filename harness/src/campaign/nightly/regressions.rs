// SPDX-License-Identifier: GPL-2.0-only
//! The list of cases that showed a mistake once: which kernels show it, and which have the fix.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::PlanError;
use crate::oracle::Rule;
use crate::record::Expected;
use crate::toml_file;

/// One case, on one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The case file.
    pub case: PathBuf,
    /// The image's name in the corpus.
    pub image: String,
    /// What should come of it.
    pub expected: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    finding: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    case: PathBuf,
    rule: Rule,
    #[serde(default)]
    shown_by: Vec<String>,
    #[serde(default)]
    fixed_in: Vec<String>,
}

/// Reads the list at `path`; the case files lie beside it.
///
/// # Errors
/// It is no TOML file of this format.
pub fn read(path: &Path) -> Result<Vec<Regression>, PlanError> {
    let error = |problem| PlanError { path: path.display().to_string(), problem };
    let text = toml_file::read(path, "a list of findings").map_err(error)?;
    let document: Document = toml_file::parse(&text).map_err(error)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut regressions = Vec::new();
    for Entry { case, rule, shown_by, fixed_in } in document.finding {
        let shown = shown_by.into_iter().map(|image| (image, Expected::Shows(rule)));
        let fixed = fixed_in.into_iter().map(|image| (image, Expected::Conforms));
        regressions.extend(shown.chain(fixed).map(|(image, expected)| Regression {
            case: plain(&folder.join(&case)),
            image,
            expected,
        }));
    }
    Ok(regressions)
}

/// The path without what `..` takes back, as people would write it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        let undone = component == Component::ParentDir
            && matches!(plain.components().next_back(), Some(Component::Normal(_)))
            && plain.pop();
        if !undone {
            plain.push(component);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_people_write_them() {
        for (path, expected) in [
            ("corpus/nightly/../cases/a.toml", "corpus/cases/a.toml"),
            ("../../cases/a.toml", "../../cases/a.toml"),
            ("/a/../b", "/b"),
            ("a.toml", "a.toml"),
        ] {
            assert_eq!(plain(Path::new(path)), Path::new(expected));
        }
    }
}
