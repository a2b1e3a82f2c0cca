// SPDX-License-Identifier: GPL-2.0-only
//! Finished builds in the cache: the files that are kept of each, and what they were made from.
//!
//! The files lie where the kernel's own build folder has them, so that whatever takes such a
//! folder takes a kept build, too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BuildError;
use super::folder::{INCOMING, remove, remove_incoming};
use super::source::SourceRecord;
use super::tools::Toolchain;
use crate::corpus::cache::sum_of;
use crate::corpus::{Cache, Sha256Sum};

/// The format of a build's record.
pub const SCHEMA: u32 = 1;

/// The file that says what a build was made from.
const RECORD: &str = "build.toml";

const IMAGE: &str = "arch/x86/boot/bzImage";
const VMLINUX: &str = "vmlinux";
const UNSTRIPPED: &str = "vmlinux.unstripped";
const STUB: &str = "arch/x86/boot/compressed/vmlinux";
const TABLE: &str = "arch/x86/boot/compressed/vmlinux.relocs";
const SYMBOLS: &str = "System.map";
const CONFIG: &str = ".config";
const RELEASE: &str = "include/config/kernel.release";

/// The files that are kept, and whether every build has them.
const KEPT: [(&str, bool); 8] = [
    (IMAGE, true),
    (VMLINUX, true),
    // From 6.15 on (scripts/Makefile.vmlinux).
    (UNSTRIPPED, false),
    (STUB, true),
    // Where CONFIG_X86_NEED_RELOCS is on.
    (TABLE, false),
    (SYMBOLS, true),
    (CONFIG, true),
    (RELEASE, true),
];

/// A file of a build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its size in bytes.
    pub size: u64,
    /// Its sum.
    pub sha256: Sha256Sum,
}

/// What a build was made from, and what came out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BuildRecord {
    /// The version of this format.
    pub schema: u32,
    /// The build's name.
    pub name: String,
    /// The sum of all that it depends on.
    pub digest: Sha256Sum,
    /// The arguments of make.
    pub arguments: Vec<String>,
    /// The kernel's source.
    pub source: SourceRecord,
    /// What it was compiled with.
    pub toolchain: Toolchain,
    /// The files that are kept, by their path.
    pub files: BTreeMap<String, FileRecord>,
}

/// A build in the cache.
#[derive(Clone, Debug)]
pub struct CachedBuild {
    /// What it was made from.
    pub record: BuildRecord,
    folder: PathBuf,
}

impl CachedBuild {
    /// The build's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The folder, laid out like one that a kernel was built in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The image.
    pub fn image(&self) -> PathBuf {
        self.folder.join(IMAGE)
    }

    /// The image's size in bytes and its sum.
    pub fn image_record(&self) -> Option<&FileRecord> {
        self.record.files.get(IMAGE)
    }

    /// The kernel's ELF file with symbols and, where there is a relocation table, the sections of
    /// `--emit-relocs` that it was made from.
    pub fn vmlinux(&self) -> PathBuf {
        self.kept(UNSTRIPPED).unwrap_or_else(|| self.folder.join(VMLINUX))
    }

    /// The relocation table as it is appended to the kernel before compression; `None` where the
    /// kernel has none.
    pub fn table(&self) -> Option<PathBuf> {
        self.kept(TABLE)
    }

    /// The stub's own ELF file, with the compressed kernel in it.
    pub fn stub(&self) -> PathBuf {
        self.folder.join(STUB)
    }

    /// The kernel's symbols.
    pub fn system_map(&self) -> PathBuf {
        self.folder.join(SYMBOLS)
    }

    /// The kernel's configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join(CONFIG)
    }

    fn kept(&self, file: &str) -> Option<PathBuf> {
        self.record.files.contains_key(file).then(|| self.folder.join(file))
    }
}

/// The builds in a cache.
pub struct Store {
    root: PathBuf,
    folder: &'static str,
}

impl Store {
    /// The kernels of the matrix in `cache`.
    pub fn of(cache: &Cache) -> Store {
        Store { root: cache.root().join("builds"), folder: "kept" }
    }

