// SPDX-License-Identifier: GPL-2.0-only
//! A folder that a family is built in (`make O=`): configured anew for each compressor, so that
//! make only repeats what depends on it.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BuildError;
use super::folder::remove;
use super::matrix::Build;
use super::recipe::{ENVIRONMENT, make_arguments};
use crate::corpus::Sha256Sum;

/// The file in the tree that says what it was made for.
const MARK: &str = ".relocheck-family";

/// The file in the tree that the configuration is made from.
const ASKED: &str = ".relocheck-config";

/// Lines of the log that an error shows.
const TAIL: usize = 12;

/// Bytes of the log that are looked at for them.
const TAIL_BYTES: usize = 1 << 14;

/// A folder to build in.
pub struct Tree {
    folder: PathBuf,
    source: PathBuf,
    jobs: NonZero<usize>,
    lock: File,
}

impl Tree {
    /// Opens the tree in `folder`. What an interrupted build left there is used if it was for the
    /// same family with the same digest. `lock` is the file that says that somebody is building.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(
        folder: PathBuf,
        source: PathBuf,
        digest: &Sha256Sum,
        jobs: NonZero<usize>,
        lock: File,
    ) -> Result<Tree, BuildError> {
        let mark = folder.join(MARK);
        if fs::read_to_string(&mark).ok().as_deref() != Some(digest.as_str()) {
            remove(&folder)?;
            fs::create_dir_all(&folder).map_err(BuildError::file("create", &folder))?;
            fs::write(&mark, digest.as_str()).map_err(BuildError::file("write", &mark))?;
        }
        Ok(Tree { folder, source, jobs, lock })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Configures and builds a kernel; what make prints goes to `log`.
    ///
    /// # Errors
    /// The configuration comes out other than asked, or make fails.
    pub fn build(&self, build: &Build<'_>, log: &Path) -> Result<(), BuildError> {
        File::create(log).map_err(BuildError::file("write", log))?;
        let config = build.family.config.with(build.compressor);
        let asked = self.folder.join(ASKED);
        let made = self.folder.join(".config");
        let before = fs::read_to_string(&asked).ok();
        let stands = fs::read_to_string(&made).is_ok_and(|made| config.check(&made).is_ok());
        // Configured anew, make would look through everything that depends on an option.
        if !stands || before.as_deref() != Some(&config.to_text()) {
            fs::write(&asked, config.to_text()).map_err(BuildError::file("write", &asked))?;
            self.make(build, "allnoconfig", log)?;
        }
        config.check(&fs::read_to_string(&made).map_err(BuildError::file("read", &made))?)?;
        self.make(build, "bzImage", log)
    }

    fn make(&self, build: &Build<'_>, target: &str, log: &Path) -> Result<(), BuildError> {
        let open = || OpenOptions::new().append(true).open(log);
        let output = open().map_err(BuildError::file("write", log))?;
        let errors = open().map_err(BuildError::file("write", log))?;
        // Make holds the lock, too: should this process be killed, nobody else builds in the tree
        // before make ends. The file is empty, so it does as standard input.
        let lock = self.lock.try_clone().map_err(BuildError::file("write", log))?;
        let command = &mut Command::new("make");
        command.env_clear();
        // Nothing of the user's environment may change the image.
        for name in ["PATH", "HOME", "TMPDIR"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        let status = command
            .envs(ENVIRONMENT)
            .env("KCONFIG_ALLCONFIG", self.folder.join(ASKED))
            .arg("-C")
            .arg(&self.source)
            .arg(format!("-j{}", self.jobs))
            .arg(path_argument("O", &self.folder)?)
            .args(make_arguments(build))
            .arg(target)
            .stdin(lock)
            .stdout(output)
            .stderr(errors)
            .status()
            .map_err(|error| BuildError::Tool {
                command: String::from("make"),
                problem: format!("does not run: {error}"),
            })?;
        if status.success() {
            return Ok(());
        }
        Err(BuildError::Make {
            target: target.to_owned(),
            log: log.to_owned(),
            tail: tail(log).map_err(BuildError::file("read", log))?,
        })
    }

    /// Removes the folder.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(self) -> Result<(), BuildError> {
        remove(&self.folder)
    }
}

/// `NAME=PATH`. Make takes white space and colons for what separates names, and `$` and `#` for
/// its own (Makefile, "source directory cannot contain spaces or colons").
fn path_argument(name: &str, path: &Path) -> Result<String, BuildError> {
    let text = path
        .to_str()
        .filter(|text| text.chars().all(|c| c.is_alphanumeric() || "/._-+,@=~".contains(c)));
    match text {
        Some(text) => Ok(format!("{name}={text}")),
        None => {
            let source = io::Error::other("make cannot name this folder; set XDG_CACHE_HOME");
            Err(BuildError::file("use", path)(source))
        }
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> io::Result<String> {
    let bytes = fs::read(log)?;
    let end = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
    let text = String::from_utf8_lossy(end);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default();
    Ok(last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(digit: &str) -> Sha256Sum {
        Sha256Sum::try_from(digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_tree_is_gone_on_with_unless_it_was_for_something_else() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("trees/6.1-i386-base");
        let open = |digit| {
            let (folder, source) = (folder.clone(), PathBuf::from("/nowhere"));
            let lock = tempfile::tempfile().unwrap();
            Tree::open(folder, source, &sum(digit), NonZero::<usize>::MIN, lock).unwrap()
        };
        let object = folder.join("built.o");
        open("1");
        fs::write(&object, "").unwrap();
        open("1");
        assert!(object.exists());
        open("2");
        assert!(!object.exists());
        open("2").remove().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn a_path_that_make_would_misread_is_refused() {
        assert_eq!(path_argument("O", Path::new("/home/a-b/6.1")).unwrap(), "O=/home/a-b/6.1");
        for path in ["/home/a b", "/home/a:b", "/home/$HOME", "/home/a#b", "/home/a'b"] {
            let error = path_argument("O", Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains("XDG_CACHE_HOME"), "{error}");
        }
    }

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text: String = (0..5000).map(|line| format!("line {line}\n")).collect();
        fs::write(&log, text).unwrap();
        let tail = tail(&log).unwrap();
        assert_eq!(tail.lines().count(), TAIL);
        assert!(tail.ends_with("  line 4999"), "{tail}");
    }
}
