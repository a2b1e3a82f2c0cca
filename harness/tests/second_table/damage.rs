// SPDX-License-Identifier: GPL-2.0-only
//! Tables with one mistake, packed into an image again. What the entry is called is looked up in System.map here.

use std::collections::BTreeMap;
use std::fs;

use libtest_mimic::Failed;
use relocheck::corpus::build::CachedBuild;
use relocheck::image::{Image, Kernel, RelocKind, WordSize};
use relocheck::oracle::{Finding, Rule, Subject};
use relocheck::vmlinux::Vmlinux;

use relocheck::mutate::rebuild::edit_kernel;

use crate::common::rebuild::make_room;

/// The groups in the order of the file, each with its entries.
type Groups = Vec<(RelocKind, Vec<u32>)>;

struct Bench {
    image: Image,
    kernel: Kernel,
    vmlinux: Vmlinux,
    /// System.map by address.
    symbols: BTreeMap<u64, Vec<String>>,
}

impl Bench {
    fn open(build: &CachedBuild) -> Result<Bench, Failed> {
        let image = Image::open(&build.image())?;
        let kernel = image.kernel()?;
        let vmlinux = Vmlinux::open(&build.vmlinux())?;
        let mut symbols: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for line in fs::read_to_string(build.system_map())?.lines() {
            let mut words = line.split(' ');
            let address = u64::from_str_radix(words.next().ok_or("an address")?, 16)?;
            let name = words.nth(1).ok_or("a name")?;
            symbols.entry(address).or_default().push(name.to_owned());
        }
        Ok(Bench { image, kernel, vmlinux, symbols })
    }

    fn groups(&self) -> Groups {
        let groups = self.kernel.table.groups.iter().rev();
        groups.map(|group| (group.kind, group.entries.clone())).collect()
    }

    /// The image with another table. The ELF file grows or shrinks by what the table has less or more: its end is where the
    /// section headers end, and nobody reads those.
    fn with(&self, groups: &Groups) -> Result<Subject, Failed> {
        let words: Vec<u32> =
            groups.iter().flat_map(|(_, entries)| [&[0][..], entries].concat()).collect();
        let table = &self.kernel.table;
        let less = (table.words.len() as i64 - words.len() as i64) * 4;
        let place = if self.kernel.word == WordSize::Bits64 { 0x28 } else { 0x20 };
        let file = edit_kernel(&self.image, |payload| {
            make_room(payload, self.kernel.word);
            let headers = u32::from_le_bytes(payload[place..place + 4].try_into().unwrap());
            let headers = (i64::from(headers) + less) as u32;
            payload[place..place + 4].copy_from_slice(&headers.to_le_bytes());
            let start = (table.offset as i64 + less) as usize;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            payload[start..].copy_from_slice(&bytes);
        })?;
        self.judged(file)
    }

    fn judged(&self, file: Vec<u8>) -> Result<Subject, Failed> {
        let mut subject = Subject::new(Image::parse(file)?)?;
        assert_eq!(subject.image_findings, [], "nothing is wrong but against vmlinux");
        subject.compare(&self.vmlinux)?;
        Ok(subject)
    }

    /// Names of the last symbols before an address, and the distance.
    fn named(&self, entry: u32) -> Vec<String> {
        let address = match self.kernel.word {
            WordSize::Bits32 => entry.into(),
            WordSize::Bits64 => i64::from(entry as i32) as u64,
        };
        let (at, names) = self.symbols.range(..=address).next_back().expect("a symbol before it");
        names.iter().map(|name| format!("{name}+{:#x}", address - at)).collect()
    }

    /// Exactly this finding, at this entry.
    fn assert_found(&self, findings: &[Finding], kind: RelocKind, entry: u32, actual: &str) {
        let [finding] = findings else { panic!("expected one finding: {findings:#?}") };
        assert_eq!((finding.rule, &finding.actual[..]), (Rule::Table, actual), "{finding}");
        let head = format!("{kind} entry {entry:#x} (");
        let rest = finding.place.strip_prefix(&head).unwrap_or_else(|| panic!("{finding}"));
        let names = self.named(entry);
        let named = names.iter().any(|name| rest.starts_with(&format!("{name}, ")));
        assert!(named, "none of {names:?} is named: {finding}");
    }
}

/// Entries here and there in a group.
fn some(entries: &[u32]) -> [usize; 3] {
    [0, entries.len() / 2, entries.len() - 1]
}

pub fn dropped(build: &CachedBuild) -> Result<(), Failed> {
    let bench = Bench::open(build)?;
    let groups = bench.groups();
    for (number, (kind, entries)) in groups.iter().enumerate().filter(|(_, g)| !g.1.is_empty()) {
        for at in some(entries) {
            let mut damaged = groups.clone();
            let entry = damaged[number].1.remove(at);
            let subject = bench.with(&damaged)?;
            bench.assert_found(&subject.image_findings, *kind, entry, "no such entry");
            let total: usize = damaged.iter().map(|group| group.1.len()).sum();
            assert_eq!(subject.compared.expect("compared")?.equal, total);
        }
    }
    Ok(())
}

pub fn added(build: &CachedBuild) -> Result<(), Failed> {
    let bench = Bench::open(build)?;
    let groups = bench.groups();
    for (number, (kind, entries)) in groups.iter().enumerate().filter(|(_, g)| !g.1.is_empty()) {
        // Between two entries that are far apart, so that no field overlaps.
        let gap = entries.windows(2).position(|pair| pair[1] - pair[0] >= 0x40);
        let gap = gap.ok_or("no room between entries")?;
        let free = |entry: &u32| {
            groups.iter().all(|group| group.1.iter().all(|other| other.abs_diff(*entry) >= 8))
        };
        let entry = (entries[gap] + 8..entries[gap + 1]).find(free).ok_or("no free place")?;
        let mut damaged = groups.clone();
        damaged[number].1.insert(gap + 1, entry);
        let subject = bench.with(&damaged)?;
        bench.assert_found(&subject.image_findings, *kind, entry, "an entry");
    }
    Ok(())
}

pub fn moved(build: &CachedBuild) -> Result<(), Failed> {
    let bench = Bench::open(build)?;
    let groups = bench.groups();
    let find = |kind| groups.iter().position(|group| group.0 == kind);
    let (Some(from), Some(to)) = (find(RelocKind::Abs64), find(RelocKind::Abs32)) else {
        assert_eq!(groups.len(), 1, "i386 has one group");
        return Ok(());
    };
    for at in some(&groups[from].1) {
        let mut damaged = groups.clone();
        let entry = damaged[from].1.remove(at);
        damaged[to].1.push(entry);
        damaged[to].1.sort_unstable();
        let found = bench.with(&damaged)?.image_findings;
        bench.assert_found(&found, RelocKind::Abs64, entry, "it in the 32-bit group");
    }
    Ok(())
}

/// A byte of the kernel that is not the linker's.
pub fn payload(build: &CachedBuild) -> Result<(), Failed> {
    let bench = Bench::open(build)?;
    let segment = &bench.kernel.segments[0];
    let file = edit_kernel(&bench.image, |payload| {
        make_room(payload, bench.kernel.word);
        payload[segment.offset as usize + 0x1234] ^= 1;
    })?;
    let found = bench.judged(file)?.image_findings;
    let [finding] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((finding.rule, finding.bytes), (Rule::Memory, 1), "{finding}");
    assert!(finding.place.contains(".text, against vmlinux"), "{finding}");
    Ok(())
}
