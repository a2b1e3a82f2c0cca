// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus build` from the command line to the cache, with a stand-in for a kernel's source: its Makefile
//! takes the same targets and leaves the same files.

mod bench;
mod bugs;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use bench::{Bench, MATRIX, said};

#[test]
fn a_family_is_built_once_and_the_second_time_nothing_is_done() {
    let bench = Bench::new();
    let (out, err) = said(&bench.build(&[]), 0);
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.starts_with("1.0-i386-tiny-gzip ") && out.contains("built in"), "{out}");
    assert!(err.contains("[2/2] 1.0-i386-tiny-xz: built after"), "{err}");
    assert_eq!(
        bench.image("1.0-i386-tiny-xz"),
        "CONFIG_KERNEL_XZ=y\nCONFIG_RELOCATABLE=y\ni386 -O9 Thu Jan 1 00:00:00 UTC 1970\n"
    );
    // Their tree is not needed any more.
    assert_eq!(fs::read_dir(bench.cache().join("builds/trees")).unwrap().count(), 0);

    let (out, err) = said(&bench.build(&[]), 0);
    assert_eq!(out.matches(" cached ").count(), 2, "{out}");
    assert!(err.contains("nothing to do"), "{err}");
    // What is cached needs no source.
    fs::remove_dir_all(bench.cache().join("sources")).unwrap();
    let killed = bench.cache().join("sources/.incoming-1/linux-source-1.0");
    fs::create_dir_all(&killed).unwrap();
    said(&bench.build(&[]), 0);
    assert!(!killed.exists());
}

#[test]
fn the_list_says_what_is_built_and_what_has_changed_since() {
    let bench = Bench::new();
    let (out, _) = said(&bench.build(&["--list"]), 0);
    assert_eq!(out.matches(" not built ").count(), 2, "{out}");
    said(&bench.build(&["1.0-i386-tiny-xz"]), 0);
    let (out, _) = said(&bench.build(&["--list"]), 0);
    assert!(out.contains("tiny-gzip           not built a stand-in"), "{out}");
    assert!(out.contains("tiny-xz             built     a stand-in"), "{out}");
    bench.fragment("CONFIG_RELOCATABLE=y\nCONFIG_SMP=y\n");
    let (out, _) = said(&bench.build(&["--list", "1.0-i386-tiny-xz"]), 0);
    assert!(out.contains(" outdated "), "{out}");
    said(&bench.build(&["1.0-i386-tiny-xz"]), 0);
    assert!(bench.image("1.0-i386-tiny-xz").contains("CONFIG_SMP=y"));
}

#[test]
fn a_build_that_fails_shows_the_end_of_its_log_and_the_others_go_on() {
    let bench = Bench::new();
    fs::create_dir_all(bench.cache().join("builds")).unwrap();
    fs::write(bench.cache().join("builds/fail"), "").unwrap();
    let (out, err) = said(&bench.build(&["1.0-i386-tiny-xz", "1.0"]), 125);
    assert!(out.contains("tiny-xz             missing"), "{out}");
    assert!(out.contains("tiny-gzip           built in"), "{out}");
    assert!(err.contains("logs/1.0-i386-tiny-xz.log") && err.contains("out of memory"), "{err}");
    assert!(err.contains("1 of 2 builds are missing"), "{err}");

    // The next run goes on in the tree that is there.
    fs::remove_file(bench.cache().join("builds/fail")).unwrap();
    let steps = bench.cache().join("builds/trees/1.0-i386-tiny/steps");
    assert_eq!(fs::read_to_string(&steps).unwrap().matches("configured").count(), 2);
    let (out, _) = said(&bench.build(&["1.0"]), 0);
    assert!(out.contains(" cached ") && out.contains(" built in "), "{out}");
    assert!(!steps.exists());
}

#[test]
fn after_a_kill_nobody_builds_in_the_tree_before_make_ends() {
    let bench = Bench::new();
    let builds = bench.cache().join("builds");
    fs::create_dir_all(&builds).unwrap();
    fs::write(builds.join("slow"), "").unwrap();
    let start = || {
        let mut command = bench.command(&bench.programs(), &["1.0-i386-tiny-xz"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut killed = start();
    while !builds.join("begun").exists() {
        assert!(killed.try_wait().unwrap().is_none(), "ended before make began");
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let mut next = start();
    let mut errors = BufReader::new(next.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    assert_eq!(line, "another relocheck is building: waiting for it to end\n");
    fs::remove_file(builds.join("slow")).unwrap();
    errors.read_to_string(&mut line).unwrap();
    assert!(next.wait().unwrap().success(), "{line}");
}

#[test]
fn an_option_that_the_kernel_drops_fails_the_build() {
    let bench = Bench::new();
    bench.fragment("CONFIG_BROKEN=y\n");
    let (_, err) = said(&bench.build(&["1.0-i386-tiny-xz"]), 125);
    assert!(err.contains("config/tiny.config asks for `CONFIG_BROKEN=y`"), "{err}");
}

#[test]
fn missing_programs_are_named_with_their_packages() {
    let bench = Bench::new();
    let clang = MATRIX.replace("make =", "compiler = \"clang\"\nmake =");
    fs::write(bench.path().join("builds.toml"), clang).unwrap();
    let bin = bench.bin();
    let (_, err) = said(&bench.build_with(bin.as_os_str(), &[]), 125);
    assert_eq!(err, "relocheck: make is not installed: apt-get install make\n");
    bench.program("make");
    let (out, err) = said(&bench.build_with(bin.as_os_str(), &["1.0-i386-tiny-xz"]), 125);
    assert!(out.contains("missing"), "{out}");
    let expected = "1.0-i386-tiny-xz: clang, ld.lld and llvm-objcopy are not installed: \
                    apt-get install clang lld llvm";
    assert!(err.contains(expected), "{err}");
}
