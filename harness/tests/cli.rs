// SPDX-License-Identifier: GPL-2.0-only
//! The command line as scripts see it: exit codes, one line for each failure, and examples in the help that work.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::image::Image;
use tempfile::TempDir;

#[path = "cli/help.rs"]
mod help;
mod kernels;
mod reports;

const RELOCHECK: &str = env!("CARGO_BIN_EXE_relocheck");
/// The quickest kernel of the corpus.
const KERNEL: &str = "debian-cloud";
const XLF_KERNEL_64: u16 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("every_command_has_help", help::every_command_has_help),
        Trial::test("wrong_arguments_are_told_from_bad_files", wrong_arguments),
        Trial::test("a_bad_file_is_one_line_and_exit_code_2", bad_files),
        Trial::test("what_is_not_cached_cannot_be_judged", not_cached),
        kernels::trial("the_examples_in_the_help_work", KERNEL, help::examples),
        kernels::trial(
            "an_image_that_is_not_relocatable_cannot_be_judged",
            KERNEL,
            not_relocatable,
        ),
        kernels::trial("a_stub_that_stops_diverges_and_its_case_replays", KERNEL, stopping_stub),
        kernels::trial("a_case_finds_its_image_in_the_cache", KERNEL, moved_image),
        kernels::trial("two_checks_give_the_same_json_but_for_durations", KERNEL, same_json),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs relocheck in `dir`, without a terminal.
fn relocheck(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(RELOCHECK).current_dir(dir).args(arguments).output().expect("relocheck starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("relocheck prints UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("relocheck prints UTF-8")
}

/// Fails with everything that was printed unless `output` has this exit code.
fn expect(what: &str, output: &Output, code: i32) -> Result<(), Failed> {
    if output.status.code() == Some(code) && !stderr(output).contains("panicked") {
        return Ok(());
    }
    let (out, err) = (stdout(output), stderr(output));
    Err(format!("{what}: expected exit code {code}, got {}\n{out}{err}", output.status).into())
}

fn wrong_arguments() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for (arguments, hint) in [
        (&[][..], "Usage"),
        (&["frobnicate"], "frobnicate"),
        (&["check"], "IMAGE"),
        (&["check", "--bases", "0", "bzImage"], "--bases"),
        (&["check", "--bases", "many", "bzImage"], "--bases"),
        (&["check", "--jobs", "0", "bzImage"], "--jobs"),
        (&["check", "--protocol", "16", "bzImage"], "possible values: 32, 64, all"),
        (&["check", "--format", "xml", "bzImage"], "text, json, junit, ktap, mail, github]"),
        (&["check", "--corpus", "no-such-set"], "default, everything, generations"),
        (&["inspect"], "IMAGE"),
        (&["relocate", "bzImage", "-o", "kernel.bin"], "--output"),
        (&["relocate", "bzImage", "--output", "1MiB", "-o", "kernel.bin"], "0x1000000"),
        (&["replay"], "CASE"),
        (&["replay", "--format", "junit", "case.toml"], "possible values: text, json]"),
        (&["kaslr"], "IMAGE"),
        (&["kaslr", "--samples", "0", "bzImage"], "--samples"),
        (&["kaslr", "--samples", "99999999", "bzImage"], "10000000"),
        (&["kaslr", "--memory", "8GB", "bzImage"], "a size such as 512M or 8G"),
        (&["kaslr", "--memory", "17T", "bzImage"], "2M to 16T"),
        (&["kaslr", "--load", "16M", "bzImage"], "0x1000000"),
        (&["kaslr", "--protocol", "all", "bzImage"], "possible values: 32, 64"),
        (&["kaslr", "--case", "case.toml", "--memory", "1G", "bzImage"], "--memory"),
        (&["corpus", "list", "no-such-set"], "default, everything, generations"),
        (&["nightly"], "PLAN"),
        (&["nightly", "plan.toml", "--partition", "5/4"], "such as 2/4"),
        (&["nightly", "plan.toml", "--partition", "1/4", "--history", "h.db"], "--history"),
        (&["report"], "merge"),
        (&["report", "show"], "FILE"),
        (&["report", "show", "--format", "xml", "report.json"], "junit, ktap, mail, github]"),
        (&["report", "merge"], "PART"),
        (&["report", "diff", "a.json"], "<B>"),
        (&["corpus", "path", "no-such-kernel"], "no-such-kernel"),
        (&["corpus", "--manifest", "absent.toml", "list"], "absent.toml"),
        (&["corpus", "build", "no-such-series"], "6.1, 7.2, 5.10, 6.12"),
        (&["corpus", "build", "--builds", "absent.toml"], "absent.toml"),
        (&["corpus", "build", "--list", "--jobs", "2"], "--jobs"),
        (&["corpus", "build", "--jobs", "0"], "--jobs"),
        (&["corpus", "--manifest", "absent.toml", "build"], "--builds"),
    ] {
        let output = relocheck(dir.path(), arguments);
        let what = arguments.join(" ");
        expect(&what, &output, 2)?;
        let said = stderr(&output);
        assert!(said.contains(hint), "{what}: no {hint:?} in {said:?}");
        assert!(output.stdout.is_empty(), "{what}: an error on standard output");
    }
    Ok(())
}

