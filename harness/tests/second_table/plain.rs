// SPDX-License-Identifier: GPL-2.0-only
//! A `vmlinux` that is relocated from its own ELF relocations equals what the reference makes of the bzImage, in every
//! section that the kernel keeps.

use std::path::Path;

use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use relocheck::corpus::build::CachedBuild;
use relocheck::image::{Image, WordSize};
use relocheck::oracle::Subject;
use relocheck::reference::{Derived, Plain, relocate};
use relocheck::vmlinux::Vmlinux;

const ADDRESSES: u32 = 6;
const ALIGN: u64 = 0x20_0000;

pub fn build(build: &CachedBuild) -> Result<(), Failed> {
    files(&build.image(), &build.vmlinux())
}

pub fn files(image: &Path, vmlinux: &Path) -> Result<(), Failed> {
    let subject = Subject::new(Image::open(image)?)?;
    let vmlinux = Vmlinux::open(vmlinux)?;
    let derived = Derived::new(&vmlinux)?;
    let config = Config {
        cases: ADDRESSES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    };
    let places =
        (8u64..0x100, 0u64..0x80).prop_map(|(output, virt)| (output * ALIGN, virt * ALIGN));
    TestRunner::new(config).run(&places, |(output, virt)| {
        let link = subject.link;
        let virt = match link.word {
            WordSize::Bits32 => output,
            WordSize::Bits64 => link.physical + virt,
        };
        let mut packed = subject.moved.clone();
        let fail = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
        let first = relocate(&mut packed, &subject.table, link, output, virt);
        let first = first.map_err(|error| fail(&error))?;
        let mut plain = Plain::new(&vmlinux).map_err(|error| fail(&error))?;
        prop_assert_eq!(plain.link, link);
        let second = plain.relocate(&derived, output, virt).map_err(|error| fail(&error))?;
        prop_assert_eq!(first, second);
        let mut compared = 0;
        for (index, section) in vmlinux.loaded() {
            if vmlinux.is_taken_out(index) {
                continue;
            }
            let Some(load) = vmlinux.load_address(section) else { continue };
            let start = (load - link.physical) as usize;
            let range = start..start + section.sh_size as usize;
            let same = packed.get(range.clone()) == plain.bytes.get(range);
            prop_assert!(same, "section {}", vmlinux.section_name(index));
            compared += section.sh_size;
        }
        prop_assert!(compared > 1 << 20, "only {} bytes were compared", compared);
        Ok(())
    })?;
    Ok(())
}
