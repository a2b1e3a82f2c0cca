// SPDX-License-Identifier: GPL-2.0-only
//! The version string that the setup code carries (boot.rst, field kernel_version).

use std::fmt;

use super::header::SetupHeader;

/// The longest version string that is shown, in bytes; real ones have about 120.
const MAX_VERSION: usize = 512;

/// A kernel release as `uname -r` prints it, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// 6 in 6.1.192.
    pub major: u32,
    /// 1 in 6.1.192.
    pub minor: u32,
    /// 192 in 6.1.192; `None` when the release does not name one. Distributions often leave it at 0.
    pub patch: Option<u32>,
    /// The whole release, local version included, for example "6.1.0-56-amd64".
    pub text: String,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Release {
    /// Takes the release from a version string, whose first word it is; `None` if that word does not begin with
    /// two numbers, as in an image that is no Linux kernel.
    pub fn from_version(version: &str) -> Option<Release> {
        let text = version.split(' ').next()?;
        let numeric = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut numbers = numeric.split('.').map(|part| part.parse::<u32>().ok());
        Some(Release {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next().flatten(),
            text: text.to_owned(),
        })
    }
}

/// Reads the version string: printable ASCII, anything else replaced by '?', at most [`MAX_VERSION`] bytes.
pub(super) fn version_string(header: &SetupHeader, file: &[u8]) -> Option<String> {
    // The string has to lie in the setup code, and 0x200 is the last sector's end where 0 means "no string".
    let start = usize::from(header.kernel_version).checked_add(0x200).filter(|&at| at != 0x200)?;
    let setup = file.get(..header.setup_size())?;
    let bytes = setup.get(start..)?;
    let text: String = bytes
        .iter()
        .take(MAX_VERSION)
        .take_while(|&&byte| byte != 0)
        .map(|&byte| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' })
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::Fixture;

    #[test]
    fn takes_releases_apart() {
        let numbers = |text: &str| Release::from_version(text).map(|r| (r.major, r.minor, r.patch));
        assert_eq!(numbers("6.1.0-56-amd64 (a@b) #1 SMP"), Some((6, 1, Some(0))));
        assert_eq!(numbers("7.3-rc7 (a@b)"), Some((7, 3, None)));
        assert_eq!(numbers("2.6.34.7"), Some((2, 6, Some(34))));
        assert_eq!(numbers("6.12.107+deb13-cloud-amd64"), Some((6, 12, Some(107))));
        assert_eq!(numbers("Memtest86+ v6.10"), None);
        assert_eq!(numbers("99999999999.1"), None);
        assert_eq!(numbers(""), None);
    }

    #[test]
    fn version_strings_are_safe_to_print() {
        let string = |kernel_version: &str, pointer: u16| {
            let fixture = Fixture {
                kernel_version: kernel_version.to_owned(),
                ..Fixture::with_payload(Vec::new())
            };
            let mut file = fixture.build();
            file[0x20e..0x210].copy_from_slice(&pointer.to_le_bytes());
            version_string(&SetupHeader::parse(&file).unwrap(), &file)
        };
        assert_eq!(string("6.1 \x1b[2J\n", 0x100).unwrap(), "6.1 ?[2J?");
        assert_eq!(string(&"x".repeat(1000), 0x100).unwrap().len(), MAX_VERSION);
        assert_eq!(string("6.1", 0), None);
        assert_eq!(string("6.1", 0xfff0), None);
    }
}
