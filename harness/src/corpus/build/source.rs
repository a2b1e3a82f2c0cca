// SPDX-License-Identifier: GPL-2.0-only
//! Kernel sources: fetched by apt once, unpacked once, kept in the cache.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use liblzma::stream::{CONCATENATED, Stream};
use serde::{Deserialize, Serialize};

use super::folder::{INCOMING, remove, remove_incoming};
use super::{BuildError, SourceSpec};
use crate::corpus::apt::{Host, Suite};
use crate::corpus::{Architecture, Cache, CorpusError, Name, Progress, Sha256Sum, Task};

/// No source unpacks to more: bytes. Those of 2026 unpack to 1.8 GB.
const UNPACKED_LIMIT: u64 = 8 << 30;

/// Memory that an xz stream may ask for, in bytes: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// The file that says where an unpacked source is from.
const RECORD: &str = "source.toml";

/// The folder beside it that holds the source.
const TREE: &str = "linux";

/// The folder of a package that is being fetched begins with this.
const DOWNLOAD: &str = ".download-";

/// Where a source came from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// The package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The suite that it came from.
    pub suite: String,
    /// The package file's sum.
    pub sha256: Sha256Sum,
}

/// A source in the cache.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it came from.
    pub record: SourceRecord,
    /// The top of the kernel's source tree.
    pub tree: PathBuf,
}

/// The sources in the cache.
pub struct Sources<'a> {
    cache: &'a Cache,
}

impl<'a> Sources<'a> {
    /// Those of `cache`.
    pub fn of(cache: &'a Cache) -> Sources<'a> {
        Sources { cache }
    }

    fn root(&self) -> PathBuf {
        self.cache.root().join("sources")
    }

    /// Removes what a process left that was killed while it unpacked.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_incoming(&self) -> Result<(), BuildError> {
        remove_incoming(&self.root())
    }

