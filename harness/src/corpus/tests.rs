// SPDX-License-Identifier: GPL-2.0-only

use std::io::Write;

use super::*;

/// A corpus with one cached image, which `pin` is put next to in the manifest.
fn corpus(folder: &Path, host: Option<&str>, suites: &str, pin: &str) -> Corpus {
    let text = format!(
        "schema = 1\n[sets]\nall = [\"one\"]\n[[entry]]\nname = \"one\"\ndescription = \"\"\n\
         source.debian = {{ suites = {suites}, architecture = \"i386\", package = \"linux-x\" }}\n{pin}"
    );
    let manifest = Manifest::parse("test", &text).unwrap();
    Corpus { manifest, cache: Cache::at(folder.to_owned()), host: host.map(str::to_owned) }
}

fn store(corpus: &Corpus, key: &str, content: &[u8]) -> Sha256Sum {
    let writer = corpus.cache.writer(|| ()).unwrap();
    let mut incoming = writer.incoming().unwrap();
    incoming.write_all(content).unwrap();
    let record = Record {
        package: String::from("linux-x-1"),
        version: String::from("1-1"),
        suite: String::from("bookworm"),
        architecture: Architecture::I386,
        member: String::from("boot/vmlinuz-1"),
        size: content.len() as u64,
        sha256: incoming.sum(),
        package_sha256: incoming.sum(),
    };
    writer.store(incoming, key, &record).unwrap();
    record.sha256
}

fn cached(corpus: &Corpus) -> Option<CachedImage> {
    corpus.cached(corpus.entry("one").unwrap()).unwrap()
}

#[test]
fn the_suite_host_is_the_release_of_the_machine_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let suites = |host| {
        let corpus = corpus(folder.path(), host, r#"["host", "bookworm"]"#, "");
        let Source::Debian(source) = &corpus.entry("one").unwrap().source else { panic!() };
        corpus.suites(source).unwrap()
    };
    assert_eq!(suites(Some("trixie")), ["trixie", "bookworm"]);
    assert_eq!(suites(Some("bookworm")), ["bookworm"]);
    assert_eq!(suites(None), ["bookworm"]);
}

#[test]
fn only_the_suite_host_needs_debian() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus(folder.path(), None, r#"["host"]"#, "");
    let error = corpus.cached(corpus.entry("one").unwrap()).unwrap_err();
    assert!(matches!(error, CorpusError::NotDebian));
}

#[test]
fn the_first_suite_with_an_image_serves() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = corpus(folder.path(), None, r#"["sid", "bookworm"]"#, "");
    assert_eq!(cached(&corpus), None);
    let older = store(&corpus, "debian/bookworm/i386/linux-x", b"older");
    assert_eq!(cached(&corpus).unwrap().record.sha256, older);
    let newer = store(&corpus, "debian/sid/i386/linux-x", b"newer");
    assert_eq!(cached(&corpus).unwrap().record.sha256, newer);
}

#[test]
fn a_pinned_image_in_the_cache_needs_no_network_and_another_image_does_not_serve() {
    let folder = tempfile::tempdir().unwrap();
    let rolling = corpus(folder.path(), None, r#"["bookworm"]"#, "");
    let sum = store(&rolling, "debian/bookworm/i386/linux-x", b"kernel");

    let pin = format!("sha256 = \"{sum}\"\n");
    let pinned = corpus(folder.path(), None, r#"["bookworm"]"#, &pin);
    let results = pinned.fetch(&pinned.set("all").unwrap(), &Progress::none()).unwrap();
    assert!(matches!(results[0].1, Ok(Fetched { how: How::Current, .. })));

    let other = format!("sha256 = \"{}\"\n", "0".repeat(64));
    assert_eq!(cached(&corpus(folder.path(), None, r#"["bookworm"]"#, &other)), None);
}
