// SPDX-License-Identifier: GPL-2.0-only
//! The bench that damaged kernels are put on: kernels from the cache, cases, runs, and what must be said of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::campaign;
use relocheck::case::{Case, MemoryEntry, MemoryKind, Protocol};
use relocheck::corpus::Corpus;
use relocheck::explain::symbols::SymbolFiles;
use relocheck::image::{Image, WordSize};
use relocheck::machine::{Engine, UnicornEngine};
use relocheck::oracle::{Judgement, Subject, Verdict};

pub use crate::common::blame::Who::{AndWhatFollows, Changed, Misled};
use crate::common::blame::blamed;
pub use crate::common::blame::{By, Who};
pub use crate::common::says::{assert_only, assert_says, hex, said};

/// 6.1 for x86_64, LZ4: the quickest.
pub const CLOUD: &str = "debian-cloud";
/// 6.1 for i386, xz.
pub const I386: &str = "debian-686-pae";
/// 7.x for x86_64, zstd.
pub const NEWEST: &str = "debian-cloud-newest";

const MIB: u64 = 1 << 20;
/// LOAD_PHYSICAL_ADDR of all these kernels.
pub const LINKED: u64 = 16 * MIB;
/// A load address that every kernel here stays at: its output overlaps the image as it was loaded.
pub const LOAD: u64 = 80 * MIB;
/// The load address from which every kernel here moves to [`LINKED`]: nothing overlaps.
pub const LOW: u64 = MIB;
/// The only other place for the kernel in a [`tempting`] case.
pub const GAP: u64 = 256 * MIB;
/// Far more blocks than any of these kernels needs.
const BUDGET: u64 = 1 << 32;

/// A real kernel.
pub struct Kernel {
    /// Its image, undamaged.
    pub image: Image,
    /// Where the image is.
    pub path: PathBuf,
    subject: OnceLock<Subject>,
    conforming: Mutex<Vec<(Case, Judgement)>>,
}

impl Kernel {
    fn open(path: PathBuf) -> Kernel {
        let image = Image::open(&path).expect("the cache holds bzImages");
        Kernel { image, path, subject: OnceLock::new(), conforming: Mutex::default() }
    }

    /// What the reference says of the undamaged image.
    pub fn subject(&self) -> &Subject {
        self.subject.get_or_init(|| subject(self.image.file().to_vec()))
    }

    /// Runs the undamaged image, which must conform. Each case is run once.
    pub fn conforms(&self, case: &Case) -> Judgement {
        let known = |conforming: &Vec<(Case, Judgement)>| {
            conforming
                .iter()
                .find(|(known, _)| known == case)
                .map(|(_, judgement)| judgement.clone())
        };
        let lock = || self.conforming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judgement) = known(&lock()) {
            return judgement;
        }
        let judgement = campaign::run(engine(), self.subject(), case).judgement;
        assert_eq!(judgement.verdict(), Verdict::Conforms, "the twin: {}", said(&judgement));
        lock().push((case.clone(), judgement.clone()));
        judgement
    }

    /// Judges a damaged copy of this image, for whose findings these are to blame; the undamaged one conforms with the same
    /// case.
    pub fn damaged(&self, file: Vec<u8>, case: &Case, who: &[Who]) -> Judgement {
        self.conforms(case);
        explained(file, case, self, who)
    }
}

/// Judges one run of an image file, for whose findings these are to blame; `twin` is what was damaged.
pub fn explained(file: Vec<u8>, case: &Case, twin: &Kernel, who: &[Who]) -> Judgement {
    let blamed = blamed(&file, case, &SymbolFiles::default());
    blamed.names_all(who, &twin.image);
    // Debian's kernels name themselves; those for i386 their functions only.
    let Subject { word, link, moved, .. } = twin.subject();
    for place in blamed.blame.iter().filter_map(|blame| blame.place.as_ref()) {
        let inside = link.field_offset(place.address as u32) < moved.len() as u64;
        let nameless = inside && place.entry.is_some() && place.symbol.is_none();
        assert!(!nameless || *word == WordSize::Bits32, "{place:?}");
    }
    blamed.judgement
}

/// The reference for an image file that can be judged.
pub fn subject(file: Vec<u8>) -> Subject {
    let image = Image::parse(file).expect("the damage leaves a bzImage");
    Subject::new(image).unwrap_or_else(|error| panic!("the damage leaves a kernel: {error}"))
}

/// Judges one run of an image file.
pub fn judge(file: Vec<u8>, case: &Case) -> Judgement {
    campaign::run(engine(), &subject(file), case).judgement
}

/// The engine of all tests but those about engines.
pub fn engine() -> &'static dyn Engine {
    static ENGINE: OnceLock<UnicornEngine> = OnceLock::new();
    ENGINE.get_or_init(|| UnicornEngine::with_patience(Duration::from_secs(60)))
}

/// A case without KASLR, on a PC with 1 GiB.
pub fn plain(kernel: &Kernel, load: u64) -> Case {
    case(kernel, load, "earlyprintk=ttyS0 nokaslr", 1 << 30)
}

