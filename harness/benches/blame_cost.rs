// SPDX-License-Identifier: GPL-2.0-only
//! What an explanation costs, as a multiple of the plain run that it explains, on the kernels of the default corpus.
//!
//! Findings are made up: who wrote some fields of the kernel, who jumped to it, who chose its address, and all of them at
//! once. What is watched does not depend on whether the stub is right. Plain and watched runs alternate, and their CPU time
//! counts, so that others on the same machine do not.

use std::path::Path;
use std::process::ExitCode;

use relocheck::campaign::run_keeping;
use relocheck::case::{Case, MemoryEntry, Protocol, place};
use relocheck::corpus::Corpus;
use relocheck::explain::blame::explain;
use relocheck::explain::symbols::{SymbolFiles, Symbols};
use relocheck::image::{Image, WordSize};
use relocheck::machine::{Engine, UnicornEngine};
use relocheck::oracle::{Finding, Judgement, Rule, Subject};
use relocheck::reference::fields;

/// Rounds for each image.
const ROUNDS: usize = 3;
/// What is acceptable.
const MOST: f64 = 5.0;
/// Fields of the kernel that are watched.
const FIELDS: usize = 4;
const MIB: u64 = 1 << 20;
/// More blocks than any kernel takes: no run is repeated with them counted.
const BUDGET: u64 = 1 << 38;

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benchmarks, too; only `cargo bench` says so.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let corpus = match Corpus::open(None) {
        Ok(corpus) => corpus,
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            return ExitCode::SUCCESS;
        }
    };
    let named: Vec<String> =
        std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    println!(
        "{:<24} {:<22} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "IMAGE", "KERNEL", "PLAIN s", "SYMBOLS", "STORES", "END", "CHOICE", "ALL"
    );
    let mut worst = 0f64;
    for entry in corpus.set("default").into_iter().flatten() {
        let name = entry.name.to_string();
        if !named.is_empty() && !named.contains(&name) {
            continue;
        }
        let Ok(Some(cached)) = corpus.cached(entry) else {
            eprintln!("SKIPPED: {name} is not cached: run `relocheck corpus fetch`");
            continue;
        };
        match measure(&name, &cached.path) {
            Ok(ratio) => worst = worst.max(ratio),
            Err(why) => {
                eprintln!("{name}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("the most is {worst:.1} times a plain run, at most {MOST} are acceptable");
    if worst > MOST { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints the row of one image, and returns the largest ratio in it.
fn measure(name: &str, path: &Path) -> Result<f64, Box<dyn std::error::Error>> {
    let subject = Subject::new(Image::open(path)?)?;
    let case = case(&subject);
    let setup = place(&subject.image, subject.word, &case)?;
    let engine = UnicornEngine::new();
    let (run, machine) = run_keeping(&engine, &subject, &case);
    let (_, outcome) = machine.ok_or("the case cannot be run")?;
    let none = SymbolFiles::default();
    let symbols = Symbols::read(&subject, &none, &none)?;

    let output = run.judgement.landing.ok_or("no kernel was found")?.output;
    let stores = stores(&subject, output);
    let finding = |rule, place: &str| vec![Finding::new(rule, place, "0x0", "0x1")];
    let (end, choice) = (finding(Rule::HandOff, "rsi"), finding(Rule::Kaslr, "output"));
    let all = [stores.clone(), end.clone(), choice.clone()].concat();
    let kinds =
        [stores, end, choice, all].map(|findings| Judgement { findings, ..run.judgement.clone() });

    let mut plain = Vec::new();
    let mut reading = Vec::new();
    let mut watched = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (judgement, ratios) in kinds.iter().zip(&mut watched) {
            let (seconds, result) = timed(|| engine.run(&setup));
            result?;
            plain.push(seconds);
            let (with, result) =
                timed(|| explain(&subject, &case, (&setup, &outcome), judgement, &symbols));
            result?;
            ratios.push(with / seconds);
        }
        let (seconds, result) = timed(|| Symbols::read(&subject, &none, &none));
        result?;
        reading.push(seconds);
    }
    let seconds = median(&mut plain);
    let ratios = watched.map(|mut ratios| median(&mut ratios));
    let release = subject.image.release().map_or("?".into(), |release| release.to_string());
    let kernel = format!("{release} {} {}", subject.word, subject.compression);
    let symbols = median(&mut reading) / seconds;
    print!("{name:<24} {kernel:<22} {seconds:>8.2} {symbols:>8.2}");
    println!("{}", ratios.map(|ratio| format!(" {ratio:>8.2}")).concat());
    Ok(ratios.into_iter().fold(0.0, f64::max))
}

/// A kernel of which each field moves.
fn case(subject: &Subject) -> Case {
    let (protocol, words) = match subject.word {
        WordSize::Bits32 => (Protocol::Bits32, "nokaslr"),
        WordSize::Bits64 => (Protocol::Bits64, ""),
    };
    Case {
        protocol,
        load: 80 * MIB,
        command_line: Some(words.to_owned()),
        timer: vec![0x1234, 0xbeef],
        fill: 1,
        budget: BUDGET,
        memory: vec![MemoryEntry::usable(0, 0x9_fc00), MemoryEntry::usable(MIB, 1024 * MIB)],
        ..Case::default()
    }
}

/// Findings about fields all over the kernel at `output`.
fn stores(subject: &Subject, output: u64) -> Vec<Finding> {
    let all = || fields(&subject.table, subject.link);
    let apart = (all().count() / FIELDS).max(1);
    let finding = |(_, offset, _)| Finding {
        address: Some(output + offset),
        ..Finding::new(Rule::Memory, "field", "00", "01")
    };
    all().step_by(apart).take(FIELDS).map(finding).collect()
}

/// Seconds of this thread's CPU time.
fn timed<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let before = cpu_time();
    let result = run();
    (cpu_time() - before, result)
}

/// The first number of schedstat: nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
fn cpu_time() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("procfs");
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    nanoseconds.expect("a number") as f64 / 1e9
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
