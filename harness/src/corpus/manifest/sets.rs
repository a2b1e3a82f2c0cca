// SPDX-License-Identifier: GPL-2.0-only
//! Sets: lists of entries and of other sets.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::corpus::names::Name;

/// No set needs more sets within sets.
const DEEPEST: usize = 64;

/// A member of a set as a manifest writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum Member {
    /// An entry.
    Entry(Name),
    /// All of another set: `@NAME`.
    Set(Name),
}

impl TryFrom<String> for Member {
    type Error = String;

    fn try_from(text: String) -> Result<Member, String> {
        match text.strip_prefix('@') {
            Some(set) => Name::try_from(set.to_owned()).map(Member::Set),
            None => Name::try_from(text).map(Member::Entry),
        }
    }
}

/// Resolves all sets to positions of entries, each once and in the order in which they are named.
/// `index` has the position of every entry.
///
/// # Errors
/// A set is empty, names what is not there or one thing twice, or contains itself.
pub fn resolve(
    sets: &BTreeMap<Name, Vec<Member>>,
    index: &BTreeMap<&str, usize>,
) -> Result<BTreeMap<String, Vec<usize>>, String> {
    let mut resolver = Resolver { sets, index, done: BTreeMap::new(), open: Vec::new() };
    for set in sets.keys() {
        resolver.set(set)?;
    }
    Ok(resolver.done)
}

struct Resolver<'a> {
    sets: &'a BTreeMap<Name, Vec<Member>>,
    index: &'a BTreeMap<&'a str, usize>,
    done: BTreeMap<String, Vec<usize>>,
    /// The sets that are being resolved, the outermost first.
    open: Vec<&'a str>,
}

impl<'a> Resolver<'a> {
    fn set(&mut self, set: &'a Name) -> Result<Vec<usize>, String> {
        let name = set.as_str();
        if let Some(positions) = self.done.get(name) {
            return Ok(positions.clone());
        }
        if let Some(first) = self.open.iter().position(|open| *open == name) {
            let round = self.open.get(first..).unwrap_or_default().join("` contains `");
            return Err(format!("`sets`: `{round}` contains `{name}`, a circle"));
        }
        if self.open.len() >= DEEPEST {
            return Err(format!("`sets.{name}` is more than {DEEPEST} sets deep"));
        }
        let members = self.sets.get(set).map(Vec::as_slice).unwrap_or_default();
        if members.is_empty() {
            return Err(format!("`sets.{name}` is empty"));
        }
        self.open.push(name);
        let mut positions = Vec::new();
        let mut named = Vec::new();
        for member in members {
            let (key, found) = match member {
                Member::Entry(entry) => (entry.to_string(), vec![self.entry(name, entry)?]),
                Member::Set(other) if self.sets.contains_key(other) => {
                    (format!("@{other}"), self.set(other)?)
                }
                Member::Set(other) => {
                    return Err(format!("`sets.{name}` names `@{other}`, which is no set"));
                }
            };
            if named.contains(&key) {
                return Err(format!("`sets.{name}` names `{key}` twice"));
            }
            named.push(key);
            // Two sets may well have an entry in common.
            for position in found {
                if !positions.contains(&position) {
                    positions.push(position);
                }
            }
        }
        self.open.pop();
        self.done.insert(name.to_owned(), positions.clone());
        Ok(positions)
    }

    fn entry(&self, set: &str, entry: &Name) -> Result<usize, String> {
        let position = self.index.get(entry.as_str()).copied();
        position.ok_or_else(|| format!("`sets.{set}` names `{entry}`, which is no entry"))
    }
}
