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

    /// Whether it asks for an option.
    pub fn is_on(&self, symbol: &str) -> bool {
        self.options.get(symbol).is_some_and(|asked| asked.value == "y")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(texts: &[&str]) -> Config {
        let mut config = Config::default();
        for (number, text) in texts.iter().enumerate() {
            config.add(Path::new(&format!("{number}.config")), text).unwrap();
        }
        config
    }

    #[test]
    fn later_fragments_win_and_comments_are_nothing() {
        let config = config(&[
            "# what is not set\nCONFIG_B=y\nCONFIG_A=0x10\n",
            "\n# CONFIG_B is not set\n  CONFIG_C=\"a=b\"\n",
        ]);
        assert_eq!(config.to_text(), "CONFIG_A=0x10\n# CONFIG_B is not set\nCONFIG_C=\"a=b\"\n");
        assert!(!config.is_on("CONFIG_B") && !config.is_on("CONFIG_D"));
        assert!(config.with(Compressor::Lzo).is_on("CONFIG_KERNEL_LZO"));
    }

    #[test]
    fn a_line_that_is_no_option_is_named_with_its_place() {
        for line in ["RELOCATABLE=y", "CONFIG_X", "CONFIG_=y", "CONFIG_A B=y"] {
            let text = format!("CONFIG_A=y\n{line}\n");
            let error = Config::default().add(Path::new("x.config"), &text).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(&format!("x.config, line 2: `{line}`: expected")), "{error}");
        }
    }

    #[test]
    fn an_option_that_the_kernel_drops_is_named_with_its_fragment() {
        let config = config(&["CONFIG_A=y\n# CONFIG_B is not set\n", "CONFIG_C=0x2000\n"]);
        assert!(config.check("CONFIG_A=y\nCONFIG_C=0x2000\nCONFIG_D=y\n").is_ok());
        for (made, expected) in [
            ("CONFIG_C=0x2000\n", "0.config asks for `CONFIG_A=y`, but"),
            ("CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=0x2000\n", "make it `CONFIG_B=y`"),
            ("CONFIG_A=y\nCONFIG_C=0x1000\n", "make it `CONFIG_C=0x1000`"),
            ("CONFIG_A=y\n# CONFIG_C is not set\n", "make it `# CONFIG_C is not set`"),
        ] {
            let error = config.check(made).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        }
    }
}
