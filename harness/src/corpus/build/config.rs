// SPDX-License-Identifier: GPL-2.0-only
//! Configuration fragments: lines of a kernel's `.config`, put together from several files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{BuildError, Compressor};
use crate::corpus::CorpusError;

/// A value of an option that is off.
const OFF: &str = "n";

/// Options and their values, each with the fragment that it is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    options: BTreeMap<String, Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    value: String,
    from: PathBuf,
}

impl Config {
    /// Adds the lines of a fragment, which win over those before.
    ///
    /// # Errors
    /// A line that is neither an option nor a comment.
    pub fn add(&mut self, from: &Path, text: &str) -> Result<(), CorpusError> {
        for (number, line) in text.lines().enumerate() {
            match parse(line) {
                Line::Option(symbol, value) => {
                    let asked = Asked { value: value.to_owned(), from: from.to_owned() };
                    self.options.insert(symbol.to_owned(), asked);
                }
                Line::Comment => {}
                Line::Unknown => {
                    return Err(CorpusError::Manifest {
                        place: format!("{}, line {}", from.display(), number + 1),
                        problem: format!(
                            "`{line}`: expected CONFIG_NAME=VALUE or `# CONFIG_NAME is not set`"
                        ),
                    });
                }
            }
        }
        Ok(())
    }

    /// The same with a compressor chosen.
    pub fn with(&self, compressor: Compressor) -> Config {
        let mut config = self.clone();
        let from = PathBuf::from("the name of the build");
        config.options.insert(compressor.symbol(), Asked { value: String::from("y"), from });
        config
    }

    /// The lines, sorted by option: what `KCONFIG_ALLCONFIG` takes.
    pub fn to_text(&self) -> String {
        self.options.iter().map(|(symbol, asked)| line(symbol, &asked.value) + "\n").collect()
    }

    /// Compares with the configuration that the kernel has made of it: its rules drop an option
    /// silently where something that it depends on is off.
    ///
    /// # Errors
    /// The first option that did not come out as asked.
    pub fn check(&self, result: &str) -> Result<(), BuildError> {
        let made: BTreeMap<&str, &str> = result
            .lines()
            .filter_map(|line| match parse(line) {
                Line::Option(symbol, value) => Some((symbol, value)),
                _ => None,
            })
            .collect();
        for (symbol, asked) in &self.options {
            let got = made.get(symbol.as_str()).copied().unwrap_or(OFF);
            if got != asked.value {
                return Err(BuildError::Config {
                    fragment: asked.from.clone(),
                    asked: line(symbol, &asked.value),
                    got: line(symbol, got),
                });
            }
        }
        Ok(())
    }
}

fn line(symbol: &str, value: &str) -> String {
    match value {
        OFF => format!("# {symbol} is not set"),
        _ => format!("{symbol}={value}"),
    }
}

enum Line<'a> {
    Option(&'a str, &'a str),
    Comment,
    Unknown,
}

fn parse(line: &str) -> Line<'_> {
    let line = line.trim();
    let off = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"));
    let (symbol, value) = match (off, line.split_once('=')) {
        (Some(symbol), _) => (symbol, OFF),
        (None, _) if line.is_empty() || line.starts_with('#') => return Line::Comment,
        (None, Some(pair)) => pair,
        (None, None) => return Line::Unknown,
    };
    let named = symbol.strip_prefix("CONFIG_").is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    match (named, off) {
        (true, _) => Line::Option(symbol, value),
        (false, Some(_)) => Line::Comment,
        (false, None) => Line::Unknown,
    }
}