    /// The kernels in `cache` whose source was patched.
    pub fn of_altered(cache: &Cache) -> Store {
        Store { folder: "altered", ..Store::of(cache) }
    }

    /// The folder that everything of the builds is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn kept(&self) -> PathBuf {
        self.root.join(self.folder)
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.kept().join(name)
    }

    /// Removes what a process left that was killed while it kept a build.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_incoming(&self) -> Result<(), BuildError> {
        remove_incoming(&self.kept())
    }

    /// The build of that name, if it is there with all its files. Only the image's sum is looked
    /// at, as the image is what is judged.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn cached(&self, name: &str) -> Result<Option<CachedBuild>, BuildError> {
        let folder = self.folder(name);
        let path = folder.join(RECORD);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BuildError::file("read", &path)(error)),
        };
        // Another version's record, or a damaged one: built again.
        let Ok(record) = toml::from_str::<BuildRecord>(&text) else { return Ok(None) };
        let whole = record.schema == SCHEMA
            && record.name == name
            && record.files.iter().all(|(file, kept)| {
                fs::metadata(folder.join(file)).is_ok_and(|found| found.len() == kept.size)
            });
        let cached = CachedBuild { record, folder };
        let image = cached.image();
        let sum = match File::open(&image).and_then(sum_of) {
            Ok(sum) => Some(sum),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(BuildError::file("read", &image)(error)),
        };
        let sound = whole && sum.as_ref() == cached.image_record().map(|kept| &kept.sha256);
        Ok(sound.then_some(cached))
    }

    /// Keeps what a build left in `tree`, in place of an older one of the same name. The files are
    /// entered in the record here. Those that are equal to the ones of `twin` are not stored again:
    /// another compressor changes neither vmlinux nor the table.
    ///
    /// # Errors
    /// A file is missing, or the cache cannot be written.
    pub fn keep(
        &self,
        tree: &Path,
        mut record: BuildRecord,
        twin: Option<&CachedBuild>,
    ) -> Result<CachedBuild, BuildError> {
        let folder = self.folder(&record.name);
        let parent = self.kept();
        fs::create_dir_all(&parent).map_err(BuildError::file("create", &parent))?;
        let incoming = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempdir_in(&parent)
            .map_err(BuildError::file("write in", &parent))?;
        for (file, always) in KEPT {
            let equal =
                twin.and_then(|twin| Some((twin.kept(file)?, twin.record.files.get(file)?)));
            match keep_file(&tree.join(file), &incoming.path().join(file), equal)? {
                Some(kept) => drop(record.files.insert(file.to_owned(), kept)),
                None if always => return Err(BuildError::NoFile(tree.join(file))),
                None => {}
            }
        }
        let path = incoming.path().join(RECORD);
        let text = toml::to_string(&record)
            .map_err(|error| BuildError::file("write", &path)(io::Error::other(error)))?;
        fs::write(&path, text).map_err(BuildError::file("write", &path))?;
        remove(&folder)?;
        let incoming = incoming.keep();
        fs::rename(&incoming, &folder).map_err(BuildError::file("write", &folder))?;
        Ok(CachedBuild { record, folder })
    }
}

