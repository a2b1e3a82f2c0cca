// SPDX-License-Identifier: GPL-2.0-only
//! Package records, and the way from a metapackage to the package that holds the kernel.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::{self, BufRead};

use super::deb822::{Stanza, Stanzas};
use crate::corpus::names::Sha256Sum;

/// Every package of Debian's kernels is named so; other dependencies cannot lead to an image.
const PREFIX: &str = "linux-";

/// What the signed index says of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRecord {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The package file's size in bytes.
    pub size: u64,
    /// The package file's sum.
    pub sha256: Sha256Sum,
    /// Names of kernel packages that it needs, alternatives included.
    pub depends: Vec<String>,
}

/// The records of kernel packages, and of the packages in `also`, in what `apt-cache dumpavail`
/// prints. Records without a file are left out.
///
/// # Errors
/// The reader's own.
pub fn read_records(reader: impl BufRead, also: &BTreeSet<&str>) -> io::Result<Vec<PackageRecord>> {
    let mut records = Vec::new();
    for stanza in Stanzas::new(reader) {
        records.extend(record(&stanza?, also));
    }
    Ok(records)
}

fn record(stanza: &Stanza, also: &BTreeSet<&str>) -> Option<PackageRecord> {
    let package = stanza.get("Package")?;
    if !package.starts_with(PREFIX) && !also.contains(package) {
        return None;
    }
    let depends = ["Pre-Depends", "Depends"]
        .iter()
        .flat_map(|field| stanza.get(field).unwrap_or_default().split([',', '|']))
        .filter_map(|relation| {
            relation.split([' ', '\n', '\t', '(', ':', '[']).find(|w| !w.is_empty())
        })
        .filter(|name| name.starts_with(PREFIX))
        .map(str::to_owned)
        .collect();
    Some(PackageRecord {
        package: package.to_owned(),
        version: stanza.get("Version")?.to_owned(),
        size: stanza.get("Size")?.parse().ok()?,
        sha256: Sha256Sum::try_from(stanza.get("SHA256")?.to_owned()).ok()?,
        depends,
    })
}

/// The packages that may hold the kernel image of `package`: itself and what it depends on, the
/// likeliest first. Empty where there is no such package.
///
/// Up to 6.18 the image is in `linux-image-VERSION`, which is large; from 6.19 on that is a small
/// metapackage, and the image is in `linux-binary-VERSION`.
pub fn candidates<'a>(records: &'a [PackageRecord], package: &str) -> Vec<&'a PackageRecord> {
    let mut found: Vec<&PackageRecord> = Vec::new();
    let mut names = vec![package];
    while let Some(name) = names.pop() {
        if found.iter().any(|record| record.package == name) {
            continue;
        }
        if let Some(record) = records.iter().find(|record| record.package == name) {
            found.push(record);
            names.extend(record.depends.iter().map(String::as_str));
        }
    }
    found.sort_by_key(|record| {
        let kind = ["linux-binary-", "linux-image-"]
            .iter()
            .position(|prefix| record.package.starts_with(prefix))
            .unwrap_or(2);
        (kind, Reverse(record.size), &record.package)
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(package: &str, size: u64, depends: &str) -> String {
        format!(
            "Package: {package}\nVersion: 1-1\nDepends: {depends}\nSize: {size}\nSHA256: {:064}\n\n",
            size
        )
    }

    fn names(text: &str, package: &str) -> Vec<String> {
        let records = read_records(text.as_bytes(), &BTreeSet::new()).unwrap();
        candidates(&records, package).iter().map(|record| record.package.clone()).collect()
    }

    #[test]
    fn a_metapackage_leads_to_its_image_package() {
        let text = stanza("linux-image-amd64", 1480, "linux-image-6.1.0-41-amd64 (= 6.1.158-1)")
            + &stanza("linux-image-6.1.0-41-amd64", 69_000_000, "kmod, linux-base (>= 4.3~)")
            + &stanza("linux-base", 30_000, "")
            + &stanza("linux-image-other", 70_000_000, "");
        assert_eq!(
            names(&text, "linux-image-amd64"),
            ["linux-image-6.1.0-41-amd64", "linux-image-amd64", "linux-base"]
        );
    }

    #[test]
    fn a_split_kernel_is_looked_for_in_its_binary_package_first() {
        let text = stanza("linux-image-cloud-amd64", 1708, "linux-image-7.2-cloud-amd64 (= 7.2-1)")
            + &stanza(
                "linux-image-7.2-cloud-amd64",
                1916,
                "dracut | initramfs-tools (>= 0.120) | linux-initramfs-tool, \
                 linux-binary-7.2-cloud-amd64 (= 7.2-1), linux-modules-7.2-cloud-amd64 (= 7.2-1)",
            )
            + &stanza("linux-binary-7.2-cloud-amd64", 13_717_736, "")
            + &stanza("linux-modules-7.2-cloud-amd64", 23_451_956, "linux-image-cloud-amd64");
        assert_eq!(
            names(&text, "linux-image-cloud-amd64"),
            [
                "linux-binary-7.2-cloud-amd64",
                "linux-image-7.2-cloud-amd64",
                "linux-image-cloud-amd64",
                "linux-modules-7.2-cloud-amd64",
            ]
        );
    }

    #[test]
    fn a_package_that_is_not_there_has_no_candidates() {
        assert!(names(&stanza("linux-base", 1, ""), "linux-image-686-pae").is_empty());
    }

    #[test]
    fn records_without_a_file_and_other_packages_are_left_out() {
        let text =
            String::from("Package: linux-image-x\nVersion: 1\n\n") + &stanza("zlib1g", 1, "");
        assert!(read_records(text.as_bytes(), &BTreeSet::new()).unwrap().is_empty());
    }

    #[test]
    fn other_packages_that_are_asked_for_are_kept() {
        let text = stanza("zlib1g", 1, "") + &stanza("memtest86+", 2, "");
        let kept = read_records(text.as_bytes(), &BTreeSet::from(["memtest86+"])).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].package, "memtest86+");
    }
}