/// A case with KASLR.
pub fn kaslr(kernel: &Kernel, load: u64) -> Case {
    case(kernel, load, "earlyprintk=ttyS0", 1 << 30)
}

/// A case in which KASLR chooses, and the reference cannot tell what.
pub fn unpredictable(kernel: &Kernel, load: u64) -> Case {
    case(kernel, load, "earlyprintk=ttyS0 acpi=off", 1 << 30)
}

/// A case with KASLR in which the only usable memory besides the stub's own has room for one
/// kernel, exactly: at [`GAP`].
///
/// All random numbers are equal, so that a stub that draws one less relocates the kernel for the
/// same address.
pub fn tempting(kernel: &Kernel) -> Case {
    let subject = kernel.subject();
    let own = u64::from(kernel.image.header().init_size.expect("a header with init_size"));
    let usable = MemoryEntry::usable;
    let memory =
        vec![usable(0, 0x9_fc00), usable(LOAD, LOAD + own), usable(GAP, GAP + subject.needed())];
    Case { timer: vec![0x1234], memory, ..kaslr(kernel, LOAD) }
}

/// The first page of the [`GAP`] that a kernel there needs, but that decompression does not write.
pub fn unwritten(kernel: &Kernel) -> u64 {
    let page = GAP + (kernel.subject().moved.len() as u64).next_multiple_of(0x1000);
    assert!(page + 0x1000 <= GAP + kernel.subject().needed(), "the kernel has such a page");
    page
}

/// A case by `command_line` on a PC whose RAM ends at `memory`.
pub fn case(kernel: &Kernel, load: u64, command_line: &str, memory: u64) -> Case {
    let entry = |start, end| MemoryEntry { start, end, kind: MemoryKind::Usable };
    Case {
        protocol: match kernel.subject().word {
            WordSize::Bits32 => Protocol::Bits32,
            WordSize::Bits64 => Protocol::Bits64,
        },
        load,
        command_line: Some(command_line.to_owned()),
        timer: vec![0x1234, 0xbeef],
        fill: 1,
        budget: BUDGET,
        memory: vec![entry(0, 0x9_fc00), entry(MIB, memory)],
        ..Case::default()
    }
}

/// The tests, with the kernels that they need.
pub struct Trials {
    trials: Vec<Trial>,
    kernels: Vec<(&'static str, Source)>,
}

#[derive(Clone)]
enum Source {
    Cached(PathBuf, Arc<OnceLock<Kernel>>),
    Missing(String),
}

impl Trials {
    /// Looks for the kernels, and says which are missing.
    pub fn new() -> Trials {
        let corpus = Corpus::open(None).map_err(|error| error.to_string());
        let kernels: Vec<_> = [CLOUD, I386, NEWEST]
            .into_iter()
            .map(|name| {
                let found = corpus.as_ref().map_err(Clone::clone).and_then(|c| cached(c, name));
                let source = match found {
                    Ok(path) => Source::Cached(path, Arc::default()),
                    Err(why) => Source::Missing(why),
                };
                (name, source)
            })
            .collect();
        for (name, source) in &kernels {
            if let Source::Missing(why) = source {
                eprintln!("SKIPPED: the tests on {name}: {why}");
            }
        }
        Trials { trials: Vec::new(), kernels }
    }

    /// Adds a test on one kernel; ignored if that is missing.
    pub fn on(&mut self, kernel: &'static str, name: &str, test: fn(&Kernel)) {
        self.on_with(kernel, name, test);
    }

    /// Adds a test that is more than a function.
    pub fn on_with(
        &mut self,
        kernel: &'static str,
        name: &str,
        test: impl FnOnce(&Kernel) + Send + 'static,
    ) {
        let (_, source) =
            self.kernels.iter().find(|(known, _)| *known == kernel).expect("a known kernel");
        let trial = match source.clone() {
            Source::Cached(path, opened) => Trial::test(name, move || {
                test(opened.get_or_init(|| Kernel::open(path)));
                Ok(())
            }),
            Source::Missing(why) => {
                Trial::test(name, move || Err(Failed::from(format!("SKIPPED: {kernel}: {why}"))))
                    .with_kind(format!("SKIPPED without {kernel}"))
                    .with_ignored_flag(true)
            }
        };
        self.trials.push(trial);
    }

    /// Adds a test that needs no kernel.
    pub fn anywhere(&mut self, name: &str, test: fn()) {
        self.trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    }

    /// Runs what the command line asks for.
    pub fn run(self) -> ExitCode {
        libtest_mimic::run(&Arguments::from_args(), self.trials).exit_code()
    }
}

fn cached(corpus: &Corpus, name: &str) -> Result<PathBuf, String> {
    let entry = corpus.entry(name).map_err(|error| error.to_string())?;
    let cached = corpus.cached(entry).map_err(|error| error.to_string())?;
    cached
        .map(|image| image.path)
        .ok_or_else(|| format!("not fetched: run `relocheck corpus fetch {name}`"))
}
