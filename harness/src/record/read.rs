// SPDX-License-Identifier: GPL-2.0-only
//! Reads a report. The file may come from anyone: it is bounded in size, its version is looked at first, and whatever is
//! wrong with it is said in one line.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Facts, Report, VERSION};

/// The largest report that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// A message does not quote more of a file than this many characters, and this many of the place in it.
const MAX_MESSAGE: usize = 240;
const MAX_PLACE: usize = 100;

/// A report that cannot be used. The message is one line that names file, field and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ReportError {
    /// The file.
    pub path: String,
    /// What is wrong, and where.
    pub problem: String,
}

impl Report {
    /// Reads a report from a file.
    ///
    /// # Errors
    ///
    /// It is no regular file of at most 256 MiB, or no report of the version that is understood.
    pub fn read(path: &Path) -> Result<Report, ReportError> {
        let named = |problem| ReportError { path: path.display().to_string(), problem };
        let metadata = std::fs::metadata(path).map_err(|error| named(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return Err(named("expected a report, a file of at most 256 MiB".into()));
        }
        let mut bytes = Vec::new();
        // It may grow while it is read.
        let file = std::fs::File::open(path).map(|file| file.take(MAX_FILE));
        file.and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|error| named(error.to_string()))?;
        Report::parse(&bytes).map_err(named)
    }

    /// Reads a report from JSON.
    ///
    /// # Errors
    ///
    /// One line: the field, what is wrong with it, and the line of the text.
    pub fn parse(json: &[u8]) -> Result<Report, String> {
        check_version(json)?;
        let report: Report = deserialize(&mut serde_json::Deserializer::from_slice(json))?;
        match report.images.iter().position(|image| image.facts.is_none() && image.error.is_none())
        {
            Some(number) => Err(facts_problem(json, number)),
            None => Ok(report),
        }
    }
}

/// A report of another version is refused by its number and not by its first unknown field.
fn check_version(json: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Head {
        version: Option<Box<RawValue>>,
    }
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err("expected a report, a JSON object".into());
    }
    let head: Head =
        serde_json::from_slice(json).map_err(|error| short(&format!("not JSON: {error}")))?;
    let found = head.version.as_ref().map_or("none", |version| version.get());
    match found == VERSION.to_string() {
        true => Ok(()),
        false => Err(short(&format!("version: expected {VERSION}, found {found}"))),
    }
}

/// What is wrong with the facts of an image that has no `error` either: as all of them may be absent together, a mistake
/// in one makes serde take them for absent.
fn facts_problem(json: &[u8], number: usize) -> String {
    #[derive(Deserialize)]
    struct Images<'a> {
        #[serde(borrow)]
        images: Vec<&'a RawValue>,
    }
    let place = format!("images[{number}]");
    let images: Option<Images<'_>> = serde_json::from_slice(json).ok();
    let image = images.as_ref().and_then(|images| images.images.get(number));
    let problem = image.and_then(|image| {
        deserialize::<Facts>(&mut serde_json::Deserializer::from_str(image.get())).err()
    });
    let problem = problem.unwrap_or_else(|| "expected what the image is, or an `error`".into());
    match problem.starts_with("missing") {
        true => short(&format!("{place}: {problem}, or an `error`")),
        false => short(&format!("{place}.{problem}")),
    }
}

fn deserialize<'de, T: Deserialize<'de>>(
    json: &mut serde_json::Deserializer<impl serde_json::de::Read<'de>>,
) -> Result<T, String> {
    let value = serde_path_to_error::deserialize(&mut *json).map_err(|error| {
        let place = error.path().to_string();
        let place = if place == "." { String::new() } else { cut(&place, MAX_PLACE) + ": " };
        short(&format!("{place}{}", error.inner()))
    })?;
    json.end().map_err(|error| short(&error.to_string()))?;
    Ok(value)
}

/// One line of bounded length, whatever the file had in the place.
fn short(message: &str) -> String {
    cut(&message.replace(char::is_control, " "), MAX_MESSAGE)
}

fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for report in [samples::everything(), samples::plain()] {
            let json = report.to_json().unwrap();
            assert_eq!(Report::parse(json.as_bytes()), Ok(report));
        }
    }

    fn error(from: &str, to: &str) -> String {
        let json = samples::everything().to_json().unwrap();
        assert!(json.contains(from), "{from:?} is not in {json}");
        Report::parse(json.replacen(from, to, 1).as_bytes()).unwrap_err()
    }

    #[test]
    fn errors_are_one_line_that_names_the_field() {
        for (from, to, expected) in [
            ("\"version\": 2", "\"version\": 1", "version: expected 2, found 1"),
            ("\"version\": 2", "\"version\": 3000000000000", "version: expected 2, found 3"),
            ("\"version\": 2", "\"version\": \"2\"", "version: expected 2, found \"2\""),
            ("\"version\": 2,", "", "version: expected 2, found none"),
            ("\"seed\": 7", "\"seed\": -7", "seed: invalid value: integer `-7`, expected u64"),
            ("\"seed\": 7", "\"seed\": 7, \"mood\": 1", "unknown field `mood`"),
            ("\"word_bits\": 64", "\"word_bits\": \"64\"", "images[0].word_bits: invalid type"),
            ("\"sha256\"", "\"sha512\"", "images[0]: missing field `sha256`"),
            ("\"conforming\": 1", "\"conforming\": 0.5", "images[0].summary.conforming: invalid"),
            ("\"load\": \"0x1200000\"", "\"load\": 5", "images[0].cases[1].load: invalid type"),
            ("\"rule\": \"table\"", "\"rule\": \"chair\"", "unknown variant `chair`"),
            ("\"of\": 4", "\"of\": 4e9", "campaign.partition.of: invalid type"),
            ("\"images\": [", "\"images\": [[],", "images[0]"),
        ] {
            let error = error(from, to);
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
            assert!(!error.contains('\n'), "{error:?}");
        }
        assert_eq!(Report::parse(b"[2]").unwrap_err(), "expected a report, a JSON object");
        assert!(Report::parse(b"{\"version\": 2").unwrap_err().starts_with("not JSON: EOF"));
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        let deep =
            format!("{{\"version\": 2, \"seed\": 1, \"images\": [{{\"x\": {open}{close}}}]}}");
        assert!(Report::parse(deep.as_bytes()).unwrap_err().contains("recursion limit"));
        let long = format!("{{\"version\": \"{}\n\"}}", "x".repeat(1 << 20));
        assert!(Report::parse(long.as_bytes()).unwrap_err().len() < 300);
    }

    #[test]
    fn no_directory_and_no_device_is_read() {
        for path in ["/", "/dev/zero"] {
            let error = Report::read(Path::new(path)).unwrap_err().to_string();
            assert_eq!(error, format!("{path}: expected a report, a file of at most 256 MiB"));
        }
        let error = Report::read(Path::new("absent.json")).unwrap_err().to_string();
        assert!(error.starts_with("absent.json: "), "{error}");
    }

    proptest! {
        #[test]
        fn no_damage_makes_the_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut json = samples::everything().to_json().unwrap().into_bytes();
            let at = at.index(json.len());
            json[at] = byte;
            if let Err(error) = Report::parse(&json) {
                prop_assert!(!error.contains('\n') && !error.is_empty());
            }
        }
    }
}
