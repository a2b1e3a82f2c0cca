// SPDX-License-Identifier: GPL-2.0-only
//! A copy of a source that patches are applied to, one after the other. The unpacked source itself
//! stays as it is: others may be building from it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::BuildError;
use super::folder::remove;
use super::patch::Patch;
use super::source::Source;

/// The file that says which source this is a copy of.
const MARK: &str = ".relocheck-source";

/// The file that lists the files which may be patched.
const PATCHED: &str = ".relocheck-patched";

/// A copy of a source, as it is or with a patch.
pub struct PatchedSource {
    original: PathBuf,
    folder: PathBuf,
}

impl PatchedSource {
    /// Opens the copy of `source` in `folder`, and makes it if it is not there or of another
    /// source. Its files are links to the original ones until they are patched.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(source: &Source, folder: PathBuf) -> Result<PatchedSource, BuildError> {
        let mark = folder.join(MARK);
        let sum = source.record.sha256.as_str();
        if fs::read_to_string(&mark).ok().as_deref() != Some(sum) {
            remove(&folder)?;
            link_tree(&source.tree, &folder).map_err(BuildError::file("write", &folder))?;
            fs::write(&mark, sum).map_err(BuildError::file("write", &mark))?;
        }
        Ok(PatchedSource { original: source.tree.clone(), folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the source the original one with `patch`, or without any, and returns the files that
    /// were written. Make takes those for new.
    ///
    /// # Errors
    /// The patch does not fit, or a file cannot be written.
    pub fn set(&self, patch: Option<&Patch>) -> Result<Vec<String>, BuildError> {
        let changed = patch.map_or(Ok(Vec::new()), |patch| patch.apply(&self.original))?;
        let list = self.folder.join(PATCHED);
        let before = match fs::read_to_string(&list) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(BuildError::file("read", &list)(error)),
        };
        let mut written: Vec<String> = before;
        for (file, _) in &changed {
            if !written.iter().any(|known| known == file) {
                written.push((*file).to_owned());
            }
        }
        // Listed before anything is written, so that whoever comes after a kill knows of all.
        let lines: String = written.iter().map(|file| format!("{file}\n")).collect();
        fs::write(&list, lines).map_err(BuildError::file("write", &list))?;
        for file in &written {
            let path = self.original.join(file);
            let text = match changed.iter().find(|(name, _)| name == file) {
                Some((_, text)) => text.clone().into_bytes(),
                None => fs::read(&path).map_err(BuildError::file("read", &path))?,
            };
            replace(&self.folder.join(file), &path, &text)?;
        }
        let lines: String = changed.iter().map(|(file, _)| format!("{file}\n")).collect();
        fs::write(&list, lines).map_err(BuildError::file("write", &list))?;
        Ok(written)
    }
}

/// Puts a new file with the rights of `like` in the place of a link.
fn replace(path: &Path, like: &Path, text: &[u8]) -> Result<(), BuildError> {
    let rights = fs::metadata(like).map_err(BuildError::file("read", like))?.permissions();
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BuildError::file("remove", path)(error));
        }
        _ => {}
    }
    fs::write(path, text).map_err(BuildError::file("write", path))?;
    fs::set_permissions(path, rights).map_err(BuildError::file("write", path))
}

/// Makes `to` a copy of the folder `from`, with links in place of files.
fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            link_tree(&path, &copy)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &copy)?;
        } else {
            fs::hard_link(&path, &copy)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Sha256Sum;
    use crate::corpus::build::SourceRecord;

    struct Bench {
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let bench = Bench { folder: tempfile::tempdir().unwrap() };
            fs::create_dir_all(bench.source().tree.join("dir")).unwrap();
            fs::write(bench.source().tree.join("dir/a.c"), "a\n").unwrap();
            fs::write(bench.source().tree.join("b.c"), "b\n").unwrap();
            symlink("b.c", bench.source().tree.join("c.c")).unwrap();
            bench
        }

        fn source(&self) -> Source {
            let record = SourceRecord {
                package: String::from("linux-source-6.1"),
                version: String::from("6.1.1-1"),
                suite: String::from("bookworm"),
                sha256: Sha256Sum::try_from("1".repeat(64)).unwrap(),
            };
            Source { record, tree: self.folder.path().join("source") }
        }

        fn open(&self) -> PatchedSource {
            PatchedSource::open(&self.source(), self.folder.path().join("copy")).unwrap()
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.folder.path().join(file)).unwrap()
        }
    }

    fn patch(file: &str, from: &str, to: &str) -> Patch {
        let text = format!("--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{from}\n+{to}\n");
        Patch::parse("p", &text).unwrap()
    }

    #[test]
    fn a_patch_takes_the_place_of_the_one_before_and_the_original_stays() {
        let bench = Bench::new();
        let copy = bench.open();
        assert_eq!(copy.set(Some(&patch("dir/a.c", "a", "A"))).unwrap(), ["dir/a.c"]);
        assert_eq!(bench.read("copy/dir/a.c"), "A\n");
        assert_eq!(copy.set(Some(&patch("b.c", "b", "B"))).unwrap(), ["dir/a.c", "b.c"]);
        assert_eq!(
            (bench.read("copy/dir/a.c"), bench.read("copy/c.c")),
            ("a\n".into(), "B\n".into())
        );
        // A patch is always one to the original.
        let error = copy.set(Some(&patch("b.c", "B", "C"))).unwrap_err().to_string();
        assert!(error.contains("b.c: error applying hunk #1"), "{error}");
        assert_eq!(copy.set(None).unwrap(), ["b.c"]);
        assert!(copy.set(None).unwrap().is_empty());
        assert_eq!(
            (bench.read("source/dir/a.c"), bench.read("source/b.c")),
            ("a\n".into(), "b\n".into())
        );
        assert_eq!(bench.read("copy/b.c"), "b\n");
    }

    #[test]
    fn what_a_killed_run_has_patched_is_put_right() {
        let bench = Bench::new();
        let copy = bench.open();
        copy.set(Some(&patch("b.c", "b", "B"))).unwrap();
        assert_eq!(bench.open().set(None).unwrap(), ["b.c"]);
        assert_eq!(bench.read("copy/b.c"), "b\n");
    }

    #[test]
    fn the_copy_of_another_source_is_made_anew() {
        let bench = Bench::new();
        bench.open();
        fs::write(bench.folder.path().join("copy/stray"), "").unwrap();
        bench.open();
        assert!(bench.folder.path().join("copy/stray").exists());
        let mut source = bench.source();
        source.record.sha256 = Sha256Sum::try_from("2".repeat(64)).unwrap();
        PatchedSource::open(&source, bench.folder.path().join("copy")).unwrap();
        assert!(!bench.folder.path().join("copy/stray").exists());
    }
}
