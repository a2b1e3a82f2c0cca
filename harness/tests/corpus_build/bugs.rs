// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus build bugs`: patches come and go in a copy of the source, and only what they concern is made again.

use std::fs;

use crate::bench::{Bench, said};

const STUB: &str = "arch/x86/stub.c";
const TOOL: &str = "arch/x86/tools/relocs.c";
const IMAGE: &str = "arch/x86/boot/bzImage";
const TABLE: &str = "arch/x86/boot/compressed/vmlinux.relocs";

/// Adds a catalogue of bugs: name, file, what the patch finds there and what it makes of it.
fn catalogue(bench: &Bench, bugs: &[(&str, &str, &str, &str)]) {
    let mut text = String::from("schema = 1\n");
    fs::create_dir_all(bench.path().join("patches")).unwrap();
    for (name, file, from, to) in bugs {
        text += &format!(
            "[[bug]]\nname = \"{name}\"\ntitle = \"A bug.\"\nfix = \"\"\nevidence = \"none\"\n\
             twin = \"1.0-i386-tiny-gzip\"\nrules = [\"halt\"]\n"
        );
        let patch = format!("--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{from}\n+{to}\n");
        fs::write(bench.path().join("patches").join(format!("{name}.patch")), patch).unwrap();
    }
    fs::write(bench.path().join("bugs.toml"), text).unwrap();
}

fn build(bench: &Bench, arguments: &[&str], code: i32) -> (String, String) {
    let arguments = [&["bugs", "--bugs", "bugs.toml"], arguments].concat();
    said(&bench.build(&arguments), code)
}

fn compiled(bench: &Bench) -> usize {
    let steps = bench.cache().join("builds/trees/altered-1.0-i386-tiny/steps");
    fs::read_to_string(steps).unwrap().matches("compiled").count()
}

#[test]
fn bugs_are_built_in_one_tree_after_their_twin_and_the_source_stays() {
    let bench = Bench::new();
    catalogue(
        &bench,
        &[
            ("one", STUB, "good", "bad"),
            ("two", STUB, "good", "worse"),
            ("tool", TOOL, "all", "few"),
        ],
    );
    let (out, _) = build(&bench, &["--list"], 0);
    assert!(out.contains("two ") && out.matches(" not built ").count() == 3, "{out}");
    let (out, err) = build(&bench, &[], 0);
    assert_eq!(out.lines().count(), 4, "{out}");
    assert!(out.starts_with("1.0-i386-tiny-gzip "), "{out}");
    assert!(err.contains("[4/4] tool: built after"), "{err}");
    assert!(bench.image("1.0-i386-tiny-gzip").ends_with("1970\n"));
    assert!(bench.altered("one", IMAGE).ends_with("1970\nbad\n"));
    assert!(bench.altered("two", IMAGE).ends_with("1970\nworse\n"));
    assert!(bench.altered("tool", IMAGE).ends_with("1970\n"));
    assert_eq!(
        (bench.altered("one", TABLE), bench.altered("tool", TABLE)),
        ("all\n".into(), "few\n".into())
    );
    assert_eq!(compiled(&bench), 4);
    let source = bench.cache().join("sources/linux-source-1.0/linux");
    assert_eq!(fs::read_to_string(source.join(STUB)).unwrap(), "good\n");
    assert_eq!(fs::read_to_string(source.join(TOOL)).unwrap(), "all\n");

    let (out, err) = build(&bench, &[], 0);
    assert_eq!(out.matches(" cached ").count(), 4, "{out}");
    assert!(err.contains("nothing to do"), "{err}");
    // The plain matrix knows the twin.
    let (out, _) = said(&bench.build(&["1.0-i386-tiny-gzip"]), 0);
    assert!(out.contains(" cached "), "{out}");
}

#[test]
fn a_patch_that_changes_makes_its_kernel_outdated_and_no_other() {
    let bench = Bench::new();
    catalogue(&bench, &[("one", STUB, "good", "bad"), ("two", STUB, "good", "worse")]);
    build(&bench, &[], 0);
    catalogue(&bench, &[("one", STUB, "good", "evil"), ("two", STUB, "good", "worse")]);
    let (out, _) = build(&bench, &["--list"], 0);
    assert!(out.contains(" outdated ") && out.contains(" built "), "{out}");
    let (out, _) = build(&bench, &["one"], 0);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(bench.altered("one", IMAGE).ends_with("evil\n"));
    assert!(bench.altered("two", IMAGE).ends_with("worse\n"));
}

#[test]
fn a_patch_that_does_not_fit_is_named_and_the_others_are_built() {
    let bench = Bench::new();
    catalogue(&bench, &[("stale", STUB, "older", "bad"), ("two", STUB, "good", "worse")]);
    let (out, err) = build(&bench, &[], 125);
    assert!(
        err.contains("patches/stale.patch does not fit the source: arch/x86/stub.c: "),
        "{err}"
    );
    assert!(err.contains("hunk #1") && err.contains("1 of 3 builds are missing"), "{err}");
    assert!(out.contains("stale ") && out.contains("missing"), "{out}");
    assert!(bench.altered("two", IMAGE).ends_with("worse\n"));
}

#[test]
fn a_name_that_no_bug_has_is_a_mistake_in_the_command_line() {
    let bench = Bench::new();
    catalogue(&bench, &[("one", STUB, "good", "bad")]);
    let (_, err) = build(&bench, &["three"], 2);
    assert_eq!(err, "relocheck: bug `three`: expected one of one\n");
}
