// SPDX-License-Identifier: GPL-2.0-only
//! Debian's kernels name themselves: their symbols are read from their own bytes.

use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use relocheck::explain::symbols::{SymbolFiles, Symbols};
use relocheck::image::{Image, WordSize};
use relocheck::oracle::Subject;

use crate::kernels;

/// Of each form one: 5.10, 6.1, 6.12, 6.18, 7.x, and i386.
const KERNELS: [&str; 7] = [
    "bullseye-cloud",
    "bullseye-686-pae",
    "debian-cloud",
    "debian-686-pae",
    "trixie-cloud",
    "backports-6.18-cloud",
    "debian-cloud-newest",
];

pub fn trials() -> Vec<Trial> {
    let trial = |kernel: &&str| kernels::trial(&format!("kallsyms_of_{kernel}"), kernel, kallsyms);
    KERNELS.iter().map(trial).collect()
}

fn kallsyms(image: PathBuf) -> Result<(), Failed> {
    let subject = Subject::new(Image::open(&image)?)?;
    let none = SymbolFiles::default();
    let symbols = Symbols::read(&subject, &none, &none)?;
    let missing = symbols.missing.iter().find(|why| why.contains("of the kernel"));
    assert_eq!(missing, None);
    let table = symbols.kernel();
    assert!(table.symbols().len() > 40_000, "{} symbols", table.symbols().len());
    let first = subject.link.map.wrapping_add(subject.link.physical);
    // Debian's i386 kernels have no symbols of data (KALLSYMS_ALL).
    let data: &[&str] = match subject.word {
        WordSize::Bits32 => &[],
        WordSize::Bits64 => &["linux_banner", "init_task"],
    };
    for name in ["start_kernel", "_stext"].iter().chain(data) {
        let symbol = table.by_name(name).unwrap_or_else(|| panic!("{name} is missing"));
        let end = first + subject.moved.len() as u64;
        assert!((first..end).contains(&symbol.address), "{name} is {:#x}", symbol.address);
    }
    // The name of a place is what stands there.
    if let Some(banner) = table.by_name("linux_banner") {
        let bytes = &subject.moved[(banner.address - first) as usize..];
        assert!(bytes.starts_with(b"Linux version "), "linux_banner is elsewhere");
    }
    Ok(())
}
