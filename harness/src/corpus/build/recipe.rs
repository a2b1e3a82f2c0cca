// SPDX-License-Identifier: GPL-2.0-only
//! Everything that an image depends on, and the sum of it: a build is made again when that changes.

use sha2::{Digest, Sha256};

use super::Compiler;
use super::matrix::Build;
use super::patch::Patch;
use super::source::SourceRecord;
use super::tools::Toolchain;
use crate::corpus::Sha256Sum;

/// Counts changes in how this program builds that give other images.
const RECIPE: u32 = 1;

/// The environment of every build: what else would get into the image from this machine
/// (Documentation/kbuild/reproducible-builds.rst).
pub const ENVIRONMENT: [(&str, &str); 6] = [
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "relocheck"),
    ("KBUILD_BUILD_HOST", "corpus"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
];

/// The arguments of make that are the same for the family's builds, wherever they are made.
pub fn make_arguments(build: &Build<'_>) -> Vec<String> {
    let mut arguments = vec![format!("ARCH={}", build.family.arch)];
    // Otherwise a source tree inside of someone's git repository has its release marked.
    arguments.push(String::from("LOCALVERSION="));
    if build.family.compiler == Compiler::Clang {
        arguments.push(String::from("LLVM=1"));
    }
    arguments.extend(build.family.make.iter().map(|(name, value)| format!("{name}={value}")));
    arguments
}

/// The sum of all that a build depends on but for its compressor: builds with the same one can be
/// made in the same tree.
pub fn family_digest(build: &Build<'_>, source: &SourceRecord, toolchain: &Toolchain) -> Sha256Sum {
    digest(build, source, toolchain, &build.family.config.to_text())
}

/// The sum of all that a build depends on.
pub fn build_digest(build: &Build<'_>, source: &SourceRecord, toolchain: &Toolchain) -> Sha256Sum {
    let config = build.family.config.with(build.compressor).to_text();
    digest(build, source, toolchain, &config)
}

/// The sum of all that a build with a patch depends on.
pub fn altered_digest(
    build: &Build<'_>,
    patch: &Patch,
    source: &SourceRecord,
    toolchain: &Toolchain,
) -> Sha256Sum {
    let mut hasher = Sha256::new();
    hasher.update(build_digest(build, source, toolchain).as_str());
    hasher.update(patch.text());
    Sha256Sum::of(hasher)
}

fn digest(
    build: &Build<'_>,
    source: &SourceRecord,
    toolchain: &Toolchain,
    config: &str,
) -> Sha256Sum {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        // With its length, so that no two lists of texts are the same bytes.
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(&RECIPE.to_string());
    add(source.sha256.as_str());
    add(&toolchain.compiler);
    add(&toolchain.linker);
    add(config);
    for (name, value) in ENVIRONMENT {
        add(name);
        add(value);
    }
    for argument in make_arguments(build) {
        add(&argument);
    }
    Sha256Sum::of(hasher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::build::matrix::Matrix;

    fn source(digit: &str) -> SourceRecord {
        SourceRecord {
            package: String::from("linux-source-6.1"),
            version: String::from("6.1.1-1"),
            suite: String::from("bookworm"),
            sha256: Sha256Sum::try_from(digit.repeat(64)).unwrap(),
        }
    }

    fn toolchain(compiler: &str) -> Toolchain {
        Toolchain { compiler: compiler.to_owned(), linker: String::from("ld 2") }
    }

    #[test]
    fn whatever_changes_an_image_changes_the_digest() {
        let matrix = Matrix::load(None).unwrap();
        let builds: Vec<Build<'_>> = matrix.builds().collect();
        let (source, toolchain) = (source("1"), toolchain("gcc 12"));
        let digest = |build| build_digest(build, &source, &toolchain);
        let mut seen = Vec::new();
        for build in builds.iter().filter(|build| build.family.series.as_str() == "6.1") {
            let sum = digest(build);
            assert!(!seen.contains(&sum), "{} is like another", build.name());
            seen.push(sum);
        }
        let first = builds.first().unwrap();
        for (source, toolchain) in [
            (&self::source("2"), &toolchain),
            (&source, &self::toolchain("gcc 13")),
            (&source, &Toolchain { linker: String::from("ld 3"), ..toolchain.clone() }),
        ] {
            assert_ne!(build_digest(first, source, toolchain), digest(first));
        }
        let patched = |to: &str| {
            let text = format!("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+{to}\n");
            altered_digest(first, &Patch::parse("p", &text).unwrap(), &source, &toolchain)
        };
        assert_ne!(patched("y"), digest(first));
        assert_ne!(patched("y"), patched("z"));
        let mut family = first.family.clone();
        family.make.insert(String::from("KCFLAGS"), String::from("-O3"));
        let flagged = Build { family: &family, compressor: first.compressor };
        assert_ne!(digest(&flagged), digest(first));
    }

    #[test]
    fn the_suite_that_a_source_is_from_and_a_description_change_nothing() {
        let matrix = Matrix::load(None).unwrap();
        let build = matrix.builds().next().unwrap();
        let toolchain = toolchain("gcc 12");
        let sum = build_digest(&build, &source("1"), &toolchain);
        let elsewhere = SourceRecord { suite: String::from("sid"), ..source("1") };
        assert_eq!(build_digest(&build, &elsewhere, &toolchain), sum);
        let family = crate::corpus::build::Family {
            description: String::from("other words"),
            ..build.family.clone()
        };
        let told = Build { family: &family, compressor: build.compressor };
        assert_eq!(build_digest(&told, &source("1"), &toolchain), sum);
    }

    #[test]
    fn the_compressors_of_a_family_share_a_tree_and_families_do_not() {
        let matrix = Matrix::load(None).unwrap();
        let builds: Vec<Build<'_>> = matrix.builds().collect();
        let digest = |build| family_digest(build, &source("1"), &toolchain("gcc 12"));
        let [gzip, bzip2, ..] = builds.as_slice() else { panic!("an empty matrix") };
        assert_eq!(gzip.family.name, bzip2.family.name);
        assert_eq!(digest(gzip), digest(bzip2));
        let other = builds.iter().find(|build| build.family.arch != gzip.family.arch).unwrap();
        assert_ne!(digest(gzip), digest(other));
    }
}
