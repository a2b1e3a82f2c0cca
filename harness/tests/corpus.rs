// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus` as scripts see it, in caches of its own and with an apt that the test plays, and what is said of
//! the images of the corpus that are no kernels.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::corpus::{Corpus, CorpusError};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

mod kernels;

const RELOCHECK: &str = env!("CARGO_BIN_EXE_relocheck");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let no_apt = no_apt();
    let mut trials = vec![
        Trial::test("verify_names_what_is_corrupt_and_what_is_missing", verify),
        Trial::test("prune_removes_what_no_entry_refers_to", prune),
        Trial::test("a_client_that_is_not_installed_is_named", no_client),
        with_apt(&no_apt, "a_package_is_downloaded_once_for_all_its_entries", one_download),
        with_apt(&no_apt, "a_fetch_that_was_killed_is_continued", continued),
        with_apt(&no_apt, "what_the_archive_no_longer_has_is_counted", gone),
        with_apt(&no_apt, "a_hostile_package_leaves_nothing_behind", hostile),
    ];
    trials.extend(non_kernels().unwrap_or_else(|error| {
        let error = error.to_string();
        vec![Trial::test("the_built_in_manifest_has_non_kernels", || Err(error.into()))]
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test for each image of the set `non-kernels`: `check` gives the answer that the manifest has.
fn non_kernels() -> Result<Vec<Trial>, CorpusError> {
    let corpus = Corpus::open(None)?;
    let trial = |entry: &relocheck::corpus::Entry| {
        let answer =
            entry.answer.clone().unwrap_or_else(|| String::from("an answer in the manifest"));
        kernels::trial(&format!("answer::{}", entry.name), entry.name.as_str(), move |image| {
            let output = run(Command::new(RELOCHECK).arg("check").arg(image));
            let (error, code) = (text(&output.stderr), output.status.code());
            let said = error.lines().count() == 1 && error.contains(&answer);
            if said && matches!(code, Some(2 | 125)) && output.stdout.is_empty() {
                return Ok(());
            }
            Err(format!("expected one line with `{answer}` and code 2 or 125: {output:?}").into())
        })
    };
    Ok(corpus.set("non-kernels")?.into_iter().map(trial).collect())
}

/// A cache of the test's own with a manifest, and programs that play apt.
struct World {
    folder: TempDir,
}

impl World {
    /// With a manifest of entries (name, package, what else), in a set `all`.
    fn new(entries: &[(&str, &str, &str)]) -> World {
        let world = World { folder: tempfile::tempdir().expect("a folder") };
        let names: Vec<String> = entries.iter().map(|(name, ..)| format!("{name:?}")).collect();
        let mut manifest = format!("schema = 1\n[sets]\nall = [{}]\n", names.join(", "));
        for (name, package, more) in entries {
            manifest += &format!(
                "[[entry]]\nname = {name:?}\ndescription = \"\"\n{more}\n\
                 source.debian = {{ suites = [\"sid\"], architecture = \"amd64\", package = {package:?} }}\n"
            );
        }
        world.write("manifest.toml", manifest);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    fn corpus(&self, arguments: &[&str]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        self.corpus_with_path(arguments, &path)
    }

    fn corpus_with_path(&self, arguments: &[&str], path: &str) -> Output {
        run(Command::new(RELOCHECK)
            .args(["corpus", "--manifest"])
            .arg(self.path("manifest.toml"))
            .args(arguments)
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("PATH", path))
    }

    /// Puts an image into the cache under the source of a package.
    fn cache(&self, package: &str, image: &str) {
        let sum = sum(image.as_bytes());
        let path = self.path("cache/relocheck/index.json");
        let mut index: serde_json::Value = fs::read(&path).map_or_else(
            |_| serde_json::json!({ "schema": 1, "images": {} }),
            |text| serde_json::from_slice(&text).expect("an index"),
        );
        index["images"][format!("debian/sid/amd64/{package}")] = serde_json::json!({
            "package": package, "version": "1", "suite": "sid", "architecture": "amd64",
            "member": "boot/vmlinuz-1", "size": image.len(), "sha256": sum, "package_sha256": sum,
        });
        self.write("cache/relocheck/index.json", index.to_string());
        self.write(&format!("cache/relocheck/images/{sum}"), image);
    }

    /// Programs in place of apt. `download` is what `apt-get download` does, in shell: the package
    /// files are in `$POOL`, and a line in `$POOL/log` says that it was called.
    fn play_apt(&self, packages: &[(&str, &[u8])], download: &str) {
        let mut index = String::new();
        for (name, deb) in packages {
            self.write(&format!("pool/{name}.deb"), deb);
            index += &format!(
                "Package: {name}\nVersion: 1\nSize: {}\nSHA256: {}\n\n",
                deb.len(),
                sum(deb)
            );
        }
        self.write("pool/index", index);
        let pool = self.path("pool");
        let pool = pool.display();
        self.program("apt-config", "");
        self.program("apt-cache", &format!("cat {pool}/index"));
        let get = format!(
            "[ \"$2\" = download ] || exit 0\nPOOL={pool}\nname=${{3%=*}}\necho $name >> $POOL/log\n{download}"
        );
        self.program("apt-get", &get);
    }

    fn program(&self, name: &str, script: &str) {
        self.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755))
            .expect("permissions");
    }

    fn downloads(&self) -> usize {
        fs::read_to_string(self.path("pool/log")).unwrap_or_default().lines().count()
    }

    /// Every file below the cache, apt's own aside.
    fn cached_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut open = vec![self.path("cache/relocheck")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
                match entry.path() {
                    path if path.ends_with("apt") => {}
                    path if path.is_dir() => open.push(path),
                    path => files.push(path),
                }
            }
        }
        files
    }
}

