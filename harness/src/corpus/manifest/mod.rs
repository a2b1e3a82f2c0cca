// SPDX-License-Identifier: GPL-2.0-only
//! The manifest: which kernels there are, where each comes from, and the named sets of them.

mod family;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use self::family::Family;
use self::sets::Member;
use super::CorpusError;
use super::names::{Name, Sha256Sum};
use super::source::Source;
use crate::toml_file;

/// The manifest that the binary carries.
const BUILT_IN: &str = include_str!("../../../../corpus/manifest.toml");

/// The schema that this version of relocheck reads.
const SCHEMA: u32 = 1;

/// One image of the corpus.
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
    /// For an image that is no relocatable kernel: words of the answer that relocheck must give.
    pub answer: Option<String>,
}

/// A manifest whose names all resolve.
#[derive(Clone, Debug)]
pub struct Manifest {
    entries: Vec<Entry>,
    sets: BTreeMap<String, Vec<usize>>,
    /// The sets that are no families, sorted.
    named: Vec<String>,
}

impl Entry {
    /// Whether the image of this sum may be the entry's: always, unless the entry is pinned to another.
    pub fn accepts(&self, sum: &Sha256Sum) -> bool {
        self.sha256.as_ref().is_none_or(|pin| pin == sum)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "schema")]
    _schema: u32,
    sets: BTreeMap<Name, Vec<Member>>,
    #[serde(rename = "entry", default)]
    entries: Vec<Entry>,
    #[serde(rename = "family", default)]
    families: Vec<Family>,
}

impl Document {
    fn resolve(self) -> Result<Manifest, String> {
        let Document { mut entries, mut sets, families, .. } = self;
        let named = sets.keys().map(Name::to_string).collect();
        for family in families {
            let set = family.set.clone();
            let members = family.entries()?;
            let names = members.iter().map(|entry| Member::Entry(entry.name.clone())).collect();
            if sets.insert(set.clone(), names).is_some() {
                return Err(format!("`family.set`: there are two sets `{set}`"));
            }
            entries.extend(members);
        }
        let mut index = BTreeMap::new();
        for (position, entry) in entries.iter().enumerate() {
            if index.insert(entry.name.as_str(), position).is_some() {
                return Err(format!("`entry.name`: `{}` is there twice", entry.name));
            }
            if matches!(&entry.source, Source::Debian(source) if source.suites.is_empty()) {
                return Err(format!(
                    "entry `{}`: `source.debian.suites` names no suite",
                    entry.name
                ));
            }
        }
        let sets = sets::resolve(&sets, &index)?;
        Ok(Manifest { entries, sets, named })
    }
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
        let text = toml_file::read(path, "a manifest")
            .map_err(|problem| CorpusError::Manifest { place: name.clone(), problem })?;
        Manifest::parse(&name, &text)
    }

    /// Parses the text of a manifest; `file` is what errors call it.
    ///
    /// # Errors
    /// Not TOML, another schema, an unknown or missing field, an unusable value, a set that names
    /// no entry or contains itself: always with the file and the field, and the line where there is one.
    pub fn parse(file: &str, text: &str) -> Result<Manifest, CorpusError> {
        let refuse = |problem| CorpusError::Manifest { place: file.to_owned(), problem };
        let document: Document = toml_file::parse_versioned(text, SCHEMA).map_err(refuse)?;
        document.resolve().map_err(refuse)
    }

    /// The entries of a set in the order in which it names them; `None` where there is no such set.
    pub fn set(&self, name: &str) -> Option<Vec<&Entry>> {
        let positions = self.sets.get(name)?;
        Some(positions.iter().filter_map(|&position| self.entries.get(position)).collect())
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name.as_str() == name)
    }

    /// The names of the sets that are no families, sorted.
    pub fn set_names(&self) -> &[String] {
        &self.named
    }
}
