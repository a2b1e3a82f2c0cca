// SPDX-License-Identifier: GPL-2.0-only
//! Families: many entries that differ in a few words, written down once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Entry;
use crate::corpus::names::{Name, Sha256Sum};
use crate::corpus::source::Source;

/// No family has more entries.
const LARGEST: usize = 10_000;

/// A pattern of entries. In `name`, `description` and every text of `source`, `{axis}` stands for
/// the values of that axis in turn: one entry for each combination.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// The name of the set that the entries make up.
    pub set: Name,
    name: String,
    description: String,
    source: toml::Value,
    each: BTreeMap<Name, Vec<String>>,
    /// Pins, by the name of the entry.
    #[serde(default)]
    sha256: BTreeMap<Name, Sha256Sum>,
}

impl Family {
    /// The entries, the last axis changing fastest (axes in alphabetical order).
    ///
    /// # Errors
    /// What is wrong, naming the field.
    pub fn entries(mut self) -> Result<Vec<Entry>, String> {
        let set = self.set.clone();
        let wrong = |problem: String| format!("family `{set}`: {problem}");
        for (axis, values) in &self.each {
            if values.is_empty() {
                return Err(wrong(format!("`each.{axis}` is empty")));
            }
            if values.iter().collect::<BTreeSet<_>>().len() != values.len() {
                return Err(wrong(format!("`each.{axis}` has a value twice")));
            }
            if !self.name.contains(&format!("{{{axis}}}")) {
                return Err(wrong(format!("`name` lacks `{{{axis}}}`: names would be the same")));
            }
        }
        let sizes = self.each.values().map(Vec::len);
        if sizes.fold(1_usize, usize::saturating_mul) > LARGEST {
            return Err(wrong(format!("`each` makes more than {LARGEST} entries")));
        }
        let mut entries = Vec::new();
        for words in combinations(&std::mem::take(&mut self.each)) {
            entries.push(self.entry(&words).map_err(wrong)?);
        }
        match self.sha256.keys().next() {
            Some(stray) => {
                Err(wrong(format!("`sha256` pins `{stray}`, which it has no entry for")))
            }
            None => Ok(entries),
        }
    }

    fn entry(&mut self, words: &[(String, String)]) -> Result<Entry, String> {
        let name = Name::try_from(fill(&self.name, words)?)?;
        let source = fill_value(&self.source, words)?;
        let source = Source::deserialize(source)
            .map_err(|error| format!("`source` of `{name}`: {}", error.message()))?;
        Ok(Entry {
            description: fill(&self.description, words)?,
            source,
            sha256: self.sha256.remove(&name),
            answer: None,
            name,
        })
    }
}

/// Every choice of one value for each axis.
fn combinations(each: &BTreeMap<Name, Vec<String>>) -> Vec<Vec<(String, String)>> {
    each.iter().fold(vec![Vec::new()], |chosen, (axis, values)| {
        let longer = |words: &Vec<(String, String)>, value: &String| {
            let mut words = words.clone();
            words.push((axis.to_string(), value.clone()));
            words
        };
        chosen
            .iter()
            .flat_map(|words| values.iter().map(move |value| longer(words, value)))
            .collect()
    })
}

/// The text with every `{axis}` replaced.
fn fill(pattern: &str, words: &[(String, String)]) -> Result<String, String> {
    let mut text = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (axis, after) =
            after.split_once('}').ok_or_else(|| format!("`{pattern}` lacks a closing brace"))?;
        let (_, value) = words
            .iter()
            .find(|(name, _)| name == axis)
            .ok_or_else(|| format!("`{pattern}` uses `{{{axis}}}`, which `each` does not have"))?;
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn fill_value(pattern: &toml::Value, words: &[(String, String)]) -> Result<toml::Value, String> {
    Ok(match pattern {
        toml::Value::String(text) => toml::Value::String(fill(text, words)?),
        toml::Value::Array(items) => toml::Value::Array(
            items.iter().map(|item| fill_value(item, words)).collect::<Result<_, _>>()?,
        ),
        toml::Value::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, value)| Ok((key.clone(), fill_value(value, words)?)))
                .collect::<Result<_, String>>()?,
        ),
        other => other.clone(),
    })
}
