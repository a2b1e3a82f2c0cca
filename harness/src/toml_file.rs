// SPDX-License-Identifier: GPL-2.0-only
//! Small TOML files that people write: read with a limit, and with errors of one line.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads the text file at `path`, which should be `what`; an error says what is wrong, but not with which file.
pub fn read(path: &Path, what: &str) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(format!("expected {what}, a text of at most 1 MiB"));
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

#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

/// Reads a value from TOML in which `schema` says which version of the format it is; an error is one line that says where
/// and what. Another version is told before what is unknown in it.
pub fn parse_versioned<T: DeserializeOwned>(text: &str, schema: u32) -> Result<T, String> {
    let Versioned { schema: found } = parse(text)?;
    match found == schema {
        true => parse(text),
        false => Err(format!(
            "schema: expected {schema}, found {found}, which another version of relocheck reads"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        #[serde(rename = "schema")]
        _schema: u32,
        name: String,
    }

    #[test]
    fn an_error_names_the_line_and_another_version_comes_first() {
        let refusal = |text: &str| parse_versioned::<Document>(text, 1).unwrap_err();
        assert_eq!(parse_versioned::<Document>("schema = 1\nname = 'é'", 1).unwrap().name, "é");
        let unknown = refusal("schema = 1\nname = 'é'\n colour = 3");
        assert!(unknown.starts_with("line 3 (colour = 3): unknown field `colour`"), "{unknown}");
        let later = refusal("schema = 2\nnovelty = true");
        assert!(later.starts_with("schema: expected 1, found 2"), "{later}");
        assert!(refusal("name = 'a'").contains("missing field `schema`"));
        for text in ["schema =", "é", "schema = 1\nname = \"", "[[schema]]"] {
            assert!(!refusal(text).contains('\n'), "{text}");
        }
    }
}
