// SPDX-License-Identifier: GPL-2.0-only
//! The manifest: which kernels there are, where each comes from, and the named sets of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CorpusError;

/// The manifest that the binary carries.
const BUILT_IN: &str = include_str!("../../../corpus/manifest.toml");

/// The schema that this version of relocheck reads.
const SCHEMA: u32 = 1;

/// A name of an entry, a set, a suite or a package: lower-case letters, digits and `+-.`, first a
/// letter or a digit. Such a name is safe as a file name and as an argument of a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        if starts && text.chars().all(allowed) {
            Ok(Name(text))
        } else {
            Err(format!("`{text}` is no name: use lower-case letters, digits and +-."))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A SHA-256 sum as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Sha256Sum(String);

impl Sha256Sum {
    /// The sum of bytes that a hasher has taken in.
    pub fn of(hasher: sha2::Sha256) -> Sha256Sum {
        use sha2::Digest;
        use std::fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in hasher.finalize() {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Sha256Sum(text)
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Sha256Sum {
    type Error = String;

    fn try_from(text: String) -> Result<Sha256Sum, String> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Sha256Sum(text))
        } else {
            Err(format!("`{text}` is no SHA-256 sum: 64 lower-case hexadecimal digits"))
        }
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One kernel image of the corpus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What users call it.
    pub name: Name,
    /// Why it is in the corpus, for people.
    pub description: String,
    /// Where it comes from.
    pub source: Source,
    /// Pins the entry to the image of exactly this sum; without it the entry follows its source.
    pub sha256: Option<Sha256Sum>,
}

/// Where an image comes from: one variant for each kind of registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A package of the Debian archive.
    Debian(DebianSource),
}

/// A package of the Debian archive, and the suites that are asked for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianSource {
    /// Suites in order of preference; `host` is the release of the machine that runs relocheck.
    pub suites: Vec<Name>,
    /// The package architecture.
    pub architecture: Architecture,
    /// The package, or a metapackage whose dependencies lead to it.
    pub package: Name,
}

/// A Debian architecture that has bzImage kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit.
    Amd64,
    /// 32-bit.
    I386,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Architecture::Amd64 => "amd64",
            Architecture::I386 => "i386",
        })
    }
}

/// A manifest whose names all resolve.
#[derive(Clone, Debug)]
pub struct Manifest {
    entries: Vec<Entry>,
    sets: BTreeMap<String, Vec<usize>>,
}

#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "schema")]
    _schema: u32,
    sets: BTreeMap<Name, Vec<Name>>,
    #[serde(rename = "entry")]
    entries: Vec<Entry>,
}

impl Manifest {
    /// Reads the manifest in `file`, or the built-in one.
    ///
    /// # Errors
    /// The file cannot be read, or [`Manifest::parse`] refuses it.
    pub fn load(file: Option<&Path>) -> Result<Manifest, CorpusError> {
        let Some(path) = file else {
            return Manifest::parse("the built-in manifest", BUILT_IN);
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| CorpusError::Manifest {
            place: name.clone(),
            problem: error.to_string(),
        })?;
        Manifest::parse(&name, &text)
    }

    /// Parses the text of a manifest; `file` is what errors call it.
    ///
    /// # Errors
    /// Not TOML, another schema, an unknown or missing field, an unusable value, a set that names
    /// no entry: always with the file and the field, and the line where there is one.
    pub fn parse(file: &str, text: &str) -> Result<Manifest, CorpusError> {
        let refuse = |place: String, problem: String| CorpusError::Manifest { place, problem };
        let syntax = |error: toml::de::Error| {
            let place = match error.span() {
                Some(span) => {
                    let before = text.get(..span.start).unwrap_or_default();
                    format!("{file}, line {}", before.matches('\n').count() + 1)
                }
                None => file.to_owned(),
            };
            refuse(place, error.message().replace('\n', " "))
        };

        // The schema is looked at first: a later one may well have fields that are unknown here.
        let versioned: Versioned = toml::from_str(text).map_err(syntax)?;
        if versioned.schema != SCHEMA {
            return Err(refuse(
                file.to_owned(),
                format!(
                    "`schema` is {}, this relocheck reads schema {SCHEMA}; use a matching version",
                    versioned.schema
                ),
            ));
        }

        let document: Document = toml::from_str(text).map_err(syntax)?;
        let problem = |problem: String| refuse(file.to_owned(), problem);
        let mut index = BTreeMap::new();
        for (position, entry) in document.entries.iter().enumerate() {
            if index.insert(entry.name.as_str(), position).is_some() {
                return Err(problem(format!("`entry.name`: `{}` is there twice", entry.name)));
            }
            let Source::Debian(source) = &entry.source;
            if source.suites.is_empty() {
                return Err(problem(format!(
                    "entry `{}`: `source.debian.suites` names no suite",
                    entry.name
                )));
            }
        }
        let mut sets = BTreeMap::new();
        for (set, members) in &document.sets {
            if members.is_empty() {
                return Err(problem(format!("`sets.{set}` is empty")));
            }
            let mut positions = Vec::with_capacity(members.len());
            for member in members {
                let position = index.get(member.as_str()).copied().ok_or_else(|| {
                    problem(format!("`sets.{set}` names `{member}`, which is no entry"))
                })?;
                if positions.contains(&position) {
                    return Err(problem(format!("`sets.{set}` names `{member}` twice")));
                }
                positions.push(position);
            }
            sets.insert(set.to_string(), positions);
        }
        drop(index);
        Ok(Manifest { entries: document.entries, sets })
    }

