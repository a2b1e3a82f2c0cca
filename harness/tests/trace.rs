// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay` with options that look into the run: traces, profiles, pictures, of real kernels.

mod kernels;

#[path = "common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::case::{Case, CaseFile, ImageRef, MemoryEntry, MemoryKind, Protocol, place};
use relocheck::corpus::Cache;
use relocheck::explain::trace::{Profiler, Unnamed};
use relocheck::image::{Image, WordSize};
use relocheck::machine::{Engine, Outcome, UnicornEngine};
use relocheck::oracle::Subject;
use roxmltree::{Document, Node};
use serde_json::Value;
use tempfile::TempDir;

/// 6.1 for x86_64, LZ4: the quickest.
const CLOUD: &str = "debian-cloud";
/// 6.1 for i386.
const I386: &str = "debian-686-pae";
/// KASLR's loop over 32-bit entries: `sub $4, %rsi; add %ecx, (%rdx); movslq (%rsi), %rdx`, and where the addition is.
const ADD_32: ([u8; 9], usize) = ([0x48, 0x83, 0xee, 0x04, 0x01, 0x0a, 0x48, 0x63, 0x16], 4);

fn main() -> ExitCode {
    let trials: Vec<Trial> = vec![
        kernels::trial("an_observed_run_ends_like_a_plain_one", CLOUD, same_end),
        kernels::trial("a_trace_has_the_copy_the_page_faults_and_the_jump", CLOUD, trace),
        kernels::trial("a_trace_is_filtered_and_cut", CLOUD, filtered),
        kernels::trial("the_forms_of_a_profile_agree", CLOUD, profile),
        built("functions_of_a_built_kernel_have_their_names", "6.1-x86_64-base-gzip", named),
        kernels::trial("a_picture_has_all_phases_and_no_labels_that_overlap", CLOUD, picture),
        kernels::trial("a_picture_marks_what_is_wrong_where_it_is", CLOUD, marked),
        kernels::trial("a_picture_says_which_phases_never_happened", CLOUD, unfinished),
        kernels::trial("a_picture_of_an_i386_kernel_has_all_phases", I386, picture_i386),
        kernels::trial("files_that_cannot_be_written_are_one_line", CLOUD, unusable),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A case with KASLR on a PC with 1 GiB.
fn case(word: WordSize) -> Case {
    let entry = |start, end| MemoryEntry { start, end, kind: MemoryKind::Usable };
    Case {
        protocol: match word {
            WordSize::Bits32 => Protocol::Bits32,
            WordSize::Bits64 => Protocol::Bits64,
        },
        load: 0x100_0000,
        command_line: Some("earlyprintk=ttyS0".into()),
        timer: vec![0x1234, 0xbeef],
        fill: 1,
        budget: 1 << 32,
        memory: vec![entry(0, 0x9_fc00), entry(0x10_0000, 0x4000_0000)],
        ..Case::default()
    }
}

/// A folder with an image and a case of it.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new(file: &[u8], case: Case) -> Result<Bench, Failed> {
        let dir = TempDir::new()?;
        let path = dir.path().join("bzImage");
        std::fs::write(&path, file)?;
        let image = ImageRef { sha256: Image::open(&path)?.sha256(), path };
        std::fs::write(dir.path().join("case.toml"), CaseFile::new(image, case).to_toml())?;
        Ok(Bench { dir })
    }

    fn of(path: &Path, word: WordSize) -> Result<Bench, Failed> {
        Bench::new(&std::fs::read(path)?, case(word))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(std::fs::read_to_string(self.path(name))?)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output, Failed> {
        let output = Command::new(env!("CARGO_BIN_EXE_relocheck"))
            .args(["replay", "case.toml"])
            .args(arguments)
            .current_dir(self.dir.path())
            .output()?;
        Ok(output)
    }

    fn replay(&self, arguments: &[&str], code: i32) -> Result<String, Failed> {
        let output = self.run(arguments)?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// All pages that were written, with their bytes.
fn written(outcome: &Outcome) -> Vec<(u64, Vec<u8>)> {
    let pages = outcome.ram.written_pages().into_iter();
    pages.map(|page| (page, outcome.ram.slice(page, 0x1000).unwrap().to_vec())).collect()
}

fn same_end(path: PathBuf) -> Result<(), Failed> {
    let image = Image::open(&path)?;
    let subject = Subject::new(image)?;
    let setup = place(&subject.image, subject.word, &case(subject.word))?;
    let engine = UnicornEngine::new();
    let plain = engine.run(&setup)?;
    let profiler = Profiler::new(&setup, Box::new(Unnamed), |_| {});
    let (observed, profiler) = engine.observe_once(&setup, &Profiler::interest(), profiler)?;
    assert_eq!(plain.end, observed.end);
    assert_eq!(plain.registers, observed.registers);
    assert_eq!((&plain.serial, &plain.ports), (&observed.serial, &observed.ports));
    assert_eq!((plain.page_faults, &plain.code), (observed.page_faults, &observed.code));
    assert!(written(&plain) == written(&observed), "RAM differs");
    let profile = profiler.finish(&observed);
    assert_eq!(profile.page_faults, plain.page_faults);
    assert!(plain.page_faults > 0);
    Ok(())
}

/// The value of a field in a line of a trace.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number(line: &str, name: &str) -> Option<u64> {
    let text = field(line, name)?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn event(line: &str) -> &str {
    line.split_whitespace().nth(1).unwrap_or("")
}

/// The number of the block that was running.
fn block(line: &str) -> u64 {
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The loop that copies the stub runs once for eight bytes, and then the stub jumps into the copy.
fn assert_copied(lines: &[&str]) {
    let at = lines.iter().rposition(|line| event(line) == "copy").expect("a copy");
    let (copy, next) = (lines[at], lines[at + 1]);
    let (start, size) = (number(copy, "address").unwrap(), number(copy, "size").unwrap());
    let copied = block(copy) - block(lines[at - 1]);
    assert!(copied >= size / 8, "{copied} blocks for {size} bytes");
    assert!(event(next) == "move" && field(next, "by") == Some("jump"), "{next}");
    assert!((start..start + size).contains(&number(next, "to").unwrap()), "{next}");
}

fn trace(path: PathBuf) -> Result<(), Failed> {
    let bench = Bench::of(&path, WordSize::Bits64)?;
    bench.replay(&["--trace", "calls,faults,ports", "--trace-file", "trace.txt"], 0)?;
    let text = bench.read("trace.txt")?;
    let count = |name: &str| text.lines().filter(|line| event(line) == name).count();
    assert!(text.starts_with("# relocheck trace 1: image "));
    assert!(count("call") > 100 && count("return") > 100, "{} calls", count("call"));
    // The copy of the whole stub, and before it the trampoline, where this kernel enters one.
    assert!((1..=2).contains(&count("copy")));
    assert!(count("fault") > 0 && count("out") > 0 && count("in") > 0);
    assert!(text.contains("by=page-fault"), "the handler is entered by the CPU");
    for line in text.lines().filter(|line| event(line) == "fault") {
        assert_eq!(field(line, "handled"), Some("yes"), "{line}");
    }
    assert_copied(&text.lines().skip(1).collect::<Vec<_>>());
    let last = text.lines().last().unwrap_or("");
    assert!(event(last) == "end" && last.ends_with("hand-off"), "{last}");
    let blocks: Vec<u64> = text.lines().skip(1).map(block).collect();
    assert!(blocks.is_sorted(), "lines are in the order of the run");
    Ok(())
}

fn filtered(path: PathBuf) -> Result<(), Failed> {
    let bench = Bench::of(&path, WordSize::Bits64)?;
    let start = case(WordSize::Bits64).places.boot_params;
    let range = format!("{start:#x}..{:#x}", start + 0x1000);
    bench.replay(&["--trace", "writes", "--trace-range", &range, "--trace-file", "w.txt"], 0)?;
    let text = bench.read("w.txt")?;
    let writes: Vec<&str> = text.lines().filter(|line| event(line) == "write").collect();
    assert!(writes.len() > 3, "{text}");
    for line in writes {
        let (address, size) = (number(line, "address").unwrap(), number(line, "size").unwrap());
        assert!(address < start + 0x1000 && address + size > start, "{line}");
    }
    // The same in JSON lines, and cut.
    let limited = ["--trace-limit", "1", "--trace-format", "json"];
    let arguments = ["--trace", "writes", "--trace-range", &range, "--trace-file", "w.json"];
    let output = bench.run(&[&arguments[..], &limited].concat())?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("w.json: cut at --trace-limit 1, ") && told.lines().count() == 1,
        "{told}"
    );
    let text = bench.read("w.json")?;
    let events: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let names: Vec<&str> = events.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(names, ["write", "cut", "end"]);
    Ok(())
}

fn profile(path: PathBuf) -> Result<(), Failed> {
    let bench = Bench::of(&path, WordSize::Bits64)?;
    let files = ["calls.txt", "flame.svg", "stacks.folded", "time.json"];
    let arguments: Vec<&str> = files.iter().flat_map(|file| ["--profile", file]).collect();
    bench.replay(&arguments, 0)?;
    let texts = files.map(|file| bench.read(file).unwrap());
    let [calls, flame, folded, time] = &texts;

    let head: Vec<&str> = calls.lines().next().unwrap_or("").split_whitespace().collect();
    let (instructions, blocks): (u64, u64) = (head[0].parse()?, head[3].parse()?);
    assert!(instructions > blocks && blocks > 1_000_000, "{head:?}");
    assert!(calls.contains("(page fault)"), "{calls}");

    let stacks: u64 =
        folded.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(stacks, instructions, "every instruction is in one stack");

    // As many blocks as a trace has lines.
    bench.replay(&["--trace", "blocks", "--trace-limit", "1", "--trace-file", "b.txt"], 0)?;
    let trace = bench.read("b.txt")?;
    let cut = trace.lines().find(|line| event(line) == "cut").ok_or("the trace is cut")?;
    assert!(cut.trim().starts_with(&format!("{blocks} cut ")), "{cut}, {blocks} blocks");

    assert_nested(&serde_json::from_str(time)?, instructions);
    let svg = Document::parse(flame)?;
    let bars = svg.descendants().filter(|node| node.has_tag_name("rect")).count();
    assert!(bars > 5, "{bars}");

    let again: Vec<String> = files.iter().map(|file| format!("again-{file}")).collect();
    let arguments: Vec<&str> = again.iter().flat_map(|file| ["--profile", file]).collect();
    bench.replay(&arguments, 0)?;
    for (file, text) in again.iter().zip(&texts) {
        assert!(bench.read(file)? == *text, "{file} differs from run to run");
    }
    Ok(())
}

/// A test on a kernel that is built here, ignored when that is not kept.
fn built(name: &str, build: &str, test: fn(PathBuf) -> Result<(), Failed>) -> Trial {
    let image = Cache::of_user()
        .map(|cache| cache.root().join("builds/kept").join(build).join("arch/x86/boot/bzImage"))
        .ok()
        .filter(|image| image.is_file());
    if image.is_none() {
        eprintln!("SKIPPED: {name}: {build} is not kept: run `relocheck corpus build {build}`");
    }
    let missing = image.is_none();
    let run = move || test(image.ok_or("SKIPPED: no such build is kept")?);
    Trial::test(name, run).with_ignored_flag(missing)
}

/// The call tree names what misc.c and head_64.S call by name, and the stub calls those of its functions that it must.
fn named(path: PathBuf) -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let image = ImageRef { sha256: Image::open(&path)?.sha256(), path };
    let file = CaseFile::new(image, case(WordSize::Bits64));
    std::fs::write(dir.path().join("case.toml"), file.to_toml())?;
    let bench = Bench { dir };
    let told = bench.replay(&["--profile", "-"], 0)?;
    for name in ["startup_64", "extract_kernel", "choose_random_location", "do_boot_page_fault"] {
        assert!(told.contains(name), "{name} is missing in:\n{told}");
    }
    Ok(())
}

/// Complete events of one thread lie within each other or apart.
fn assert_nested(trace: &Value, instructions: u64) {
    let events = trace["traceEvents"].as_array().unwrap();
    let mut open: Vec<u64> = Vec::new();
    let mut before = 0;
    let mut count = 0;
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let (start, len) = (event["ts"].as_u64().unwrap(), event["dur"].as_u64().unwrap());
        assert!(start >= before, "in the order of time");
        before = start;
        while open.last().is_some_and(|end| *end <= start && (len > 0 || *end < start)) {
            open.pop();
        }
        assert!(open.last().is_none_or(|end| start + len <= *end), "{event}");
        open.push(start + len);
        assert!(start + len <= instructions);
        count += 1;
    }
    assert!(count > 10, "{count} events");
}

fn texts<'a>(svg: &'a Document, class: &str) -> Vec<Node<'a, 'a>> {
    svg.descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter(|node| node.attribute("class").is_some_and(|c| c.split(' ').any(|c| c == class)))
        .collect()
}

