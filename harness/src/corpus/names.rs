// SPDX-License-Identifier: GPL-2.0-only
//! The words of a manifest that are safe to use as they stand: names, sums, paths in a package.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// The path of a file in a package: parts that are joined by `/`, none of them empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct MemberPath(String);

impl MemberPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MemberPath {
    type Error = String;

    fn try_from(text: String) -> Result<MemberPath, String> {
        let unsafe_part = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
        if text.split('/').any(unsafe_part) {
            Err(format!("`{text}` is no path in a package: use names joined by /"))
        } else {
            Ok(MemberPath(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_options_or_paths_are_refused() {
        for bad in ["-o", "../up", "a b", "", "Upper"] {
            assert!(Name::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(Name::try_from(String::from("linux-image-7.2.13+deb14-cloud-amd64")).is_ok());
    }

    #[test]
    fn paths_that_lead_out_of_a_package_are_refused() {
        for bad in ["", "/boot/x", "../x", "boot/../../x", "boot//x", "./x", "x/"] {
            assert!(MemberPath::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(MemberPath::try_from(String::from("boot/memtest86+x64.bin")).is_ok());
    }
}
