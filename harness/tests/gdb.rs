// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay --gdb` as gdb sees it: a real gdb in batch mode, on a kernel for each word size, and clients that are no gdb.
//!
//! What gdb shows is held against the reference, which this test asks by itself.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use goblin::elf::Elf;
use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::build_tree::BuildTree;
use relocheck::case::{Case, CaseFile, ImageRef, MemoryEntry, Protocol, place};
use relocheck::corpus::Cache;
use relocheck::image::{Image, RelocKind, WordSize};
use relocheck::machine::{Event, Interest, Observer, UnicornEngine, View};
use relocheck::oracle::{self, Subject};
use relocheck::reference::fields;
use tempfile::TempDir;

mod kernels;

const RELOCHECK: &str = env!("CARGO_BIN_EXE_relocheck");
/// Builds with symbols, of each word size.
const BUILDS: [&str; 2] = ["6.1-x86_64-base-gzip", "6.1-i386-base-gzip"];
/// Kernels of the corpus without, of each word size.
const KERNELS: [&str; 2] = ["debian-cloud", "debian-686-pae"];
/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(300);

type Test = fn(&Bench) -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let gdb = Command::new("gdb").arg("--version").output().is_ok();
    let mut trials = Vec::new();
    for kernel in KERNELS {
        let name = "a_relocated_word_changes_forth_and_back";
        trials.push(match gdb {
            true => kernels::trial(&format!("{kernel}::{name}"), kernel, |path| {
                watch(&Bench::new(&path)?)
            }),
            false => trial(kernel, name, watch, gdb),
        });
    }
    for build in BUILDS {
        let with_gdb: [(&str, Test); 3] = [
            ("a_relocated_word_changes_forth_and_back", watch),
            ("registers_and_memory_are_read_and_written", access),
            ("monitor_knows_the_run_and_bears_nonsense", monitor),
        ];
        trials.extend(with_gdb.map(|(name, test)| trial(build, name, test, gdb)));
        let without: [(&str, Test); 3] = [
            ("clients_that_go_away_end_the_process", gone),
            ("clients_that_are_no_gdb_end_the_process", garbage),
            ("symbols_are_ready_to_paste", hints),
        ];
        trials.extend(without.map(|(name, test)| trial(build, name, test, true)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test on a kept build; ignored where that, or gdb, is not there. Asked to run all the same (`--ignored`), it fails.
fn trial(kernel: &'static str, name: &str, test: Test, gdb: bool) -> Trial {
    let name = format!("{kernel}::{name}");
    let missing = match gdb {
        true => image(kernel).err(),
        false => Some("there is no gdb".to_owned()),
    };
    if let Some(why) = &missing {
        eprintln!("SKIPPED: {name}: {why}");
    }
    let ignored = missing.is_some();
    Trial::test(name, move || match missing {
        Some(why) => Err(why.into()),
        None => test(&Bench::new(&image(kernel)?)?),
    })
    .with_ignored_flag(ignored)
}

/// The image of a kept build, or why there is none.
fn image(kernel: &str) -> Result<PathBuf, String> {
    let cache = Cache::of_user().map_err(|error| error.to_string())?;
    let path = cache.root().join("builds/kept").join(kernel).join("arch/x86/boot/bzImage");
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("{kernel} is not built: run `relocheck corpus build`")),
    }
}

/// Where the stub runs from its copy first.
struct FirstInCopy(Option<u64>);

impl Observer for FirstInCopy {
    fn event(&mut self, event: &Event, view: &View) {
        if matches!(event, Event::NewCopy { .. }) {
            self.0.get_or_insert(view.instruction_pointer());
        }
    }
}

/// A case, and what the reference says of it.
struct Bench {
    folder: TempDir,
    word: WordSize,
    load: u64,
    entry: u64,
    copy: u64,
    output: u64,
    kernel_entry: u64,
    /// An instruction of the stub's copy that runs once: that at the start of the function which decompresses and relocates,
    /// where symbols tell it, or the first in the copy.
    once: u64,
    /// What `monitor where` calls the function that relocates, where symbols tell.
    relocates: Option<String>,
    /// A 32-bit field: its table entry, where it lands, and its value before and after relocation.
    field: (u32, u64, u32, u32),
}

impl Bench {
    fn new(path: &Path) -> Result<Bench, Failed> {
        let path = path.to_owned();
        let image = Image::open(&path)?;
        let sha256 = image.sha256();
        let stub = BuildTree::of_image(&path).and_then(|tree| tree.stub());
        let subject = Subject::new(image)?;
        let case = Case {
            protocol: match subject.word {
                WordSize::Bits64 => Protocol::Bits64,
                WordSize::Bits32 => Protocol::Bits32,
            },
            load: match subject.word {
                WordSize::Bits64 => 0x440_0000,
                WordSize::Bits32 => 0x440_3000,
            },
            command_line: Some("ro".to_owned()),
            screen: true,
            timer: vec![0x1234, 0x77],
            fill: 5,
            budget: 1 << 30,
            memory: vec![
                MemoryEntry::usable(0, 0x9_fc00),
                MemoryEntry::usable(0x10_0000, 0x2000_0000),
            ],
            ..Case::default()
        };
        let setup = place(&subject.image, subject.word, &case)?;
        let (placement, prediction) = oracle::plan(&subject, &case, &setup)?;
        let copy = placement.copy.ok_or("the copy's place is not known")?;
        let first = || -> Result<u64, Failed> {
            let engine = UnicornEngine::new();
            let (_, first) = engine.observe(&setup, &Interest::default(), || FirstInCopy(None))?;
            Ok(first.0.ok_or("the stub runs from no copy")?)
        };
        let (once, relocates) = match stub {
            Some(stub) => {
                (copy + symbol(&stub, "extract_kernel")?, Some(", decompress_kernel+0x".to_owned()))
            }
            None => (first()?, None),
        };
        let link = subject.link;
        let runs_at = match subject.word {
            WordSize::Bits32 => prediction.output,
            WordSize::Bits64 => prediction.virt,
        };
        let delta = runs_at.wrapping_sub(link.physical) as u32;
        assert_ne!(delta, 0, "nothing would be relocated");
        let narrow = fields(&subject.table, link).filter(|field| field.0 == RelocKind::Abs32);
        let count = narrow.clone().count();
        let (_, offset, entry) = narrow.clone().nth(count / 2).ok_or("no field")?;
        let before = subject.moved[offset as usize..][..4].try_into()?;
        let before = u32::from_le_bytes(before);
        let folder = TempDir::new()?;
        let file = CaseFile::new(ImageRef { path, sha256 }, case).to_toml();
        std::fs::write(folder.path().join("case.toml"), file)?;
        Ok(Bench {
            folder,
            word: subject.word,
            load: setup.stub.address,
            entry: setup.entry,
            copy,
            output: prediction.output,
            kernel_entry: prediction.output.wrapping_add(subject.entry_offset()),
            once,
            relocates,
            field: (entry, prediction.output + offset, before, before.wrapping_add(delta)),
        })
    }

    /// What gdb prints of these commands, which it has to get through.
    fn gdb(&self, commands: &str) -> Result<String, Failed> {
        let architecture = match self.word {
            WordSize::Bits32 => "i386",
            WordSize::Bits64 => "i386:x86-64",
        };
        let script = format!(
            "set pagination off\nset confirm off\nset width 0\nset architecture {architecture}\nset remotetimeout 100\n\
             target remote | {RELOCHECK} replay case.toml --gdb - 2>hints.txt\n{commands}\nkill\n"
        );
        std::fs::write(self.folder.path().join("script.gdb"), script)?;
        // What relocheck prints, gdb passes on to its standard error.
        let output = Command::new("timeout")
            .current_dir(self.folder.path())
            .args([&PATIENCE.as_secs().to_string(), "sh", "-c"])
            .arg("exec gdb -nx -q -batch -x script.gdb 2>&1")
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(format!("gdb ends with {}:\n{text}", output.status).into()),
        }
    }

    /// `relocheck replay --gdb` on a port, and a client of it.
    fn serve(&self) -> Result<(Served, TcpStream), Failed> {
        let mut child = Command::new(RELOCHECK)
            .current_dir(self.folder.path())
            .args(["replay", "case.toml", "--gdb", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let child = Served(child);
        let address = loop {
            let line = lines.next().ok_or("it ends before it serves")??;
            if let Some(address) = line.strip_prefix("target remote ") {
                break address.to_owned();
            }
        };
        Ok((child, TcpStream::connect(address)?))
    }
}

/// Is killed if a test fails.
struct Served(Child);

impl Served {
    /// How it ends, which has to be soon.
    fn end(&mut self) -> Result<(ExitStatus, String), Failed> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait()? {
                let mut text = String::new();
                self.0.stderr.take().ok_or("no output")?.read_to_string(&mut text)?;
                return Ok((status, text));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("it does not end".into())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The address of a function in an ELF file.
fn symbol(path: &Path, name: &str) -> Result<u64, Failed> {
    let file = std::fs::read(path)?;
    let elf = Elf::parse(&file)?;
    let found = elf.syms.iter().find(|symbol| elf.strtab.get_at(symbol.st_name) == Some(name));
    Ok(found.ok_or_else(|| format!("{}: no {name}", path.display()))?.st_value)
}

/// The values that `printf "name=%x\n"` left, in their order.
fn values(text: &str, name: &str) -> Vec<u64> {
    let prefix = format!("{name}=");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines
        .map(|value| u64::from_str_radix(value.trim(), 16).unwrap_or_else(|_| panic!("{value}")))
        .collect()
}

/// A breakpoint in the copy that is not there yet, a watchpoint on a field of the kernel, and back.
fn watch(bench: &Bench) -> Result<(), Failed> {
    let (entry, field, before, after) = bench.field;
    let function = bench.once;
    let mut script = format!(
        "printf \"pc=%lx\\n\", $pc\nbreak *{function:#x}\ncontinue\nprintf \"pc=%lx\\n\", $pc\n"
    );
    let word = format!("*(unsigned int *){field:#x}");
    let value = format!("printf \"word=%x\\n\", {word}\n");
    // Only the store that relocates it leaves this value there. x86_64 has not even mapped it yet.
    let _ = write!(
        script,
        "watch {word} if {word} == {after:#x}\ncontinue\n{value}printf \"after=%lx\\n\", $pc\n\
         monitor position\nmonitor where\nmonitor reloc {field:#x}\n\
         reverse-stepi\nprintf \"store=%lx\\n\", $pc\n{value}monitor position\nmonitor reloc {entry:#x}\n\
         stepi\n{value}printf \"after=%lx\\n\", $pc\n"
    );
    // To the end, and back to the last store.
    let _ = write!(
        script,
        "delete\ncontinue\nprintf \"end=%lx\\n\", $pc\n{value}watch {word}\n\
         reverse-continue\n{value}printf \"store=%lx\\n\", $pc\ndelete\n\
         break *{function:#x}\nreverse-continue\nprintf \"pc=%lx\\n\", $pc\n\
         delete\nreverse-continue\nprintf \"pc=%lx\\n\", $pc\nmonitor position\n"
    );
    // The end again, where there is no way on, but one back.
    let _ = write!(
        script,
        "continue\nprintf \"end=%lx\\n\", $pc\n{value}continue\nreverse-stepi\nstepi\n\
         printf \"end=%lx\\n\", $pc\n"
    );
    let text = bench.gdb(&script)?;

    assert_eq!(values(&text, "pc"), [bench.entry, function, function, bench.entry], "{text}");
    let (before, after) = (u64::from(before), u64::from(after));
    let words = values(&text, "word");
    assert_eq!(words, [after, before, after, after, before, after], "{text}");
    let (stores, behind) = (values(&text, "store"), values(&text, "after"));
    assert_eq!((stores.len(), behind.len()), (2, 2), "{text}");
    assert!(stores[0] == stores[1] && behind[0] == behind[1], "{text}");
    let len = behind[0] - stores[0];
    assert!((1..=15).contains(&len), "the store has {len} bytes: {text}");
    assert_eq!(values(&text, "end"), [bench.kernel_entry; 3], "{text}");
    for line in [
        format!("Old value = {}", before as u32),
        format!("New value = {}", after as u32),
        format!("now    {after:#x}, as after"),
        format!("now    {before:#x}, as before"),
        "copy of the stub + ".to_owned(),
    ]
    .into_iter()
    .chain(bench.relocates.clone())
    {
        assert!(text.contains(&line), "{line:?} is missing in:\n{text}");
    }
    assert_eq!(text.matches("the run is over: hand-off").count(), 3, "{text}");
    assert!(text.contains("No more reverse-execution history"), "{text}");
    Ok(())
}

/// Registers of every kind, memory that is there and memory that is not.
fn access(bench: &Bench) -> Result<(), Failed> {
    let long = bench.word == WordSize::Bits64;
    let (ax, si) = if long { ("rax", "rsi") } else { ("eax", "esi") };
    let scratch = bench.load + 0x1000;
    let script = format!(
        "stepi\nprintf \"params=%lx\\n\", ${si}\nprintf \"cs=%x\\n\", $cs\nprintf \"ds=%x\\n\", $ds\n\
         printf \"cr0=%lx\\n\", $cr0\nprintf \"cr4=%lx\\n\", $cr4\nprintf \"efer=%lx\\n\", $efer\nprintf \"flags=%x\\n\", $eflags\n\
         set ${ax} = 0x12345678\nprintf \"ax=%lx\\n\", ${ax}\n\
         set *(unsigned int *){scratch:#x} = 0xcafe\nprintf \"memory=%x\\n\", *(unsigned int *){scratch:#x}\n\
         stepi\nreverse-stepi\nprintf \"ax=%lx\\n\", ${ax}\nprintf \"memory=%x\\n\", *(unsigned int *){scratch:#x}\n\
         x/2i $pc\ninfo registers\n"
    );
    let text = bench.gdb(&script)?;
    let one = |name: &str| values(&text, name)[0];
    assert_eq!((one("cs"), one("ds")), (0x10, 0x18), "{text}");
    assert_eq!(one("cr0") & 1, 1);
    assert_eq!(one("cr0") >> 31 & 1 == 1, long);
    assert_eq!(one("cr4") >> 5 & 1 == 1, long);
    assert_eq!(one("efer") >> 10 & 1 == 1, long);
    assert_eq!(one("flags") & 0x202, 2, "interrupts are off");
    assert_eq!(values(&text, "ax"), [0x1234_5678; 2]);
    assert_eq!(values(&text, "memory"), [0xcafe; 2]);

    for command in ["x/x 0x7fff00000000", "set *(int *)0x7fff00000000 = 1", "set $cr0 = 0"] {
        let command =
            if long { command.to_owned() } else { command.replace("0x7fff00000000", "0x7fff0000") };
        let error = bench.gdb(&command).err().ok_or_else(|| format!("{command} works"))?;
        let error = error.message().unwrap_or_default().to_owned();
        assert!(
            error.contains("Cannot access memory") || error.contains("Could not write register"),
            "{command}: {error}"
        );
    }
    Ok(())
}

fn monitor(bench: &Bench) -> Result<(), Failed> {
    let (entry, field, ..) = bench.field;
    let output = bench.output;
    let script = format!(
        "monitor help\nmonitor where\nmonitor e820\nmonitor disassemble\nmonitor pagetables {output:#x}\n\
         monitor reloc {output:#x}\nmonitor reloc 0x1\nmonitor faults\nmonitor verdict\n\
         monitor seek 1000\nmaintenance flush register-cache\nmonitor position\n\
         monitor seek 99999999999\nmonitor where\nmonitor faults\nmonitor reloc {entry:#x}\nmonitor seek 0\n\
         monitor seek\nmonitor seek -1\nmonitor seek 0x\nmonitor reloc zz\nmonitor reloc 0xffffffffffffffff\n\
         monitor pagetables 0xffffffffffffffff\nmonitor disassemble 0xffffffffffffffff 99999\nmonitor ~~ ~\n\
         monitor disassemble {field:#x} 0\nmonitor position\n"
    );
    let text = bench.gdb(&script)?;
    for part in [
        "pagetables ADDR",
        "position 0",
        "stub as loaded + ",
        " entries\n",
        "0x000000000009fc00 usable",
        "=> ",
        "conforms: ",
        "is not in the kernel",
        "the run is over: hand-off",
        "32-bit entry ",
        ", as after",
        "expected numbers such as",
        "what is ",
        "not mapped",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert!(text.lines().any(|line| line == "1000"), "{text}");
    // Where it begins, and where the kernel does.
    let startup = if bench.word == WordSize::Bits64 { "startup_64" } else { "startup_32" };
    for place in [format!(", {startup}\n"), "not in the stub, ".to_owned()] {
        assert!(text.contains(&place), "{place:?} is missing in:\n{text}");
    }
    assert!(text.contains(" of the kernel\n"), "{text}");
    if bench.word == WordSize::Bits64 {
        assert!(text.contains("taken by the guest's handler"), "{text}");
    }
    Ok(())
}

/// A client that goes away, idle or while the machine runs, or that kills it.
fn gone(bench: &Bench) -> Result<(), Failed> {
    for sent in ["", "$?#3f", "+$g#6", "$vCont;c#a8", "$vCont;c#a8\x03", "$k#6b", "$D#44"] {
        let (mut served, mut client) = bench.serve()?;
        client.write_all(sent.as_bytes())?;
        client.flush()?;
        if !["$k#6b", "$D#44"].contains(&sent) {
            client.shutdown(std::net::Shutdown::Write)?;
        }
        let (status, said) = served.end()?;
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{sent:?}");
    }
    Ok(())
}

fn garbage(bench: &Bench) -> Result<(), Failed> {
    let long = format!("${}", "x".repeat(100_000));
    let odd =
        "$vCont;r0,#00$m,#99$Z2,zz,zz#00$qXfer:features:read:target.xml:zz,zz#00$P99=#00$bc#00";
    for (sent, codes) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", [2, 2]),
        (long.as_str(), [0, 2]),
        (odd, [0, 2]),
        ("$P0=zz#7f+$m0,ffffffff#fb$M0,1:zz#ff", [0, 2]),
    ] {
        let (mut served, mut client) = bench.serve()?;
        // It may have heard enough before all is said.
        let _ = client.write_all(sent.as_bytes());
        let _ = client.shutdown(std::net::Shutdown::Write);
        let (status, said) = served.end()?;
        let code = status.code().ok_or("killed by a signal")?;
        assert!(codes.contains(&code), "{sent:.40?}: {code}: {said}");
        assert!(said.lines().count() <= 1 && !said.contains("panicked"), "{sent:.40?}: {said}");
    }
    for (address, why) in [("0.0.0.0:0", "127.0.0.1:1234"), ("nonsense", "127.0.0.1:1234")] {
        let output = Command::new(RELOCHECK)
            .current_dir(bench.folder.path())
            .args(["replay", "case.toml", "--gdb", address])
            .output()?;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    Ok(())
}

fn hints(bench: &Bench) -> Result<(), Failed> {
    let output = Command::new(RELOCHECK)
        .current_dir(bench.folder.path())
        .args(["replay", "case.toml", "--gdb", "-"])
        .stdin(Stdio::null())
        .output()?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stderr)?;
    let lines: Vec<&str> =
        text.lines().filter(|line| line.starts_with("add-symbol-file ")).collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (line, offset) in lines.iter().zip([bench.load, bench.copy]) {
        assert!(line.ends_with(&format!("compressed/vmlinux -o {offset:#x}")), "{line}");
    }
    Ok(())
}
