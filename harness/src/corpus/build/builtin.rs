// SPDX-License-Identifier: GPL-2.0-only
//! The matrix and the fragments that the binary carries.

use std::path::PathBuf;

use crate::corpus::CorpusError;

/// What errors call the matrix.
pub const MATRIX_NAME: &str = "the built-in matrix";

/// The matrix.
pub const MATRIX: &str = include_str!("../../../../corpus/builds.toml");

macro_rules! fragments {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../corpus/config/", $name, ".config")))),*]
    };
}

const FRAGMENTS: [(&str, &str); 17] = fragments![
    "console",
    "efi",
    "fixed",
    "hotplug",
    "kaslr",
    "kexec",
    "la57",
    "no-kaslr",
    "pvh",
    "random-memory",
    "relocatable",
    "smp",
    "start-1m",
    "start-2m",
    "start-64m",
    "thin-lto",
    "tiny",
];

/// The place and the text of a fragment.
///
/// # Errors
/// The binary has no such fragment.
pub fn fragment(name: &str) -> Result<(PathBuf, String), CorpusError> {
    let place = format!("corpus/config/{name}.config");
    match FRAGMENTS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Ok((PathBuf::from(place), (*text).to_owned())),
        None => Err(CorpusError::Manifest {
            place,
            problem: String::from("this relocheck has no such fragment built in"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fragment_of_the_repository_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/config");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, FRAGMENTS.map(|(name, _)| format!("{name}.config")));
    }
}