fn headings(svg: &Document) -> Vec<String> {
    texts(svg, "head").iter().filter_map(|node| node.text()).map(str::to_owned).collect()
}

fn assert_apart(svg: &Document) {
    let mut places: Vec<f64> = texts(svg, "name")
        .iter()
        .map(|node| node.attribute("y").unwrap().parse().unwrap())
        .collect();
    places.sort_by(f64::total_cmp);
    assert!(places.len() > 5, "{places:?}");
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 14.0), "{places:?}");
}

const PHASES: [&str; 6] = ["loaded", "copied", "decompressed", "moved", "relocated", "handed off"];

fn assert_whole(bench: &Bench) -> Result<(), Failed> {
    bench.replay(&["--map", "map.svg"], 0)?;
    let text = bench.read("map.svg")?;
    let svg = Document::parse(&text)?;
    assert_eq!(headings(&svg)[2..], PHASES);
    assert!(texts(&svg, "never").is_empty());
    for line in texts(&svg, "below").iter().filter_map(|node| node.text()) {
        assert!(!line.starts_with("Not ") || line.starts_with("Not drawn"), "{line}");
    }
    assert_apart(&svg);
    // Each column has something of its own colour.
    for class in ["p0", "p1", "p2", "p3", "p4"] {
        let strong =
            |node: &Node| node.has_tag_name("rect") && node.attribute("class") == Some(class);
        assert!(
            svg.descendants().filter(strong).count() >= 2,
            "{class} in the key and in a column"
        );
    }
    bench.replay(&["--map", "again.svg"], 0)?;
    assert!(bench.read("again.svg")? == text, "the picture differs from run to run");
    Ok(())
}

