// SPDX-License-Identifier: GPL-2.0-only
//! Values on the command line: numbers and entry protocols.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::case::{Protocol, Protocols};
use crate::range::Range;

impl ValueEnum for Protocol {
    fn value_variants<'a>() -> &'a [Protocol] {
        &[Protocol::Bits32, Protocol::Bits64]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Protocol::Bits32 => "32",
            Protocol::Bits64 => "64",
        }))
    }
}

impl ValueEnum for Protocols {
    fn value_variants<'a>() -> &'a [Protocols] {
        &[Protocols::Only(Protocol::Bits32), Protocols::Only(Protocol::Bits64), Protocols::All]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Protocols::Only(protocol) => protocol.to_possible_value(),
            Protocols::All => Some(PossibleValue::new("all")),
        }
    }
}

/// An address, decimal or with 0x.
pub fn address(text: &str) -> Result<u64, String> {
    number(text).ok_or_else(|| "expected an address such as 0x1000000".into())
}

/// Addresses from the first to behind the last, such as 0x1000000..0x1001000.
pub fn range(text: &str) -> Result<Range, String> {
    let ends = text.split_once("..").and_then(|(start, end)| Some((number(start)?, number(end)?)));
    let range = ends.map(|(start, end)| Range::new(start, end)).filter(|range| !range.is_empty());
    range.ok_or_else(|| "expected addresses such as 0x1000000..0x1001000".into())
}

/// A size in bytes, with a suffix K, M, G or T for powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let shift = match text.chars().next_back().map(|suffix| suffix.to_ascii_uppercase()) {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => 0,
    };
    let digits = if shift > 0 { &text[..text.len() - 1] } else { text };
    let size = number(digits).and_then(|number| number.checked_mul(1 << shift));
    size.ok_or_else(|| "expected a size such as 512M or 8G".into())
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_two_ends() {
        assert_eq!(range("0x1000..0x1fff"), Ok(Range::new(0x1000, 0x1fff)));
        assert_eq!(range("16..17"), Ok(Range::new(16, 17)));
        for text in ["", "0x1000", "0x1000..", "..0x1000", "7..7", "8..7", "0..+1", "0...1", "a..b"]
        {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_suffixes() {
        for (text, bytes) in
            [("512M", 512 << 20), ("8G", 8 << 30), ("0x10k", 16 << 10), ("2T", 2 << 40), ("77", 77)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "8GB", "-1", "+1", "1.5G", "99999999T", "8g ", "é"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(address("0x1000000"), Ok(0x100_0000));
        assert!(address("0x+1").is_err() && address("16M").is_err());
    }
}