const COPY: &str = "cp $POOL/$name.deb .";

/// Why a program cannot play apt here: this machine has no source of Debian that apt could be asked for.
fn no_apt() -> Option<String> {
    let world = World::new(&[("one", "linux-x", "")]);
    world.play_apt(&[], COPY);
    let said = text(&world.corpus(&["fetch", "all"]).stderr);
    (!said.contains("sid has no package linux-x")).then_some(said)
}

/// A test in which a program plays apt; ignored where that is not possible.
fn with_apt(no_apt: &Option<String>, name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    if let Some(why) = no_apt {
        eprintln!("SKIPPED: {name}: {why}");
    }
    Trial::test(name, test).with_ignored_flag(no_apt.is_some())
}

fn run(command: &mut Command) -> Output {
    command.output().expect("relocheck starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A package with these files (path, kind, content).
fn deb(files: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, content) in files {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().expect("GNU").name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        if kind.is_symlink() {
            header.set_link_name("/etc/passwd").expect("a link");
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, *content).expect("a member");
    }
    let data = zstd::encode_all(tar.into_inner().expect("tar").as_slice(), 1).expect("zstd");
    let mut ar = ar::Builder::new(Vec::new());
    let header = ar::Header::new(b"data.tar.zst".to_vec(), data.len() as u64);
    ar.append(&header, data.as_slice()).expect("a member");
    ar.into_inner().expect("ar")
}

fn kernel_deb(content: &[u8]) -> Vec<u8> {
    deb(&[("./boot/vmlinuz-1", tar::EntryType::Regular, content)])
}

/// Fails unless the command ended with this code and said this on standard output or error.
fn expect(output: &Output, code: i32, words: &[&str]) -> Result<(), Failed> {
    let said = text(&output.stdout) + &text(&output.stderr);
    let missing = words.iter().find(|word| !said.contains(*word));
    if output.status.code() == Some(code) && missing.is_none() && !said.contains("panicked") {
        return Ok(());
    }
    Err(format!("expected code {code} and {words:?}, got {}:\n{said}", output.status).into())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Result<(), Failed> {
    if got == expected {
        return Ok(());
    }
    Err(format!("{what}: got {got:?}, expected {expected:?}").into())
}

fn verify() -> Result<(), Failed> {
    let world = World::new(&[("one", "linux-a", ""), ("two", "linux-b", "")]);
    world.cache("linux-a", "kernel");
    let counts = "all: 1 sound, 0 corrupt, 1 not cached";
    expect(&world.corpus(&["verify", "all"]), 125, &["two: not cached", counts])?;
    world.cache("linux-b", "another");
    expect(&world.corpus(&["verify", "all"]), 0, &["all: 2 sound, 0 corrupt, 0 not cached"])?;
    world.write(&format!("cache/relocheck/images/{}", sum(b"kernel")), "kernal");
    expect(&world.corpus(&["verify", "all"]), 1, &["one: corrupt", &sum(b"kernal"), "1 corrupt"])
}

fn prune() -> Result<(), Failed> {
    let world = World::new(&[("one", "linux-a", "")]);
    world.cache("linux-a", "kernel");
    world.cache("linux-old", "old kernel");
    let old = world.path(&format!("cache/relocheck/images/{}", sum(b"old kernel")));
    let dry = world.corpus(&["prune", "--dry-run"]);
    expect(&dry, 0, &["would be removed: 1 images, 10 bytes"])?;
    equal("a dry run keeps it", old.exists(), true)?;
    expect(&world.corpus(&["prune"]), 0, &["removed: 1 images, 10 bytes"])?;
    equal("pruning removes it", old.exists(), false)?;
    expect(&world.corpus(&["verify", "all"]), 0, &["1 sound"])
}

fn no_client() -> Result<(), Failed> {
    let world = World::new(&[]);
    let entry = "schema = 1\n[sets]\nall = [\"x\"]\n[[entry]]\nname = \"x\"\ndescription = \"\"\n\
        source.crate = { package = \"x\", version = \"1.0.0\", file = \"k\", architecture = \"amd64\" }\n";
    world.write("manifest.toml", entry);
    let output = world.corpus_with_path(&["fetch", "all"], "/nonexistent");
    expect(&output, 125, &["x: x 1.0.0: cargo cannot be run", "install cargo", "1 missing"])
}

fn one_download() -> Result<(), Failed> {
    let deb = kernel_deb(b"kernel");
    let pin = format!("sha256 = \"{}\"", sum(b"kernel"));
    let world =
        World::new(&[("one", "linux-x", ""), ("two", "linux-x", ""), ("three", "linux-x", &pin)]);
    world.play_apt(&[("linux-x", &deb)], COPY);
    expect(&world.corpus(&["fetch", "all"]), 0, &["3 of 3 images are there", "1 downloaded"])?;
    equal("downloads", world.downloads(), 1)?;
    expect(&world.corpus(&["fetch", "all"]), 0, &["3 of 3 images are there, 3 current"])?;
    equal("downloads", world.downloads(), 1)
}

fn continued() -> Result<(), Failed> {
    let debs = [b"kernel".as_slice(), b"another", b"a third"].map(kernel_deb);
    let world =
        World::new(&[("one", "linux-x", ""), ("two", "linux-y", ""), ("three", "linux-z", "")]);
    // The first call for linux-y breaks off in the middle, that for linux-z when it has everything.
    let script = "case $name in\n\
        linux-x) cp $POOL/$name.deb . ;;\n\
        linux-y) [ -e y.deb ] || { head -c 100 $POOL/$name.deb > y.deb; exit 1; }\n\
            tail -c +101 $POOL/$name.deb >> y.deb ;;\n\
        linux-z) cp $POOL/$name.deb z.deb; exit 1 ;;\nesac";
    world.play_apt(&[("linux-x", &debs[0]), ("linux-y", &debs[1]), ("linux-z", &debs[2])], script);
    expect(&world.corpus(&["fetch", "all"]), 125, &["1 of 3 images are there", "2 missing"])?;
    expect(&world.corpus(&["fetch", "all"]), 0, &["1 current, 2 downloaded"])?;
    equal("calls of apt-get download", world.downloads(), 4)?;
    let files = world.cached_files().into_iter();
    let left = files.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    equal("packages that are left", left.count(), 0)
}

fn gone() -> Result<(), Failed> {
    let pin = format!("sha256 = \"{}\"", sum(b"kernel"));
    let world = World::new(&[
        ("listed", "linux-x", ""),
        ("replaced", "linux-y", &pin),
        ("dropped", "linux-z", &pin),
    ]);
    let other = kernel_deb(b"a later kernel");
    let script = "if [ $name = linux-x ]; then echo 'E: Failed to fetch x  404  Not Found' >&2; exit 100; fi\n\
        cp $POOL/$name.deb .";
    world.play_apt(&[("linux-x", b"never sent"), ("linux-y", &other)], script);
    let words = ["0 of 3 images are there, 3 gone from the archive", "404", "lists it no longer"];
    expect(&world.corpus(&["fetch", "all"]), 125, &words)
}

fn hostile() -> Result<(), Failed> {
    let regular = tar::EntryType::Regular;
    let packages: Vec<(&str, Vec<u8>)> = vec![
        ("linux-absolute", deb(&[("/boot/vmlinuz-1", regular, b"x")])),
        ("linux-parent", deb(&[("./boot/../../vmlinuz-1", regular, b"x")])),
        ("linux-symlink", deb(&[("./boot/vmlinuz-1", tar::EntryType::Symlink, b"")])),
        ("linux-hardlink", deb(&[("./boot/vmlinuz-1", tar::EntryType::Link, b"")])),
        ("linux-device", deb(&[("./boot/vmlinuz-1", tar::EntryType::Block, b"")])),
        ("linux-not-a-package", b"MZ".to_vec()),
    ];
    let entries: Vec<(&str, &str, &str)> =
        packages.iter().map(|(name, _)| (*name, *name, "")).collect();
    let world = World::new(&entries);
    let packages: Vec<(&str, &[u8])> =
        packages.iter().map(|(name, deb)| (*name, deb.as_slice())).collect();
    world.play_apt(&packages, COPY);
    expect(&world.corpus(&["fetch", "all"]), 125, &["0 of 6 images are there, 6 missing"])?;
    let lock = world.path("cache/relocheck/lock");
    equal("files that are left", world.cached_files(), vec![lock])?;
    let outside = Path::new("/boot/vmlinuz-1").exists() || world.path("vmlinuz-1").exists();
    equal("files outside", outside, false)
}