fn picture(path: PathBuf) -> Result<(), Failed> {
    assert_whole(&Bench::of(&path, WordSize::Bits64)?)
}

fn picture_i386(path: PathBuf) -> Result<(), Failed> {
    assert_whole(&Bench::of(&path, WordSize::Bits32)?)
}

/// The file with the one place at which `pattern` stands changed.
fn patched(path: &Path, (pattern, at): (&[u8], usize), byte: u8) -> Result<Vec<u8>, Failed> {
    let mut file = std::fs::read(path)?;
    let places: Vec<usize> = memchr::memmem::find_iter(&file, pattern).collect();
    let [place] = places[..] else { return Err(format!("{} places", places.len()).into()) };
    file[place + at] = byte;
    Ok(file)
}

/// A kernel whose 32-bit fields are moved the wrong way: `sub` instead of `add`.
fn marked(path: PathBuf) -> Result<(), Failed> {
    let file = patched(&path, (&ADD_32.0, ADD_32.1), 0x29)?;
    let bench = Bench::new(&file, case(WordSize::Bits64))?;
    let told = bench.replay(&["--format", "json", "--map", "map.svg"], 1)?;
    let told: Value = serde_json::from_str(&told)?;
    let judgement = told.get("judgement").unwrap_or(&told);
    let findings = judgement["findings"].as_array().ok_or("findings")?;
    let addresses: Vec<&str> =
        findings.iter().filter_map(|finding| finding["address"].as_str()).collect();
    assert!(!addresses.is_empty());
    let text = bench.read("map.svg")?;
    let svg = Document::parse(&text)?;
    let marks = texts(&svg, "bad");
    assert_eq!(marks.len(), addresses.len());
    for address in addresses {
        let name = format!("✗ memory {address}");
        assert!(marks.iter().any(|mark| mark.text() == Some(&name)), "{name} is not marked");
        let lines = svg.descendants().filter(|node| {
            let title = node.descendants().find(|node| node.has_tag_name("title"));
            let title = title.and_then(|title| title.text()).unwrap_or("");
            node.has_tag_name("path") && title.contains(&format!(" at {address}: "))
        });
        assert_eq!(lines.count(), 1, "a line at {address}");
    }
    assert_apart(&svg);
    Ok(())
}