    /// The entries of a set in the manifest's order; `None` where there is no such set.
    pub fn set(&self, name: &str) -> Option<Vec<&Entry>> {
        let positions = self.sets.get(name)?;
        Some(positions.iter().filter_map(|&position| self.entries.get(position)).collect())
    }

    /// The entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name.as_str() == name)
    }

    /// The names of all sets, sorted.
    pub fn set_names(&self) -> Vec<&str> {
        self.sets.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
[[entry]]
name = "one"
description = "a kernel"
source.debian = { suites = ["host"], architecture = "amd64", package = "linux-image-amd64" }
"#;

    fn refusal(text: &str) -> String {
        match Manifest::parse("m.toml", text) {
            Ok(_) => String::from("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_built_in_manifest_is_valid_and_has_its_sets() {
        let manifest = Manifest::load(None).unwrap();
        assert_eq!(manifest.set_names(), ["default", "generations"]);
        let default = manifest.set("default").unwrap();
        assert!(default.iter().any(|entry| {
            let Source::Debian(source) = &entry.source;
            source.architecture == Architecture::I386
        }));
        assert!(manifest.set("nightly").is_none());
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_name_and_line() {
        let text = format!("schema = 1\n[sets]\nall = [\"one\"]\n{ENTRY}colour = \"red\"\n");
        let refusal = refusal(&text);
        assert!(refusal.contains("m.toml, line"), "{refusal}");
        assert!(refusal.contains("`colour`"), "{refusal}");
    }

    #[test]
    fn an_unknown_registry_is_refused() {
        let text = "schema = 1\n[sets]\n[[entry]]\nname = \"one\"\ndescription = \"\"\nsource.floppy = {}\n";
        assert!(refusal(text).contains("`floppy`"), "{}", refusal(text));
    }

    #[test]
    fn a_later_schema_is_named_before_its_unknown_fields() {
        let refusal = refusal("schema = 2\nnovelty = true\n");
        assert!(refusal.contains("`schema` is 2"), "{refusal}");
    }

    #[test]
    fn a_set_must_name_entries_that_exist_and_only_once() {
        let missing = refusal(&format!("schema = 1\n[sets]\nall = [\"two\"]\n{ENTRY}"));
        assert!(missing.contains("`sets.all` names `two`"), "{missing}");
        let twice = refusal(&format!("schema = 1\n[sets]\nall = [\"one\", \"one\"]\n{ENTRY}"));
        assert!(twice.contains("twice"), "{twice}");
        let empty = refusal(&format!("schema = 1\n[sets]\nall = []\n{ENTRY}"));
        assert!(empty.contains("is empty"), "{empty}");
    }

    #[test]
    fn names_that_could_be_options_or_paths_are_refused() {
        for bad in ["-o", "../up", "a b", "", "Upper"] {
            assert!(Name::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Name::try_from(String::from("linux-image-7.2.13+deb14-cloud-amd64")).is_ok());
    }

    #[test]
    fn a_pin_must_be_a_sha256_sum() {
        let text = format!("schema = 1\n[sets]\n{ENTRY}sha256 = \"abc\"\n");
        assert!(refusal(&text).contains("SHA-256"), "{}", refusal(&text));
    }
}
