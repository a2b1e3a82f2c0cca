// SPDX-License-Identifier: GPL-2.0-only
//! The table of a good image is the one that follows from its `vmlinux`.

use std::path::Path;

use libtest_mimic::Failed;
use relocheck::corpus::build::CachedBuild;
use relocheck::image::Image;
use relocheck::oracle::Subject;
use relocheck::vmlinux::Vmlinux;

pub fn build(build: &CachedBuild) -> Result<(), Failed> {
    files(&build.image(), &build.vmlinux())
}

pub fn files(image: &Path, vmlinux: &Path) -> Result<(), Failed> {
    let mut subject = Subject::new(Image::open(image)?)?;
    subject.compare(&Vmlinux::open(vmlinux)?)?;
    let findings: Vec<String> = subject.image_findings.iter().map(|f| f.to_string()).collect();
    assert!(findings.is_empty(), "{findings:#?}");
    let compared = subject.compared.expect("compared")?;
    let entries: usize = subject.table.groups.iter().map(|group| group.entries.len()).sum();
    assert_eq!(compared.equal, entries);
    assert!(compared.equal > 1000, "only {} entries", compared.equal);
    assert!(compared.unlisted.is_empty(), "{:?}", compared.unlisted);
    Ok(())
}