/// A stub that stops at once: `cli; hlt` at the 64-bit entry.
fn unfinished(path: PathBuf) -> Result<(), Failed> {
    let image = Image::open(&path)?;
    let mut file = image.file().to_vec();
    let entry = image.header().setup_size() + 0x200;
    file[entry..entry + 2].copy_from_slice(&[0xfa, 0xf4]);
    let bench = Bench::new(&file, case(WordSize::Bits64))?;
    bench.replay(&["--map", "map.svg", "--profile", "calls.txt"], 1)?;
    let text = bench.read("map.svg")?;
    let svg = Document::parse(&text)?;
    assert_eq!(headings(&svg)[7], "halted");
    assert_eq!(texts(&svg, "never").len(), 4);
    for what in ["copied", "decompressed", "moved", "relocated"] {
        assert!(text.contains(&format!("Not {what}: ")), "{what}");
    }
    assert!(text.contains("ended before the jump into the kernel: halted"));
    Ok(())
}

fn unusable(path: PathBuf) -> Result<(), Failed> {
    let bench = Bench::of(&path, WordSize::Bits64)?;
    for (arguments, told) in [
        (&["--trace", "blocks", "--trace-file", "/dev/full"][..], "/dev/full: "),
        (&["--trace", "blocks", "--trace-file", "no/folder"], "no/folder: "),
        (&["--profile", "no/calls.txt"], "no/calls.txt: "),
        (&["--map", "no/map.svg"], "no/map.svg: "),
        (&["--map", "map.png"], "map.png: expected a name that ends in .svg"),
    ] {
        let output = bench.run(arguments)?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.starts_with(&format!("relocheck: {told}")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for arguments in [
        &["--trace", "blocks"][..],
        &["--trace-file", "x.txt"],
        &["--trace", "nonsense", "--trace-file", "x.txt"],
        &["--trace", "all", "--trace-file", "x.txt", "--trace-range", "5..4"],
        &["--profile", "calls"],
    ] {
        assert_eq!(bench.run(arguments)?.status.code(), Some(2), "{arguments:?}");
    }
    Ok(())
}
