// SPDX-License-Identifier: GPL-2.0-only
//! The help texts, and the examples in them, which are run.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;
use relocheck::case::{Case, CaseFile, ImageRef, MemoryEntry, MemoryKind, Protocol};
use relocheck::corpus::Corpus;
use relocheck::history::History;
use relocheck::image::Image;
use tempfile::TempDir;

use super::{RELOCHECK, expect, kernels, relocheck, reports, stdout};

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

/// Every command is in the help of the one above it, and shows an example.
pub fn every_command_has_help() -> Result<(), Failed> {
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
    for command in [
        "check",
        "inspect",
        "relocate",
        "link-twice",
        "replay",
        "kaslr",
        "mutate",
        "nightly",
        "report",
        "corpus",
        "bugs",
    ] {
        assert!(commands.contains(&command), "{command} is missing among {commands:?}");
    }
    Ok(())
}

/// Makes the files that the examples name: images in and out of a build directory, cases, reports and a history.
pub fn prepare(dir: &Path, image: &Path) -> Result<(), Failed> {
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
    let plan = "schema = 1\nname = \"nightly\"\n[[run]]\nimages = [\"bzImage\"]\nprotocols = [\"32\", \"64\"]\ncases = 1\n";
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
    if command.starts_with("relocheck mutate") {
        // Whether some survive depends on the kernel.
        command = command.replace("--count 300", "--count 2");
        command = command.replacen(" mutate", " mutate --consider 1 --cases 1", 1);
        if !command.contains("--count") {
            command = command.replacen(" mutate", " mutate --count 2", 1);
        }
        command += "; test $? -le 1";
    }
    let fetches = command.starts_with("relocheck corpus") && command.contains(" fetch");
    let builds = command.starts_with("relocheck corpus build") && !command.contains("--list");
    // There is no build directory, no kernel's own ELF file, and no kernel with an old mistake.
    if command.starts_with("relocheck link-twice") {
        return (command.replacen(" link-twice", " link-twice --help", 1), 0);
    }
    let elf = command.contains("vmlinux ");
    let bugs = command.starts_with("relocheck bugs");
    if fetches || builds || elf || bugs || command.contains("--corpus builds") {
        command += " --help";
    }
    // The case that is there has nothing wrong.
    if command.starts_with("relocheck shrink") {
        return (command, 125);
    }
    let of_set = |set: &str| -> Vec<String> {
        let corpus = Corpus::open(None).expect("the built-in manifest");
        let entries = corpus.set(set).expect("a set of that name");
        entries.iter().map(|entry| entry.name.to_string()).collect()
    };
    let needed: Vec<String> = if command.contains("--corpus default") {
        of_set("default")
    } else if let Some((_, set)) = command.split_once("corpus verify ") {
        of_set(set.trim())
    } else {
        let path = command.split_once("corpus path ");
        path.map(|(_, name)| name.trim_end_matches(')').to_owned()).into_iter().collect()
    };
    let all = needed.iter().all(|entry| kernels::cached(entry).is_ok());
    (command, if all { 0 } else { 125 })
}

/// Runs every example of every help text.
pub fn examples(image: PathBuf) -> Result<(), Failed> {
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
