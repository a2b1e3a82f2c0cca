// SPDX-License-Identifier: GPL-2.0-only
//! Asks apt about one suite and architecture in a folder of relocheck's own: other suites than the
//! machine's become visible, nothing of the machine's own apt changes, and no root is needed.
//!
//! Signatures are checked by apt as always; how the network is reached (proxies and the like) is
//! taken over from the machine's configuration.

mod deb822;
mod host;
mod records;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

pub use host::{Host, codename};
pub use records::{PackageRecord, candidates};
pub use sources::Mirror;

use super::CorpusError;
use super::cache::sum_of;
use super::progress::Task;
use super::source::Architecture;
use records::read_records;

/// How often the size of a growing file is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Options of the machine that would change what is fetched, or weaken how it is verified.
const NOT_INHERITED: [&str; 8] = [
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
    "Acquire::AllowDowngradeToInsecureRepositories",
    "Acquire::Changelogs",
    "Acquire::CompressionTypes",
    "Acquire::IndexTargets",
    "Acquire::Languages",
    "Acquire::cdrom",
];

/// A suite and architecture as apt sees it, with what it offers.
pub struct Suite {
    name: String,
    architecture: Architecture,
    root: PathBuf,
    records: Vec<PackageRecord>,
}

/// A package file, verified; its folder is removed with the value.
pub struct Download {
    folder: PathBuf,
    path: PathBuf,
}

