// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck kaslr` as its users see it, on a kernel of the corpus.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::image::{Image, Kernel};
use serde_json::Value;
use tempfile::TempDir;

mod kernels;

const RELOCHECK: &str = env!("CARGO_BIN_EXE_relocheck");
/// The quickest kernel of the corpus.
const KERNEL: &str = "debian-cloud";
const MIB: u64 = 1 << 20;
/// Where an x86_64 kernel's mapping ends: KERNEL_IMAGE_SIZE with RANDOMIZE_BASE (asm/page_64_types.h).
const IMAGE_SIZE: u64 = 0x4000_0000;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    type Test = fn(PathBuf) -> Result<(), Failed>;
    let tests: [(&str, Test); 5] = [
        ("places_are_those_of_the_formula_and_runs_agree", formula),
        ("a_single_place_leaves_no_choice_and_no_place_is_told", tight_memory),
        ("without_kaslr_the_kernel_stays", no_kaslr),
        ("the_same_arguments_give_the_same_bytes", same_bytes),
        ("text_is_narrow_and_a_failing_run_can_be_replayed", failing),
    ];
    let trials: Vec<Trial> =
        tests.into_iter().map(|(name, test)| kernels::trial(name, KERNEL, test)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A folder with the image, under the name bzImage.
fn folder(image: &Path) -> std::io::Result<TempDir> {
    let dir = TempDir::new()?;
    std::os::unix::fs::symlink(image, dir.path().join("bzImage"))?;
    Ok(dir)
}

/// Runs `relocheck kaslr` on the image in `dir`, which has to end with `code`.
fn kaslr(dir: &TempDir, arguments: &[&str], code: i32) -> Result<Output, Failed> {
    let output = Command::new(RELOCHECK)
        .current_dir(dir.path())
        .arg("kaslr")
        .args(arguments)
        .arg("bzImage")
        .output()?;
    match output.status.code() == Some(code) {
        true => Ok(output),
        false => Err(format!("{arguments:?}: expected exit code {code}: {output:?}").into()),
    }
}

fn json(dir: &TempDir, arguments: &[&str]) -> Result<Value, Failed> {
    let output = kaslr(dir, &[&["--format", "json"], arguments].concat(), 0)?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What the stub looks for, from the kernel's own headers: whichever is larger of all that it uses and all that is
/// decompressed, in whole 2 MiB (`choose_random_location()`, arch/x86/boot/compressed/kaslr.c).
fn needed(kernel: &Kernel) -> u64 {
    let start = kernel.segments.iter().map(|segment| segment.paddr).min();
    let end = kernel.segments.iter().map(|segment| segment.paddr + segment.memsz).max();
    let used = end.unwrap() - start.unwrap();
    used.max(kernel.payload.len() as u64).next_multiple_of(2 * MIB)
}

fn formula(path: PathBuf) -> Result<(), Failed> {
    let image = Image::open(&path)?;
    let needed = needed(&image.kernel()?);
    let header = image.header();
    let alignment = u64::from(header.kernel_alignment.unwrap());
    let linked = header.pref_address.unwrap();
    let memory = 1024 * MIB;

    let dir = folder(&path)?;
    let arguments = ["--memory", "1G", "--samples", "50000", "--runs", "8"];
    let report = json(&dir, &arguments)?;
    assert_eq!(report["needed"], format!("{needed:#x}"));
    assert_eq!(report["virtual"]["slots"], 1 + (IMAGE_SIZE - linked - needed) / alignment);
    assert_eq!(report["virtual"]["lowest"], format!("{linked:#x}"));
    let highest = (IMAGE_SIZE - needed) / alignment * alignment;
    assert_eq!(report["virtual"]["highest"], format!("{highest:#x}"));
    // Free memory begins behind the place where the stub has moved; before it there is no room.
    let first = (linked + u64::from(header.init_size.unwrap())).next_multiple_of(alignment);
    assert_eq!(report["physical"]["slots"], 1 + (memory - first - needed) / alignment);
    assert_eq!(report["physical"]["areas"][0]["start"], format!("{first:#x}"));
    assert_eq!(report["physical"]["areas"].as_array().unwrap().len(), 1);

    for draw in ["physical", "virtual"] {
        let draw = &report[draw];
        assert_eq!(draw["chi_square"]["even"], true, "{draw}");
        assert_eq!((&draw["never"], &draw["elsewhere"]), (&0.into(), &0.into()));
        let (ideal, found) = (draw["bits"].as_f64().unwrap(), draw["observed_bits"].as_f64());
        assert!((ideal - draw["slots"].as_f64().unwrap().log2()).abs() < 1e-4);
        assert!((ideal - found.unwrap()).abs() < 0.01, "{draw}");
        let counts = draw["histogram"]["counts"].as_array().unwrap();
        assert_eq!(counts.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), 50_000);
    }
    assert_eq!((&report["verdict"], &report["agreeing"]), (&"conforms".into(), &8.into()));
    for run in report["runs"].as_array().unwrap() {
        assert_eq!(run["output"], run["expected"]["output"]);
        assert_eq!(run["virt"], run["expected"]["virt"]);
    }
    Ok(())
}

fn tight_memory(path: PathBuf) -> Result<(), Failed> {
    let image = Image::open(&path)?;
    let header = image.header();
    let end = header.pref_address.unwrap() + u64::from(header.init_size.unwrap());
    let alignment = u64::from(header.kernel_alignment.unwrap());
    let first = end.next_multiple_of(alignment);
    let enough = first + needed(&image.kernel()?);
    let dir = folder(&path)?;
    let arguments = |memory: u64| {
        let memory = memory.to_string();
        let arguments = ["--samples", "100", "--runs", "2", "--svg", "kaslr.svg", "--memory"];
        json(&dir, &[&arguments[..], &[&memory]].concat())
    };
    let one = arguments(enough)?;
    assert_eq!((&one["physical"]["slots"], &one["physical"]["bits"]), (&1.into(), &0.0.into()));
    assert_eq!(one["physical"]["chi_square"], Value::Null);
    assert_eq!(one["physical"]["lowest"], format!("{first:#x}"));
    let none = arguments(enough - 4096)?;
    assert_eq!(
        (&none["physical"]["slots"], &none["physical"]["elsewhere"]),
        (&0.into(), &100.into())
    );
    assert_eq!(none["runs"][0]["output"], none["unmoved"]["output"]);
    assert!(none["virtual"]["slots"].as_u64() > Some(1), "the virtual draw goes on");
    Ok(())
}

fn no_kaslr(path: PathBuf) -> Result<(), Failed> {
    let dir = folder(&path)?;
    let report = json(&dir, &["--command-line", "quiet nokaslr", "--runs", "1"])?;
    assert_eq!(report["kaslr_off"], "the command line forbids it");
    assert_eq!((&report["physical"]["slots"], &report["agreeing"]), (&0.into(), &1.into()));
    assert_eq!(report["runs"][0]["virt"], report["unmoved"]["virt"]);
    Ok(())
}

fn same_bytes(path: PathBuf) -> Result<(), Failed> {
    let dir = folder(&path)?;
    let files = |arguments: &[&str]| -> Result<(Vec<u8>, Vec<u8>), Failed> {
        let common = ["--samples", "5000", "--runs", "4", "--format", "json", "--svg", "kaslr.svg"];
        let output = kaslr(&dir, &[&common[..], arguments].concat(), 0)?;
        Ok((output.stdout, std::fs::read(dir.path().join("kaslr.svg"))?))
    };
    let first = files(&[])?;
    assert_eq!(first, files(&["--jobs", "3"])?);
    assert_ne!(first, files(&["--seed", "2"])?);
    let picture = String::from_utf8(first.1)?;
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert_eq!(picture.matches("http").count(), 1, "but for the name space nothing is linked");
    assert!(!picture.contains("<script") && !picture.contains("NaN") && !picture.contains("inf"));
    assert_eq!(
        picture.matches("class=\"run\" cx").count(),
        4 + 4 + 1,
        "each run twice, and the key"
    );
    Ok(())
}

fn failing(path: PathBuf) -> Result<(), Failed> {
    /// `kernel_alignment` in the setup header: the model's, while the stub has its own.
    const KERNEL_ALIGNMENT: usize = 0x230;
    let dir = folder(&path)?;
    let good = String::from_utf8(kaslr(&dir, &["--runs", "1"], 0)?.stdout)?;
    assert!(good.contains("1 of 1 runs of the image"), "{good}");
    for line in good.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }

    let mut file = std::fs::read(&path)?;
    let alignment = u32::from_le_bytes(file[KERNEL_ALIGNMENT..][..4].try_into()?);
    file[KERNEL_ALIGNMENT..][..4].copy_from_slice(&(2 * alignment).to_le_bytes());
    std::fs::remove_file(dir.path().join("bzImage"))?;
    std::fs::write(dir.path().join("bzImage"), file)?;
    let report = String::from_utf8(kaslr(&dir, &["--runs", "2"], 1)?.stdout)?;
    assert!(report.contains("diverges: 0 of 2 runs"), "{report}");
    assert!(report.contains("kaslr: output: expected 0x"), "{report}");
    let (_, replay) = report.split_once("relocheck replay ").ok_or("no replay line")?;
    let output =
        Command::new(RELOCHECK).current_dir(dir.path()).args(["replay", replay.trim()]).output()?;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    Ok(())
}
