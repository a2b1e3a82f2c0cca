// SPDX-License-Identifier: GPL-2.0-only
//! The command line as scripts see it: exit codes, one line for each failure, and examples in the help that work.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::case::{Case, CaseFile, ImageRef, MemoryEntry, MemoryKind, Protocol};
use relocheck::history::History;
use relocheck::image::Image;
use tempfile::TempDir;

mod kernels;
mod reports;

const RELOCHECK: &str = env!("CARGO_BIN_EXE_relocheck");
/// The quickest kernel of the corpus.
const KERNEL: &str = "debian-cloud";
const XLF_KERNEL_64: u16 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("every_command_has_help", every_command_has_help),
        Trial::test("wrong_arguments_are_told_from_bad_files", wrong_arguments),
        Trial::test("a_bad_file_is_one_line_and_exit_code_2", bad_files),
        Trial::test("what_is_not_cached_cannot_be_judged", not_cached),
        kernels::trial("the_examples_in_the_help_work", KERNEL, examples),
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

/// The names in the "Commands:" part of a help text.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The `--help` of relocheck and of all its commands: what was called, and what it said.
fn all_help() -> Result<Vec<(Vec<String>, String)>, Failed> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let output = relocheck(Path::new("."), &arguments);
        expect(&arguments.join(" "), &output, 0)?;
        let help = stdout(&output);
        for name in subcommands(&help) {
            open.push(path.iter().cloned().chain([name]).collect());
        }
        found.push((path, help));
    }
    Ok(found)
}

fn every_command_has_help() -> Result<(), Failed> {
    let all = all_help()?;
    for (path, help) in &all {
        let usage = format!(
            "Usage: {}",
            ["relocheck"]
                .into_iter()
                .chain(path.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(" ")
        );
        assert!(help.contains(&usage), "{usage:?} is missing in:\n{help}");
        assert!(path.is_empty() || help.contains("Example"), "{path:?} has no example:\n{help}");
        assert!(!help.contains('\x1b'), "colours without a terminal: {help:?}");
    }
    let commands: Vec<&str> =
        all.iter().filter(|(path, _)| path.len() == 1).map(|(path, _)| path[0].as_str()).collect();
    for command in
        ["check", "inspect", "relocate", "replay", "kaslr", "nightly", "report", "corpus"]
    {
        assert!(commands.contains(&command), "{command} is missing among {commands:?}");
    }
    Ok(())
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

/// Makes the files that the examples name: images in and out of a build directory, cases, reports and a history.
fn prepare(dir: &Path, image: &Path) -> Result<(), Failed> {
    for place in ["bzImage", "arch/x86/boot/bzImage", "linux/arch/x86/boot/bzImage"] {
        link(image, &dir.join(place))?;
    }
    let release = Command::new("uname").arg("-r").output()?;
    for release in ["6.1.0-1", String::from_utf8(release.stdout)?.trim()] {
        link(image, &dir.join(format!("boot/vmlinuz-{release}")))?;
    }
    let reference = ImageRef { path: image.to_owned(), sha256: Image::open(image)?.sha256() };
    let usable = |start, end| MemoryEntry { start, end, kind: MemoryKind::Usable };
    let case = Case {
        protocol: Protocol::Bits64,
        load: 0x400_0000,
        screen: true,
        timer: vec![1],
        fill: 1,
        memory: vec![usable(0, 0x9_fc00), usable(0x10_0000, 0x2000_0000)],
        ..Case::default()
    };
    let text = CaseFile::new(reference, case).to_toml();
    std::fs::create_dir_all(dir.join("reports/cases"))?;
    for name in ["case.toml", "reports/cases/0123456789ab-memory.toml"] {
        std::fs::write(dir.join(name), &text)?;
    }
    for name in ["yesterday.json", "report.json"] {
        reports::write(dir, name, &reports::example())?;
    }
    for part in [1, 2] {
        reports::write(dir, &format!("part-{part}.json"), &reports::part(part))?;
    }
    let mut night = reports::part(1);
    if let Some(campaign) = &mut night.campaign {
        campaign.name = "nightly".into();
        campaign.partition = None;
    }
    History::open(&dir.join("history.db"))?.record(&night)?;
    let plan = "schema = 1\nname = \"nightly\"\n[[run]]\nimages = [\"bzImage\"]\ncases = 1\n";
    std::fs::write(dir.join("nightly.toml"), plan)?;
    Ok(())
}

fn link(image: &Path, place: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(place.parent().expect("places are below a directory"))?;
    std::os::unix::fs::symlink(image, place)
}

/// The commands among the examples of a help text, without the remarks beside them, and without what they are piped to
/// or called by.
fn example_commands(help: &str) -> impl Iterator<Item = &str> {
    let examples = help.split_once("\nExample").map_or("", |(_, rest)| rest);
    examples.lines().filter_map(|line| {
        let command = &line[line.find("relocheck ")?..];
        let command = command.split("  ").next()?.split(" |").next()?;
        // file "$(relocheck ...)"
        Some(command.strip_suffix(")\"").unwrap_or(command))
    })
}

/// The command as it is run here, and the exit code that it has to end with.
///
/// Absolute places become places in the current directory. A check gets few cases. What would use the network, or take
/// hours, is parsed, but only asked for its help.
fn tamed(command: &str) -> (String, i32) {
    let mut command =
        command.replace("/boot/vmlinuz", "boot/vmlinuz").replace("--bases 64", "--bases 2");
    if command.starts_with("relocheck check") && !command.contains("--bases") {
        command = command.replacen(" check", " check --bases 1", 1);
    }
    if command.starts_with("relocheck kaslr") && !command.contains("--runs") {
        command = command.replacen(" kaslr", " kaslr --runs 1", 1);
    }
    let fetches = command.starts_with("relocheck corpus") && command.contains(" fetch");
    let builds = command.starts_with("relocheck corpus build") && !command.contains("--list");
    if fetches || builds || command.contains("--corpus builds") {
        command += " --help";
    }
    // The case that is there has nothing wrong.
    if command.starts_with("relocheck shrink") {
        return (command, 125);
    }
    let needed: Vec<&str> = if command.contains("--corpus default") {
        vec!["debian-amd64", "debian-cloud", "debian-686-pae", "debian-cloud-newest"]
    } else {
        command
            .split_once("corpus path ")
            .map(|(_, name)| name.trim_end_matches(')'))
            .into_iter()
            .collect()
    };
    let all = needed.iter().all(|entry| kernels::cached(entry).is_ok());
    (command, if all { 0 } else { 125 })
}

fn examples(image: PathBuf) -> Result<(), Failed> {
    let dir = TempDir::new()?;
    prepare(dir.path(), &image)?;
    let bin = Path::new(RELOCHECK).parent().expect("a file is in a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path)))?;
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache").into_os_string()))
        .ok_or("there is no cache folder")?;
    let mut count = 0;
    for (_, help) in all_help()? {
        for command in example_commands(&help) {
            let (command, code) = tamed(command);
            let output = Command::new("sh")
                .args(["-c", &command])
                .current_dir(dir.path())
                .env("PATH", &path)
                .env("HOME", dir.path())
                .env("XDG_CACHE_HOME", &cache)
                .output()?;
            expect(&command, &output, code)?;
            count += 1;
        }
    }
    assert!(count >= 15, "only {count} examples were found in the help texts");
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
    prepare(dir.path(), &image)?;
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