impl Drop for Download {
    fn drop(&mut self) {
        // What stays is removed by the end of a later fetch.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Download {
    /// The package file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Suite {
    /// Sets up `root` for the suite, fetches its signed index and reads what it offers of kernels and
    /// `packages`. The caller makes sure that nobody else uses `root`.
    ///
    /// # Errors
    /// The folder cannot be written, or apt fails: no network, no such suite, a bad signature.
    pub fn open(
        root: PathBuf,
        mirror: &Mirror,
        name: &str,
        architecture: Architecture,
        packages: &BTreeSet<&str>,
    ) -> Result<Suite, CorpusError> {
        let mut suite = Suite { name: name.to_owned(), architecture, root, records: Vec::new() };
        suite.configure(mirror)?;
        suite.run(suite.command("apt-get").args(["-q", "update"]))?;
        suite.records = suite.available(packages)?;
        Ok(suite)
    }

    /// The kernel packages that the suite offers, and the others that were asked for.
    pub fn records(&self) -> &[PackageRecord] {
        &self.records
    }

    fn configure(&self, mirror: &Mirror) -> Result<(), CorpusError> {
        for folder in ["state/lists/partial", "cache/archives/partial", "sources"] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).map_err(CorpusError::cache("create", &folder))?;
        }
        let write = |name: &str, text: &str| {
            let path = self.root.join(name);
            fs::write(&path, text).map_err(CorpusError::cache("write", &path))
        };
        write("state/status", "")?;
        write("apt.conf", &self.configuration(&inherited_options())?)?;
        write("sources/debian.sources", &self.source(mirror))
    }

    fn configuration(&self, inherited: &str) -> Result<String, CorpusError> {
        let root = self.root.to_str().filter(|root| !root.contains('"')).ok_or_else(|| {
            let source = io::Error::other("apt cannot name this folder; set XDG_CACHE_HOME");
            CorpusError::cache("use", &self.root)(source)
        })?;
        let architecture = self.architecture;
        Ok(format!(
            r#"{inherited}Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
"#
        ))
    }

    fn source(&self, mirror: &Mirror) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nArchitectures: {}\n",
            mirror.uris.join(" "),
            self.name,
            self.architecture
        );
        if let Some(keys) = &mirror.signed_by {
            text.push_str(&format!("Signed-By: {keys}\n"));
        }
        text
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    fn failure(&self, problem: String) -> CorpusError {
        CorpusError::Apt {
            suite: self.name.clone(),
            architecture: self.architecture.to_string(),
            problem,
        }
    }

    fn run(&self, command: &mut Command) -> Result<(), CorpusError> {
        let output = command.output().map_err(|error| self.failure(not_run(&error)))?;
        self.judge(&output)
    }

    fn judge(&self, output: &Output) -> Result<(), CorpusError> {
        if output.status.success() {
            return Ok(());
        }
        Err(self.failure(complaint(&String::from_utf8_lossy(&output.stderr))))
    }

    fn available(&self, packages: &BTreeSet<&str>) -> Result<Vec<PackageRecord>, CorpusError> {
        let unreadable = |error: io::Error| self.failure(error.to_string());
        // Its complaints go nowhere: a pipe that nobody empties could block it.
        let mut child = self
            .command("apt-cache")
            .arg("dumpavail")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| self.failure(not_run(&error)))?;
        let records = match child.stdout.take() {
            Some(stdout) => read_records(BufReader::new(stdout), packages),
            None => Ok(Vec::new()),
        };
        let status = child.wait().map_err(unreadable)?;
        let records = records.map_err(unreadable)?;
        if status.success() {
            Ok(records)
        } else {
            Err(self.failure(String::from("`apt-cache dumpavail` failed")))
        }
    }

    /// Fetches the package file of a record into `folder`, and checks its size and SHA-256 against
    /// the record. A part of the file that is in the folder is apt's to continue, or to replace where
    /// the mirror does not allow that.
    ///
    /// # Errors
    /// Apt fails, the file is not what the record says, or the cache cannot be written.
    pub fn download(
        &self,
        record: &PackageRecord,
        folder: PathBuf,
        task: &Task,
    ) -> Result<Download, CorpusError> {
        // A fetch that was killed may have had all of it.
        if let Some(path) = package_in(&folder)?
            && verify(&path, record).is_ok()
        {
            return Ok(Download { folder, path });
        }
        task.download(&record.package, record.size);
        let mut child = self
            .command("apt-get")
            .args(["-q", "download", &format!("{}={}", record.package, record.version)])
            .current_dir(&folder)
            .spawn()
            .map_err(|error| self.failure(not_run(&error)))?;
        while let Ok(None) = child.try_wait() {
            task.position(files_size(&folder));
            thread::sleep(POLL);
        }
        let output = child.wait_with_output().map_err(|error| self.failure(error.to_string()))?;
        self.judge(&output).map_err(|error| match error {
            CorpusError::Apt { problem, .. } if problem.contains("404 Not Found") => {
                CorpusError::Gone {
                    suite: self.name.clone(),
                    package: record.package.clone(),
                    how: "lists it, but the mirror answers 404",
                }
            }
            other => other,
        })?;

        let path = package_in(&folder)?
            .ok_or_else(|| self.failure(format!("apt fetched no file of {}", record.package)))?;
        let download = Download { folder, path };
        verify(&download.path, record)?;
        Ok(download)
    }
}

/// The package file in a folder, or what there is of it.
fn package_in(folder: &Path) -> Result<Option<PathBuf>, CorpusError> {
    let entries = fs::read_dir(folder).map_err(CorpusError::cache("read", folder))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.find(|path| path.extension().is_some_and(|extension| extension == "deb")))
}

/// Compares a package file with what the signed index says of it. Apt has done so too; a second
/// look costs little and does not depend on how the machine's apt is configured.
fn verify(path: &Path, record: &PackageRecord) -> Result<(), CorpusError> {
    let mismatch = |what, got: String, expected: String| CorpusError::Mismatch {
        file: record.package.clone(),
        what,
        got,
        expected,
    };
    let file = fs::File::open(path).map_err(CorpusError::cache("read", path))?;
    let size = file.metadata().map_err(CorpusError::cache("read", path))?.len();
    if size != record.size {
        return Err(mismatch("size", size.to_string(), record.size.to_string()));
    }
    let sum = sum_of(file).map_err(CorpusError::cache("read", path))?;
    if sum != record.sha256 {
        return Err(mismatch("SHA-256", sum.to_string(), record.sha256.to_string()));
    }
    Ok(())
}

