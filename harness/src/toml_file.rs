// SPDX-License-Identifier: GPL-2.0-only
//! Small TOML files that people write: read with a limit, and with errors of one line.

use std::path::Path;

use serde::de::DeserializeOwned;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads the text file at `path`; an error says what is wrong, but not with which file.
pub fn read(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err("expected a text file of at most 1 MiB".into());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".into())
}

/// Reads a value from TOML; an error is one line that says where and what.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| {
            let line = text[..span.start].matches('\n').count() + 1;
            let source = text.lines().nth(line - 1).unwrap_or_default().trim();
            format!("line {line} ({source}): ")
        });
        format!("{}{}", place.unwrap_or_default(), error.message().replace('\n', " "))
    })
}