fn bad_files() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    std::fs::write(dir.path().join("text"), "no kernel\n")?;
    std::fs::write(dir.path().join("bad.toml"), "version = 1\nload = 0x100000\n")?;
    std::fs::create_dir(dir.path().join("tree"))?;
    for arguments in [
        &["inspect", "absent"][..],
        &["inspect", "text"],
        &["inspect", "tree"],
        &["check", "absent"],
        &["check", "text"],
        &["check", "tree"],
        &["relocate", "absent", "--output", "0x1000000", "-o", "kernel.bin"],
        &["kaslr", "absent"],
        &["kaslr", "text"],
        &["kaslr", "tree"],
        &["replay", "absent"],
        &["replay", "bad.toml"],
    ] {
        let output = relocheck(dir.path(), arguments);
        let what = arguments.join(" ");
        expect(&what, &output, 2)?;
        let said = stderr(&output);
        assert!(said.starts_with("relocheck: ") && said.lines().count() == 1, "{what}: {said:?}");
        assert!(said.contains(arguments[1]), "{what}: which file? {said:?}");
    }
    assert!(!dir.path().join("kernel.bin").exists());
    Ok(())
}

fn not_cached() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for (arguments, advice) in [
        (&["check", "--corpus", "default"][..], "relocheck corpus fetch"),
        (&["check", "--corpus", "builds"], "relocheck corpus build"),
        (&["corpus", "path", KERNEL], "relocheck corpus fetch"),
    ] {
        let output = Command::new(RELOCHECK)
            .current_dir(dir.path())
            .env("XDG_CACHE_HOME", dir.path())
            .args(arguments)
            .output()?;
        expect(&arguments.join(" "), &output, 125)?;
        assert!(stderr(&output).contains(advice), "no advice: {output:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0, "a look creates nothing");
    Ok(())
}

fn not_relocatable(image: PathBuf) -> Result<(), Failed> {
    const RELOCATABLE_KERNEL: usize = 0x234;
    let dir = TempDir::new()?;
    let mut file = std::fs::read(image)?;
    file[RELOCATABLE_KERNEL] = 0;
    std::fs::write(dir.path().join("fixed"), file)?;
    for command in ["check", "inspect", "kaslr"] {
        let output = relocheck(dir.path(), &[command, "fixed"]);
        expect(command, &output, 125)?;
        assert!(stderr(&output).contains("relocatable_kernel"), "{output:?}");
    }
    Ok(())
}

fn stopping_stub(image: PathBuf) -> Result<(), Failed> {
    const HLT: u8 = 0xf4;
    const ENTRY_64: usize = 0x200;
    let dir = TempDir::new()?;
    let image = Image::open(&image)?;
    assert_ne!(image.header().xloadflags.unwrap_or(0) & XLF_KERNEL_64, 0, "a 64-bit kernel");
    let mut file = image.file().to_vec();
    for entry in [0, ENTRY_64] {
        file[image.header().setup_size() + entry] = HLT;
    }
    std::fs::write(dir.path().join("stops"), file)?;
    let output = relocheck(dir.path(), &["check", "--bases", "2", "stops"]);
    expect("check", &output, 1)?;
    let report = stdout(&output);
    assert!(report.contains("halt: stub+0x"), "{report}");
    let replay = report
        .lines()
        .find_map(|line| line.split_once("relocheck replay "))
        .ok_or("no replay line")?
        .1;
    let output = relocheck(dir.path(), &["replay", replay]);
    expect("replay", &output, 1)?;
    assert!(stdout(&output).starts_with("diverges: load "), "{output:?}");

    // The case is for the very image that failed.
    std::fs::write(dir.path().join("stops"), image.file())?;
    let output = relocheck(dir.path(), &["replay", replay]);
    expect("replay on another image", &output, 125)?;
    expect("replay --image", &relocheck(dir.path(), &["replay", replay, "--image", "stops"]), 0)
}

fn moved_image(image: PathBuf) -> Result<(), Failed> {
    let dir = TempDir::new()?;
    help::prepare(dir.path(), &image)?;
    let case = dir.path().join("case.toml");
    let known = image.to_str().ok_or("the cache has no UTF-8 name")?;
    let moved = std::fs::read_to_string(&case)?.replacen(known, "gone", 1);
    std::fs::write(&case, &moved)?;
    expect("replay from the cache", &relocheck(dir.path(), &["replay", "case.toml"]), 0)?;
    let sum = Image::open(&image)?.sha256();
    std::fs::write(&case, moved.replace(&sum, &"0".repeat(64)))?;
    let output = relocheck(dir.path(), &["replay", "case.toml"]);
    expect("replay of what is nowhere", &output, 125)?;
    assert!(stderr(&output).contains("--image"), "no advice: {output:?}");
    Ok(())
}

fn same_json(image: PathBuf) -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let image = image.to_str().ok_or("the cache has no UTF-8 name")?;
    let run = |jobs: &[&str]| -> Result<(Option<i32>, String), Failed> {
        let arguments = ["check", "--bases", "48", "--seed", "1", "--format", "json", image];
        let output = relocheck(dir.path(), &[&arguments[..], jobs].concat());
        // A kernel may have a mistake that corpus/cases knows of.
        assert!([Some(0), Some(1)].contains(&output.status.code()), "{output:?}");
        Ok((output.status.code(), stdout(&output)))
    };
    // However the cases are spread over threads.
    let ((code, first), (again, second)) = (run(&[])?, run(&["--jobs", "3"])?);
    assert_eq!(code, again);
    let timeless = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("\"duration_ms\""));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(first.matches("\"duration_ms\"").count(), 48);
    assert_eq!(timeless(&first), timeless(&second));
    Ok(())
}