/// The size of all files in a folder, in bytes; what cannot be read counts nothing.
fn files_size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

/// How the machine reaches its mirrors, in apt's own configuration format.
fn inherited_options() -> String {
    let dump = Command::new("apt-config").arg("dump").stdin(Stdio::null()).output();
    // Without it apt has its defaults, which do on most machines.
    let dump = dump.map(|output| output.stdout).unwrap_or_default();
    inherit(&String::from_utf8_lossy(&dump))
}

fn inherit(dump: &str) -> String {
    let kept = |line: &&str| {
        line.starts_with("Acquire::") && !NOT_INHERITED.iter().any(|name| line.starts_with(name))
    };
    dump.lines().filter(kept).flat_map(|line| [line, "\n"]).collect()
}

fn not_run(error: &io::Error) -> String {
    format!("apt cannot be run: {error}")
}

/// The line of apt's complaints that says most: a key that is missing explains the errors after it.
fn complaint(stderr: &str) -> String {
    let signature = stderr.lines().find(|line| line.starts_with("W: GPG error"));
    let line = signature.or_else(|| stderr.lines().find(|line| line.starts_with("E: ")));
    let line = line.or_else(|| stderr.lines().next()).unwrap_or("apt failed without a word");
    let line = line.trim_start_matches("W: ").trim_start_matches("E: ");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_how_the_network_is_reached_is_inherited() {
        let dump = "APT::Architecture \"amd64\";\n\
                    Acquire::AllowInsecureRepositories \"1\";\n\
                    Acquire::http::Proxy \"http://proxy.example:3128\";\n\
                    Acquire::Languages:: \"de\";\n\
                    APT::Update::Post-Invoke:: \"rm -f x\";\n";
        assert_eq!(inherit(dump), "Acquire::http::Proxy \"http://proxy.example:3128\";\n");
    }

    #[test]
    fn the_complaint_is_one_line_and_names_the_cause() {
        let refused =
            "W: slow\nE: Failed to fetch x  Could not connect\nE: Some index files failed\n";
        assert_eq!(complaint(refused), "Failed to fetch x Could not connect");
        let unsigned = "W: GPG error: x: NO_PUBKEY 1\nE: The repository x is not signed.\n";
        assert_eq!(complaint(unsigned), "GPG error: x: NO_PUBKEY 1");
        assert_eq!(complaint(""), "apt failed without a word");
    }

    #[test]
    fn a_package_file_must_be_what_the_index_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.deb");
        fs::write(&path, b"abc").unwrap();
        let mut record = PackageRecord {
            package: String::from("x"),
            version: String::from("1"),
            size: 3,
            sha256: sum_of(b"abc".as_slice()).unwrap(),
            depends: Vec::new(),
        };
        assert!(verify(&path, &record).is_ok());
        record.size = 4;
        assert!(matches!(verify(&path, &record), Err(CorpusError::Mismatch { what: "size", .. })));
        record.size = 3;
        record.sha256 = sum_of(b"abd".as_slice()).unwrap();
        assert!(matches!(
            verify(&path, &record),
            Err(CorpusError::Mismatch { what: "SHA-256", .. })
        ));
    }

    #[test]
    fn the_private_configuration_never_allows_what_is_not_signed() {
        let suite = Suite {
            name: String::from("sid"),
            architecture: Architecture::I386,
            root: PathBuf::from("/cache/apt"),
            records: Vec::new(),
        };
        let mirror =
            Mirror { uris: vec![String::from("http://m.example/debian")], signed_by: None };
        let text = suite.configuration("").unwrap() + &suite.source(&mirror);
        assert!(text.contains("Acquire::AllowInsecureRepositories \"false\""));
        assert!(text.contains("APT::Architectures { \"i386\"; };"));
        assert!(!text.to_lowercase().contains("trusted"));
    }
}
