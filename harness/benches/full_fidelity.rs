// SPDX-License-Identifier: GPL-2.0-only
//! How long it takes to run a stub, every instruction of it, from its entry to the hand-off; beside it QEMU's own CPU
//! emulation (TCG) on the same image. Also the two parts of the reference that cost time.
//!
//! A plain program and not a framework: a run of ours and a run of QEMU have to alternate, so that both see the machine
//! in the same state, and what matters is the ratio.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use relocheck::case::{Case, MemoryEntry, MemoryKind, Protocol, place};
use relocheck::corpus::Corpus;
use relocheck::image::Image;
use relocheck::machine::{End, Engine, UnicornEngine};
use relocheck::oracle::Subject;
use relocheck::reference::{moved, relocate};

const QEMU: &str = "qemu-system-x86_64";
/// Runs of each kind, and when to stop short of that.
const RUNS: usize = 5;
const LEAST_RUNS: usize = 3;
const ENOUGH: Duration = Duration::from_secs(12);
/// QEMU is given up after this.
const QEMU_TIMEOUT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// More blocks than any kernel takes: no run is repeated with them counted.
const BUDGET: u64 = 1 << 38;
/// RAM of both machines.
const RAM: u64 = 512 * MIB;
/// Where QEMU's `-kernel` loads.
const LOAD: u64 = MIB;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benchmarks, too; only `cargo bench` says so.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let images = images();
    if images.is_empty() {
        eprintln!("SKIPPED: no kernel is cached: run `relocheck corpus fetch`");
        return ExitCode::SUCCESS;
    }
    let qemu = Command::new(QEMU).arg("--version").output().is_ok_and(|o| o.status.success());
    if !qemu {
        eprintln!("{QEMU} is not installed: no comparison with it");
    }
    let engine = UnicornEngine::new();
    let (mut runs, mut reference) = (Vec::new(), Vec::new());
    for (name, path) in images {
        eprintln!("{name} ...");
        match measure(&engine, &name, &path, qemu) {
            Ok((run, parts)) => {
                runs.push(run);
                reference.push(parts);
            }
            Err(why) => {
                eprintln!("{name}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "\nEntry to hand-off at full fidelity: 32-bit entry, load {LOAD:#x}, {} MiB of RAM; seconds, medians",
        RAM / MIB
    );
    if qemu {
        println!(
            "QEMU: -accel tcg, same image, nokaslr, start of the process to the line with \"Linux version\"; ratio: median of pairs"
        );
    }
    print_table(
        &["IMAGE", "KERNEL", "OUT MiB", "RUNS", "NOKASLR", "KASLR", "QEMU", "RATIO"],
        &runs,
    );
    println!("\nThe reference: seconds, medians");
    print_table(
        &["IMAGE", "KERNEL", "DECOMPRESS", "MiB/s", "MOVE", "RELOCATE", "FIELDS"],
        &reference,
    );
    ExitCode::SUCCESS
}

/// One cached image for each combination of word size and compressor, of the sets `default` and `generations`.
fn images() -> Vec<(String, PathBuf)> {
    let Ok(corpus) = Corpus::open(None) else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let mut images = Vec::new();
    for entry in ["default", "generations"].iter().filter_map(|set| corpus.set(set).ok()).flatten()
    {
        let Ok(Some(cached)) = corpus.cached(entry) else { continue };
        let Ok(image) = Image::open(&cached.path) else { continue };
        if seen.insert((image.header().xloadflags.unwrap_or(0) & 1, image.payload().compression)) {
            images.push((entry.name.to_string(), cached.path));
        }
    }
    images
}

/// The rows of one image: its runs, and the parts of the reference.
fn measure(
    engine: &dyn Engine,
    name: &str,
    path: &Path,
    qemu: bool,
) -> Result<(Vec<String>, Vec<String>), String> {
    let subject = Image::open(path)
        .map_err(|error| error.to_string())
        .and_then(|image| Subject::new(image).map_err(|error| error.to_string()))?;
    let release = subject.image.release().map_or("?".into(), |release| release.to_string());
    let kernel = format!("{release} {} {}", subject.word, subject.compression);
    let output_mib = subject.moved.len() as f64 / MIB as f64;

    let (mut off, mut on, mut theirs, mut ratios) = (vec![], vec![], vec![], vec![]);
    let started = Instant::now();
    while off.len() < LEAST_RUNS || off.len() < RUNS && started.elapsed() < ENOUGH {
        let ours = hand_off(engine, &subject, "nokaslr")?;
        off.push(ours);
        if qemu {
            let seconds = boot(path)?;
            theirs.push(seconds);
            ratios.push(ours / seconds);
        }
        on.push(hand_off(engine, &subject, "")?);
    }
    let seconds =
        |mut values: Vec<f64>| median(&mut values).map_or("-".into(), |s| format!("{s:.3}"));
    let run = vec![
        name.to_owned(),
        kernel.clone(),
        format!("{output_mib:.1}"),
        off.len().to_string(),
        seconds(off),
        seconds(on),
        seconds(theirs),
        median(&mut ratios).map_or("-".into(), |ratio| format!("{ratio:.2}")),
    ];

    let (mut decompress, mut moves, mut apply) = (vec![], vec![], vec![]);
    let mut fields = 0;
    for _ in 0..LEAST_RUNS {
        let now = Instant::now();
        let kernel = subject.image.kernel().map_err(|error| error.to_string())?;
        decompress.push(now.elapsed().as_secs_f64());
        let now = Instant::now();
        let mut output = moved(kernel.payload, &kernel.segments, subject.link)
            .map_err(|error| error.to_string())?;
        moves.push(now.elapsed().as_secs_f64());
        let to = subject.link.physical + 32 * MIB;
        let now = Instant::now();
        let applied = relocate(&mut output, &kernel.table, subject.link, to, to)
            .map_err(|error| error.to_string())?;
        apply.push(now.elapsed().as_secs_f64());
        fields = applied.total();
    }
    let speed = median(&mut decompress).map_or("-".into(), |s| format!("{:.0}", output_mib / s));
    let parts = vec![
        name.to_owned(),
        kernel,
        seconds(decompress),
        speed,
        seconds(moves),
        seconds(apply),
        fields.to_string(),
    ];
    Ok((run, parts))
}

/// Seconds from an empty machine, whose RAM is filled first, to the hand-off.
fn hand_off(engine: &dyn Engine, subject: &Subject, words: &str) -> Result<f64, String> {
    let usable = |start, end| MemoryEntry { start, end, kind: MemoryKind::Usable };
    let case = Case {
        protocol: Protocol::Bits32,
        load: LOAD,
        command_line: Some(words.to_owned()),
        screen: false,
        timer: vec![0x1234, 0x5678],
        fill: 1,
        budget: BUDGET,
        memory: vec![usable(0, 0x9_fc00), usable(MIB, RAM)],
        ..Case::default()
    };
    let setup = place(&subject.image, subject.word, &case).map_err(|error| error.to_string())?;
    let now = Instant::now();
    let outcome = engine.run(&setup).map_err(|error| error.to_string())?;
    let seconds = now.elapsed().as_secs_f64();
    match outcome.end {
        End::HandOff => Ok(seconds),
        end => Err(format!("the run ended with {end:?}")),
    }
}

/// Seconds that QEMU takes to the kernel's first line.
fn boot(path: &Path) -> Result<f64, String> {
    let now = Instant::now();
    let mut child = Command::new(QEMU)
        .args(["-accel", "tcg", "-nodefaults", "-no-reboot", "-display", "none"])
        .args(["-serial", "stdio", "-m", &(RAM / MIB).to_string(), "-kernel"])
        .arg(path)
        .args(["-append", "earlyprintk=ttyS0 console=ttyS0 nokaslr"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{QEMU}: {error}"))?;
    let console = child.stdout.take().expect("standard output is a pipe");
    let (seen, first_line) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(console).split(b'\n').map_while(Result::ok);
        for line in lines {
            if String::from_utf8_lossy(&line).contains("Linux version") {
                let _ = seen.send(now.elapsed().as_secs_f64());
                return;
            }
        }
    });
    let result = first_line.recv_timeout(QEMU_TIMEOUT);
    let _ = child.kill();
    let _ = child.wait();
    result.map_err(|_| format!("{QEMU}: no \"Linux version\" within {QEMU_TIMEOUT:?}"))
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn print_table(header: &[&str], rows: &[Vec<String>]) {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].len()).max().unwrap_or(0);
    for row in &all {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| match column {
                0 | 1 => format!("{cell:<0$}", width(column)),
                _ => format!("{cell:>0$}", width(column)),
            })
            .collect();
        println!("{}", cells.join("  "));
    }
}
