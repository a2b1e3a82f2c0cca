// SPDX-License-Identifier: GPL-2.0-only
//! Case files: a case and the image it is for, as TOML.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Case;

/// The version of the format that this program writes and reads.
const VERSION: u32 = 1;
/// The largest case file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

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
pub enum CaseFileError {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is no case of the version that is understood.
    #[error("{path}: {problem}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong, and where.
        problem: String,
    },
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
        let name = path.display().to_string();
        let io = |error| CaseFileError::Io { path: name.clone(), error };
        let metadata = std::fs::metadata(path).map_err(io)?;
        let format = |problem: String| CaseFileError::Format { path: name.clone(), problem };
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Err(format("expected a case file, a text of at most 1 MiB".into()));
        }
        let text = std::fs::read(path).map_err(io)?;
        let text = String::from_utf8(text).map_err(|_| format("not UTF-8 text".into()))?;
        CaseFile::parse(&text).map_err(format)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("cases have only types that TOML has")
    }

    /// Reads a case from TOML; an error is one line that says where and what.
    pub fn parse(text: &str) -> Result<CaseFile, String> {
        let file: CaseFile = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| {
                let line = text[..span.start].matches('\n').count() + 1;
                let source = text.lines().nth(line - 1).unwrap_or_default().trim();
                format!("line {line} ({source}): ")
            });
            let message = error.message().replace('\n', " ");
            format!("{}{message}", place.unwrap_or_default())
        })?;
        if file.version != VERSION {
            return Err(format!("version: expected {VERSION}, found {}", file.version));
        }
        Ok(file)
    }
}
