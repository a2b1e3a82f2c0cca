// SPDX-License-Identifier: GPL-2.0-only
//! Patches to a kernel's source: unified diffs that change files which are there.

use std::fs;
use std::path::{Component, Path};

use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};

use super::BuildError;
use crate::corpus::CorpusError;

/// A unified diff as `diff -u a/FILE b/FILE` makes it, for one file or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    place: String,
    text: String,
    files: Vec<String>,
}

impl Patch {
    /// Parses the text of a patch; `place` is what errors call it.
    ///
    /// # Errors
    /// It is no unified diff, or does something else than to change files inside the source.
    pub fn parse(place: &str, text: &str) -> Result<Patch, CorpusError> {
        let refuse = |problem: String| CorpusError::Manifest { place: place.to_owned(), problem };
        let mut files: Vec<String> = Vec::new();
        for change in PatchSet::parse(text, ParseOptions::unidiff()) {
            let change = change.map_err(|error| refuse(error.to_string().replace('\n', " ")))?;
            let operation = change.operation().strip_prefix(1);
            let FileOperation::Modify { original, modified } = &operation else {
                return Err(refuse(String::from("expected changes to files that are there")));
            };
            let inside = Path::new(&**original)
                .components()
                .all(|component| matches!(component, Component::Normal(_)));
            if original != modified || !inside || files.iter().any(|file| *file == **original) {
                return Err(refuse(format!(
                    "`{original}` and `{modified}`: expected one file of the source, each once"
                )));
            }
            files.push(original.clone().into_owned());
        }
        match files.is_empty() {
            true => Err(refuse(String::from("expected a unified diff"))),
            false => Ok(Patch { place: place.to_owned(), text: text.to_owned(), files }),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The files that it changes, by their paths in the source.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// What the files of `source` become: path and text of each. Nothing is written. A hunk may
    /// have moved, but its lines must all be there.
    ///
    /// # Errors
    /// A file cannot be read, or has no place for a hunk.
    pub fn apply(&self, source: &Path) -> Result<Vec<(&str, String)>, BuildError> {
        let changes = PatchSet::parse(&self.text, ParseOptions::unidiff());
        let changed = self.files.iter().zip(changes).map(|(file, change)| {
            let path = source.join(file);
            let before = fs::read_to_string(&path).map_err(BuildError::file("read", &path))?;
            let refuse = |problem: String| BuildError::Patch {
                patch: self.place.clone(),
                file: file.clone(),
                problem,
            };
            let change = change.map_err(|error| refuse(error.to_string()))?;
            let hunks = change.patch().as_text();
            let hunks = hunks.ok_or_else(|| refuse(String::from("is no text")))?;
            let after = diffy::apply(&before, hunks);
            Ok((file.as_str(), after.map_err(|error| refuse(error.to_string()))?))
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "--- a/one.c\n+++ b/one.c\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n\
        --- a/dir/two.c\n+++ b/dir/two.c\n@@ -1 +1 @@\n-x\n+y\n";

    fn source(one: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dir")).unwrap();
        fs::write(folder.path().join("one.c"), one).unwrap();
        fs::write(folder.path().join("dir/two.c"), "x\n").unwrap();
        folder
    }

    #[test]
    fn a_patch_changes_several_files_and_finds_hunks_that_have_moved() {
        let patch = Patch::parse("p", PATCH).unwrap();
        assert_eq!(patch.files(), ["one.c", "dir/two.c"]);
        let source = source("new\na\nb\nc\nrest\n");
        let applied = patch.apply(source.path()).unwrap();
        assert_eq!(
            applied,
            [("one.c", "new\na\nB\nc\nrest\n".to_owned()), ("dir/two.c", "y\n".to_owned())]
        );
    }

    #[test]
    fn a_patch_that_does_not_apply_names_itself_the_file_and_the_hunk() {
        let patch = Patch::parse("patches/p.patch", PATCH).unwrap();
        let error = patch.apply(source("a\nc\n").path()).unwrap_err().to_string();
        assert_eq!(error, "patches/p.patch does not fit the source: one.c: error applying hunk #1");
    }

    #[test]
    fn what_is_no_change_to_a_file_of_the_source_is_refused() {
        for text in [
            "",
            "hello\n",
            "--- a/one.c\n+++ b/other.c\n@@ -1 +1 @@\n-x\n+y\n",
            "--- a/../one.c\n+++ b/../one.c\n@@ -1 +1 @@\n-x\n+y\n",
            "--- /dev/null\n+++ b/one.c\n@@ -0,0 +1 @@\n+y\n",
            "--- a/one.c\n+++ b/one.c\n@@ -1,9 +1,9 @@\n-x\n+y\n",
        ] {
            let error = Patch::parse("p", text).unwrap_err().to_string();
            assert!(error.starts_with("p: ") && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}