    /// The unpacked source of a package, if it is there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn cached(&self, package: &Name) -> Result<Option<Source>, BuildError> {
        let folder = self.root().join(package.as_str());
        let path = folder.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BuildError::file("read", &path)(error)),
        };
        let record = toml::from_str(&text).map_err(|error| {
            let problem = format!("{}; remove its folder", error.message());
            CorpusError::Manifest { place: path.display().to_string(), problem }
        })?;
        Ok(Some(Source { record, tree: folder.join(TREE) }))
    }

    /// The newest source that Debian has: fetched and unpacked unless the cache has it.
    ///
    /// # Errors
    /// No suite has it, or it cannot be fetched or unpacked.
    pub fn newest(&self, spec: &SourceSpec, progress: &Progress) -> Result<Source, BuildError> {
        let task = progress.task(spec.package.as_str());
        // Whoever fetches kernels uses the same folders of apt.
        let _writer = self.cache.writer(|| {
            progress.note("another relocheck is fetching: waiting for it to end");
        })?;
        let mut refusals = Vec::new();
        for suite in &spec.suites {
            task.stage(format!("asking {suite}"));
            match self.newest_in(spec, suite, &task) {
                Ok(source) => return Ok(source),
                Err(BuildError::Corpus(error)) => refusals.push(error),
                Err(error) => return Err(error),
            }
        }
        Err(CorpusError::Everywhere(refusals).into())
    }

    fn newest_in(
        &self,
        spec: &SourceSpec,
        suite: &Name,
        task: &Task,
    ) -> Result<Source, BuildError> {
        // The package is for every architecture, so any index has it.
        let architecture = Architecture::Amd64;
        let mirror = Host::read()?.mirror(suite.as_str())?;
        let root = self.cache.root().join("apt").join(format!("{suite}-{architecture}"));
        let packages = BTreeSet::from([spec.package.as_str()]);
        let offer = Suite::open(root, &mirror, suite.as_str(), architecture, &packages)?;
        let package = offer
            .records()
            .iter()
            .find(|record| record.package == spec.package.as_str())
            .ok_or_else(|| CorpusError::NoPackage {
                suite: suite.to_string(),
                package: spec.package.to_string(),
            })?;
        let record = SourceRecord {
            package: package.package.clone(),
            version: package.version.clone(),
            suite: suite.to_string(),
            sha256: package.sha256.clone(),
        };
        if let Some(source) = self.cached(&spec.package)?.filter(|source| source.record == record) {
            return Ok(source);
        }
        // Kept by its sum, so that what a killed run has fetched serves the next one.
        let folder = self.root().join(format!("{DOWNLOAD}{}", package.sha256));
        fs::create_dir_all(&folder).map_err(BuildError::file("create", &folder))?;
        let download = offer.download(package, folder, task)?;
        task.stage(String::from("unpacking"));
        self.unpack(download.path(), &record)
    }

    /// Unpacks a package file, in place of an older one of that package.
    fn unpack(&self, deb: &Path, record: &SourceRecord) -> Result<Source, BuildError> {
        let root = self.root();
        fs::create_dir_all(&root).map_err(BuildError::file("create", &root))?;
        let incoming = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempdir_in(&root)
            .map_err(BuildError::file("write in", &root))?;
        let broken = |problem: String| BuildError::Source {
            package: format!("{} {}", record.package, record.version),
            problem,
        };
        unpack_package(deb, incoming.path())
            .map_err(|error| broken(format!("cannot be unpacked: {error}")))?;
        let tops = fs::read_dir(incoming.path())
            .map_err(BuildError::file("read", incoming.path()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect::<Vec<_>>();
        let [top] = tops.as_slice() else {
            return Err(broken(format!("holds {} source trees, expected one", tops.len())));
        };
        let tree = incoming.path().join(TREE);
        fs::rename(top, &tree).map_err(BuildError::file("write", &tree))?;
        let path = incoming.path().join(RECORD);
        let text = toml::to_string(record).map_err(|error| broken(error.to_string()))?;
        fs::write(&path, text).map_err(BuildError::file("write", &path))?;

        let folder = root.join(&record.package);
        remove(&folder)?;
        let incoming = incoming.keep();
        fs::rename(&incoming, &folder).map_err(BuildError::file("write", &folder))?;
        Ok(Source { record: record.clone(), tree: folder.join(TREE) })
    }
}

/// Unpacks the `usr/src/linux-source-*.tar.xz` of a package into `folder`, without keeping it.
fn unpack_package(deb: &Path, folder: &Path) -> io::Result<()> {
    let deb = File::open(deb)?;
    let mut child = Command::new("dpkg-deb")
        .args(["--fsys-tarfile", "-"])
        .stdin(deb)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let result = match child.stdout.take() {
        Some(tar) => unpack_member(tar, folder),
        None => Err(io::Error::other("dpkg-deb has no output")),
    };
    // What comes after the source is not read, so how dpkg-deb ends says nothing.
    let _ = child.kill();
    child.wait()?;
    result
}

fn unpack_member(tar: impl Read, folder: &Path) -> io::Result<()> {
    let mut package = tar::Archive::new(tar);
    for entry in package.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let in_place = path.parent().is_some_and(|parent| parent.ends_with("usr/src"));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if in_place && name.starts_with("linux-source-") && name.ends_with(".tar.xz") {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
            let source = liblzma::read::XzDecoder::new_stream(entry, stream);
            return tar::Archive::new(source.take(UNPACKED_LIMIT)).unpack(folder);
        }
    }
    Err(io::Error::other("there is no usr/src/linux-source-*.tar.xz in it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_source_in_a_package_is_unpacked_and_nothing_else() {
        let source = xz(&tar_of(&[("linux-source-6.1/Makefile", b"all:")]));
        let package = tar_of(&[
            ("./usr/share/doc/linux-source-6.1.tar.xz", b"no"),
            ("./usr/src/linux-patch-6.1-rt.patch.xz", b"no"),
            ("./usr/src/linux-source-6.1.tar.xz", &source),
        ]);
        let folder = tempfile::tempdir().unwrap();
        unpack_member(package.as_slice(), folder.path()).unwrap();
        let makefile = folder.path().join("linux-source-6.1/Makefile");
        assert_eq!(fs::read(makefile).unwrap(), b"all:");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_package_without_a_source_or_with_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let without = tar_of(&[("./usr/share/doc/linux-source-6.1/copyright", b"")]);
        let error = unpack_member(without.as_slice(), folder.path()).unwrap_err();
        assert!(error.to_string().contains("linux-source"), "{error}");
        let mut damaged = xz(&tar_of(&[("linux-source-6.1/Makefile", b"all:")]));
        damaged.truncate(damaged.len() / 2);
        let damaged = tar_of(&[("./usr/src/linux-source-6.1.tar.xz", &damaged)]);
        assert!(unpack_member(damaged.as_slice(), folder.path()).is_err());
    }

    #[test]
    fn a_source_in_the_cache_says_where_it_is_from() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned());
        let package = Name::try_from(String::from("linux-source-6.1")).unwrap();
        assert!(Sources::of(&cache).cached(&package).unwrap().is_none());
        let record = SourceRecord {
            package: String::from("linux-source-6.1"),
            version: String::from("6.1.1-1"),
            suite: String::from("bookworm"),
            sha256: Sha256Sum::try_from("1".repeat(64)).unwrap(),
        };
        let path = folder.path().join("sources/linux-source-6.1");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(RECORD), toml::to_string(&record).unwrap()).unwrap();
        let source = Sources::of(&cache).cached(&package).unwrap().unwrap();
        assert_eq!(source.record, record);
        assert_eq!(source.tree, path.join("linux"));
        fs::write(path.join(RECORD), "package = 1").unwrap();
        let error = Sources::of(&cache).cached(&package).unwrap_err().to_string();
        assert!(error.contains("source.toml") && error.contains("remove"), "{error}");
    }
}
