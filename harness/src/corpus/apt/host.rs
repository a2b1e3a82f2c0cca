// SPDX-License-Identifier: GPL-2.0-only
//! What this machine says of itself: its Debian release and the mirrors that it uses.

use std::fs;
use std::path::Path;

use super::sources::{HostSource, Mirror, mirror_for, read_host_sources};
use crate::corpus::CorpusError;

/// The code name of this machine's Debian release (os-release(5)); `None` where it is not Debian.
pub fn codename() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
        .ok()?;
    parse_codename(&text)
}

fn parse_codename(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        os_release.lines().find_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            (name == key).then(|| value.trim_matches(['"', '\'']).to_owned())
        })
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME")).flatten()
}

/// The sources of this machine.
pub struct Host {
    codename: String,
    sources: Vec<HostSource>,
}

impl Host {
    /// Reads this machine's apt sources.
    ///
    /// # Errors
    /// The machine has no apt source at all.
    pub fn read() -> Result<Host, CorpusError> {
        let sources = read_host_sources(Path::new("/etc/apt"));
        if sources.is_empty() {
            return Err(CorpusError::NoMirror(String::from("this machine has no apt source")));
        }
        Ok(Host { codename: codename().unwrap_or_default(), sources })
    }

    /// Where this machine would get a suite of Debian.
    ///
    /// # Errors
    /// None of the machine's sources is for Debian.
    pub fn mirror(&self, suite: &str) -> Result<Mirror, CorpusError> {
        mirror_for(&self.sources, suite, &self.codename).ok_or_else(|| {
            CorpusError::NoMirror(format!("no apt source of this machine leads to {suite}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_has_a_debian_release() {
        let debian = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(parse_codename(debian).as_deref(), Some("bookworm"));
        let quoted = "VERSION_CODENAME=\"trixie\"\nID=\"debian\"\n";
        assert_eq!(parse_codename(quoted).as_deref(), Some("trixie"));
        assert_eq!(parse_codename("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n"), None);
        assert_eq!(parse_codename(""), None);
    }
}
