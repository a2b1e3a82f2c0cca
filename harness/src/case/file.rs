// SPDX-License-Identifier: GPL-2.0-only
//! Case files: a case and the image it is for, as TOML.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::Case;
use crate::toml_file;

/// The version of the format that this program writes and reads.
const VERSION: u32 = 1;

/// Which image a case is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRef {
    /// Where the image was when the case was written.
    pub path: PathBuf,
    /// SHA-256 of the whole file, in hex.
    pub sha256: String,
}

/// A case with the image it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Version of the format.
    version: u32,
    /// The image.
    pub image: ImageRef,
    /// The case.
    pub case: Case,
}

/// A case file that cannot be used. The message is one line and names file and field.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct CaseFileError {
    /// The file.
    pub path: String,
    /// What is wrong, and where.
    pub problem: String,
}

impl CaseFile {
    /// A case file for this image.
    pub fn new(image: ImageRef, case: Case) -> CaseFile {
        CaseFile { version: VERSION, image, case }
    }

    /// Reads a case file.
    ///
    /// # Errors
    ///
    /// It is no regular file of at most 1 MiB, or not TOML of this format: unknown fields are errors.
    pub fn read(path: &Path) -> Result<CaseFile, CaseFileError> {
        let error = |problem| CaseFileError { path: path.display().to_string(), problem };
        let text = toml_file::read(path, "a case file").map_err(error)?;
        CaseFile::parse(&text).map_err(error)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("cases have only types that TOML has")
    }

    /// The SHA-256 of the file's text, in hex.
    pub fn digest(&self) -> String {
        let mut hasher = sha2::Sha256::default();
        hasher.update(self.to_toml());
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads a case from TOML; an error is one line that says where and what.
    pub fn parse(text: &str) -> Result<CaseFile, String> {
        let file: CaseFile = toml_file::parse(text)?;
        if file.version != VERSION {
            return Err(format!("version: expected {VERSION}, found {}", file.version));
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::case::{MemoryEntry, MemoryKind, Protocol};

    fn file(load: u64, command_line: String, timer: Vec<u16>, alignment: Option<u64>) -> CaseFile {
        let memory = MemoryEntry { start: 0, end: u64::MAX, kind: MemoryKind::Nvs };
        let case = Case {
            protocol: Protocol::Bits64,
            load,
            kernel_alignment: alignment,
            command_line: Some(command_line),
            timer,
            fill: load.rotate_left(7),
            budget: 1,
            memory: vec![memory],
            ..Case::default()
        };
        CaseFile::new(ImageRef { path: "a b".into(), sha256: "00".into() }, case)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            load in any::<u64>(),
            command_line in any::<String>(),
            timer in proptest::collection::vec(any::<u16>(), 0..4),
            alignment in any::<Option<u64>>(),
        ) {
            let file = file(load, command_line, timer, alignment);
            prop_assert_eq!(CaseFile::parse(&file.to_toml()), Ok(file));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = CaseFile::parse(&text);
        }
    }

    #[test]
    fn the_documented_example_is_a_case() {
        let text = include_str!("../../../corpus/cases/FORMAT.md");
        let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let file = CaseFile::parse(example.expect("there is an example")).unwrap();
        assert_eq!(file.case.initrd.map(|initrd| initrd.start), Some(0x3f00_0000));
    }

    fn error(from: &str, to: &str) -> String {
        let text = file(0x100_0000, String::new(), vec![1], None).to_toml();
        assert!(text.contains(from), "{text}");
        CaseFile::parse(&text.replace(from, to)).unwrap_err()
    }

    #[test]
    fn errors_are_one_line_that_names_the_place() {
        for (from, to, expected) in [
            ("load = \"0x1000000\"", "load = 4096", "line 9 (load = 4096): "),
            ("load = \"0x1000000\"", "load = \"0xg\"", "\"0xg\""),
            ("budget = 1", "budget = 1\nspeed = 2", "unknown field `speed`"),
            ("version = 1", "version = 7", "version: expected 1, found 7"),
            ("nvs", "flash", "unknown variant `flash`"),
            ("protocol = \"64\"", "protocol = \"16\"", "unknown variant `16`"),
        ] {
            let error = error(from, to);
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