/// Copies a file, or links it to one that is equal; `None` where there is none.
fn keep_file(
    from: &Path,
    to: &Path,
    other: Option<(PathBuf, &FileRecord)>,
) -> Result<Option<FileRecord>, BuildError> {
    let file = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BuildError::file("read", from)(error)),
    };
    let size = file.metadata().map_err(BuildError::file("read", from))?.len();
    let sha256 = sum_of(file).map_err(BuildError::file("read", from))?;
    let record = FileRecord { size, sha256 };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(BuildError::file("create", parent))?;
    }
    let linked = other
        .filter(|(_, known)| **known == record)
        .is_some_and(|(path, _)| fs::hard_link(path, to).is_ok());
    if !linked {
        fs::copy(from, to).map_err(BuildError::file("copy", from))?;
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "6.1-i386-base-xz";

    fn tree(folder: &Path, image: &str) {
        for file in [IMAGE, VMLINUX, STUB, SYMBOLS, CONFIG, RELEASE] {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if file == IMAGE { image } else { file }).unwrap();
        }
    }

    fn record() -> BuildRecord {
        let sum = sum_of(b"".as_slice()).unwrap();
        BuildRecord {
            schema: SCHEMA,
            name: String::from(NAME),
            digest: sum.clone(),
            arguments: vec![String::from("ARCH=i386")],
            source: SourceRecord {
                package: String::from("linux-source-6.1"),
                version: String::from("6.1.1-1"),
                suite: String::from("bookworm"),
                sha256: sum,
            },
            toolchain: Toolchain { compiler: String::from("gcc"), linker: String::from("ld") },
            files: BTreeMap::new(),
        }
    }

    fn store(folder: &Path) -> Store {
        Store::of(&Cache::at(folder.join("cache")))
    }

    #[test]
    fn a_kept_build_is_found_again_with_the_files_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert!(store.cached(NAME).unwrap().is_none());
        let tree_folder = folder.path().join("tree");
        tree(&tree_folder, "older");
        store.keep(&tree_folder, record(), None).unwrap();
        tree(&tree_folder, "newer");
        fs::write(tree_folder.join(TABLE), "table").unwrap();
        fs::write(tree_folder.join(UNSTRIPPED), "elf").unwrap();
        let kept = store.keep(&tree_folder, record(), None).unwrap();

        let cached = store.cached(NAME).unwrap().unwrap();
        assert_eq!(cached.record, kept.record);
        assert_eq!(fs::read(cached.image()).unwrap(), b"newer");
        assert_eq!(fs::read(cached.table().unwrap()).unwrap(), b"table");
        assert!(cached.vmlinux().ends_with(UNSTRIPPED));
        assert!(cached.stub().is_file() && cached.system_map().is_file());
        assert!(cached.config().is_file());
        // Nothing of the older one is left.
        assert_eq!(fs::read_dir(store.root().join("kept")).unwrap().count(), 1);
    }

    #[test]
    fn an_older_kernel_has_one_vmlinux_and_one_without_a_table_has_none() {
        let folder = tempfile::tempdir().unwrap();
        tree(folder.path(), "image");
        let kept = store(folder.path()).keep(folder.path(), record(), None).unwrap();
        assert!(kept.vmlinux().ends_with(VMLINUX));
        assert_eq!(kept.table(), None);
    }

    #[test]
    fn what_a_twin_has_is_stored_once() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        tree(folder.path(), "image");
        let twin = store.keep(folder.path(), record(), None).unwrap();
        tree(folder.path(), "other image");
        let record = BuildRecord { name: String::from("6.1-i386-base-lz4"), ..record() };
        let kept = store.keep(folder.path(), record, Some(&twin)).unwrap();
        let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(kept.vmlinux()), inode(twin.vmlinux()));
        assert_ne!(inode(kept.image()), inode(twin.image()));
        assert_eq!(fs::read(kept.image()).unwrap(), b"other image");
    }

    #[test]
    fn a_build_without_an_image_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        tree(folder.path(), "image");
        fs::remove_file(folder.path().join(IMAGE)).unwrap();
        let error = store(folder.path()).keep(folder.path(), record(), None).unwrap_err();
        assert!(error.to_string().ends_with("bzImage"), "{error}");
        assert!(store(folder.path()).cached(NAME).unwrap().is_none());
    }

    #[test]
    fn a_damaged_build_counts_as_not_cached() {
        for damage in [
            |folder: &Path| fs::write(folder.join(IMAGE), "imagf"),
            |folder: &Path| fs::remove_file(folder.join(IMAGE)),
            |folder: &Path| fs::write(folder.join(SYMBOLS), ""),
            |folder: &Path| fs::write(folder.join(RECORD), "schema = 9"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            tree(folder.path(), "image");
            let kept = store(folder.path()).keep(folder.path(), record(), None).unwrap();
            damage(kept.folder()).unwrap();
            assert!(store(folder.path()).cached(NAME).unwrap().is_none());
        }
    }
}
