// SPDX-License-Identifier: GPL-2.0-only
//! Asks cargo for a crate, from the registry that this user's cargo uses.
//!
//! Cargo gets a home of its own inside the cache, so that nothing of the user's changes; it reads
//! the user's configuration all the same, and checks the crate against the registry's index.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::CorpusError;
use super::cache::sum_of;
use super::names::Sha256Sum;

/// What the index calls this registry.
pub const REGISTRY: &str = "crates";

/// A crate file; its folder is removed with the value.
pub struct Download {
    folder: PathBuf,
    path: PathBuf,
    size: u64,
}

impl Download {
    /// The crate file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its sum.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn sum(&self) -> Result<Sha256Sum, CorpusError> {
        let read = || CorpusError::cache("read", &self.path);
        sum_of(fs::File::open(&self.path).map_err(read())?).map_err(read())
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // What stays is removed by the end of the fetch, or by the next one.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Fetches a crate by way of `folder`.
///
/// # Errors
/// There is no cargo, it fails, or the cache cannot be written.
pub fn download(package: &str, version: &str, folder: PathBuf) -> Result<Download, CorpusError> {
    let failure = |problem: String| CorpusError::Registry {
        client: "cargo",
        package: format!("{package} {version}"),
        problem,
    };
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(CorpusError::cache("write", &path))
    };
    // Cargo fetches what a package depends on: this one depends on nothing but the crate.
    write("lib.rs", "")?;
    write("Cargo.toml", &project(package, version))?;
    let home = folder.join("home");
    let mut command = Command::new("cargo");
    if let Some(config) = user_config() {
        command.arg("--config").arg(config);
    }
    let output = command
        .args(["--quiet", "fetch"])
        .current_dir(&folder)
        .env("CARGO_HOME", &home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| failure(format!("cargo cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(failure(complaint(&String::from_utf8_lossy(&output.stderr))));
    }
    let (path, size) = find(&home, &format!("{package}-{version}.crate"))
        .ok_or_else(|| failure(String::from("cargo fetched no such file")))?;
    Ok(Download { folder, path, size })
}

fn project(package: &str, version: &str) -> String {
    format!(
        "[package]\nname = \"relocheck-fetch\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n\
         [workspace]\n[dependencies]\n\"{package}\" = \"={version}\"\n"
    )
}

/// The configuration in the user's own cargo home.
fn user_config() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    ["config.toml", "config"].iter().map(|name| home.join(name)).find(|path| path.is_file())
}

/// The crate file among those that cargo keeps by registry, and its size.
fn find(home: &Path, name: &str) -> Option<(PathBuf, u64)> {
    let registries = fs::read_dir(home.join("registry/cache")).ok()?;
    registries.filter_map(Result::ok).find_map(|registry| {
        let path = registry.path().join(name);
        let file = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some((path, file.len()))
    })
}

/// The line of cargo's complaints that says what went wrong.
fn complaint(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = lines.iter().find(|line| line.starts_with("error")).or(lines.first());
    first.map_or_else(
        || String::from("cargo failed without a word"),
        |line| line.trim_start_matches("error: ").to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_complaint_is_one_line() {
        let stderr =
            "    Updating index\nerror: no matching package named `x` found\nlocation: y\n";
        assert_eq!(complaint(stderr), "no matching package named `x` found");
        assert_eq!(complaint(""), "cargo failed without a word");
    }

    #[test]
    fn only_the_very_crate_is_taken_and_no_link() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join("registry/cache/some");
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join("y-1.0.crate"), b"12345").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", cache.join("x-1.0.crate")).unwrap();
        assert!(find(home.path(), "x-1.0.crate").is_none());
        assert_eq!(find(home.path(), "y-1.0.crate"), Some((cache.join("y-1.0.crate"), 5)));
    }
}
