// SPDX-License-Identifier: GPL-2.0-only

use std::collections::BTreeSet;
use std::io::Write;

use super::*;

fn store(writer: &Writer<'_>, key: &str, content: &[u8]) -> (PathBuf, Record) {
    let mut incoming = writer.incoming().unwrap();
    incoming.write_all(content).unwrap();
    let record = Record {
        package: String::from("linux-image-1"),
        version: String::from("1-1"),
        suite: String::from("sid"),
        architecture: Architecture::Amd64,
        member: String::from("boot/vmlinuz-1"),
        size: content.len() as u64,
        sha256: incoming.sum(),
        package_sha256: sum_of(b"deb".as_slice()).unwrap(),
    };
    let path = writer.store(incoming, key, &record).unwrap();
    (path, record)
}

#[test]
fn a_stored_image_is_found_again_under_its_sum() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().join("relocheck"));
    assert_eq!(cache.lookup("a").unwrap(), None);
    let stored = store(&cache.writer(|| ()).unwrap(), "a", b"kernel");
    assert_eq!(
        stored.1.sha256.as_str(),
        "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c"
    );
    assert!(stored.0.ends_with(stored.1.sha256.as_str()));
    assert_eq!(cache.lookup("a").unwrap(), Some(stored));
    assert_eq!(cache.lookup("b").unwrap(), None);
}

#[test]
fn an_image_that_is_not_stored_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    let writer = cache.writer(|| ()).unwrap();
    let mut incoming = writer.incoming().unwrap();
    incoming.write_all(b"half a ker").unwrap();
    drop(incoming);
    assert_eq!(fs::read_dir(folder.path().join("images")).unwrap().count(), 0);
}

#[test]
fn a_damaged_or_missing_image_counts_as_not_cached() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    let (path, _) = store(&cache.writer(|| ()).unwrap(), "a", b"kernel");
    fs::write(&path, b"kernal").unwrap();
    assert_eq!(cache.lookup("a").unwrap(), None);
    fs::remove_file(&path).unwrap();
    assert_eq!(cache.lookup("a").unwrap(), None);
}

#[test]
fn a_damaged_index_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    for text in ["{", r#"{"schema": 9, "images": {}}"#] {
        fs::write(folder.path().join("index.json"), text).unwrap();
        let error = cache.lookup("a").unwrap_err().to_string();
        assert!(error.contains("index.json") && error.contains("remove"), "{error}");
    }
}

#[test]
fn writers_take_turns_and_lose_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..8 {
                    // A writer of its own for each round, like that many processes.
                    let writer = cache.writer(|| ()).unwrap();
                    store(&writer, &format!("{thread}-{round}"), &[thread, round]);
                }
            });
        }
        for _ in 0..64 {
            cache.lookup("0-0").unwrap();
        }
    });
    assert_eq!(cache.read_index().unwrap().len(), 32);
}

#[test]
fn what_became_of_an_image_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    let (path, record) = store(&cache.writer(|| ()).unwrap(), "a", b"kernel");
    assert_eq!(cache.state(&record).unwrap(), State::Sound(path.clone()));
    fs::write(&path, b"kernal").unwrap();
    let state = cache.state(&record).unwrap();
    assert!(matches!(state, State::Corrupt { sum, .. } if sum != record.sha256));
    fs::remove_file(&path).unwrap();
    assert_eq!(cache.state(&record).unwrap(), State::Gone);
}

#[test]
fn an_image_of_two_keys_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    let writer = cache.writer(|| ()).unwrap();
    let (path, record) = store(&writer, "a", b"kernel");
    writer.enter("b", &record).unwrap();
    assert_eq!(cache.lookup("b").unwrap(), Some((path, record)));
    assert_eq!(fs::read_dir(folder.path().join("images")).unwrap().count(), 1);
}

#[test]
fn pruning_leaves_builds_sources_and_locks_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    let writer = cache.writer(|| ()).unwrap();
    let sum = "f".repeat(64);
    let others = [
        format!("builds/kept/6.1-i386-base-xz/{sum}"),
        String::from("builds/kept/.incoming-1/bzImage"),
        String::from("builds/lock"),
        String::from("sources/linux-source-6.1/linux/Makefile"),
        String::from("apt/sid-amd64/lock"),
        String::from("lock"),
    ];
    for other in &others {
        let path = folder.path().join(other);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"in use").unwrap();
    }
    fs::write(folder.path().join("images").join(&sum), b"unknown").unwrap();
    let pruned = writer.prune(|_, _| false, &BTreeSet::new(), false).unwrap();
    assert_eq!((pruned.files.len(), pruned.images()), (1, 1));
    for other in &others {
        assert!(folder.path().join(other).exists(), "{other}");
    }
}

#[test]
fn pruning_removes_what_nothing_refers_to_and_says_how_much() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().to_owned());
    let writer = cache.writer(|| ()).unwrap();
    let (kept, _) = store(&writer, "keep", b"kernel");
    let (shared, record) = store(&writer, "old", b"shared");
    writer.enter("keep-too", &record).unwrap();
    let (old, _) = store(&writer, "older", b"an older kernel");
    let images = folder.path().join("images");
    fs::write(images.join(".incoming-killed"), b"half").unwrap();
    fs::write(images.join("f".repeat(64)), b"unknown").unwrap();
    fs::write(images.join("README"), b"not ours").unwrap();
    let download = writer.downloads().join("a");
    fs::create_dir_all(download.join("b")).unwrap();
    fs::write(download.join("b/part.deb"), b"123").unwrap();

    let pinned = "e".repeat(64);
    fs::write(images.join(&pinned), b"pinned, unknown to the index").unwrap();
    let pins = BTreeSet::from([pinned.as_str()]);
    let keep = |key: &str, _: &Record| key.starts_with("keep");
    let planned = writer.prune(keep, &pins, true).unwrap();
    assert!(old.exists());
    let done = writer.prune(keep, &pins, false).unwrap();
    assert_eq!(planned, done);
    assert_eq!((done.images(), done.bytes()), (2, 15 + 7 + 4 + 3));
    assert!(kept.exists() && shared.exists() && !old.exists());
    assert!(images.join("README").exists() && !images.join(".incoming-killed").exists());
    assert!(!download.exists() && images.join(&pinned).exists());
    assert_eq!(cache.records().unwrap().into_keys().collect::<Vec<_>>(), ["keep", "keep-too"]);
    assert_eq!(writer.prune(keep, &pins, false).unwrap().bytes(), 0);
}
