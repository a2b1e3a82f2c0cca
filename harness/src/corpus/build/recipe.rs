// SPDX-License-Identifier: GPL-2.0-only
//! Everything that an image depends on, and the sum of it: a build is made again when that changes.

use sha2::{Digest, Sha256};

use super::Compiler;
use super::matrix::Build;
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
