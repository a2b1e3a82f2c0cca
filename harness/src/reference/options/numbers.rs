// SPDX-License-Identifier: GPL-2.0-only
//! The stub's readings of numbers (arch/x86/boot/string.c, lib/cmdline.c).

/// How many hexadecimal digits `text` may continue with, as numbers.
fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

fn has_hex_prefix(text: &[u8]) -> bool {
    matches!(text, [b'0', b'x' | b'X', ..])
}

/// The base that the first characters ask for.
fn base(text: &[u8]) -> u64 {
    match text {
        [b'0', b'x' | b'X', next, ..] if digit(*next).is_some() => 16,
        [b'0', ..] => 8,
        _ => 10,
    }
}

/// A number in the base that its first characters name, modulo 2^64, and what follows it (`simple_strtoull()`).
pub fn guessed(text: &[u8]) -> (u64, &[u8]) {
    let base = base(text);
    let mut rest = if base == 16 { &text[2..] } else { text };
    let mut number = 0u64;
    while let [first, tail @ ..] = rest {
        let Some(digit) = digit(*first).filter(|digit| *digit < base) else { break };
        number = number.wrapping_mul(base).wrapping_add(digit);
        rest = tail;
    }
    (number, rest)
}

/// A whole text that is one number below 2^`bits` (`boot_kstrtoul()`, `kstrtoull()`): with an optional plus sign before
/// and an optional newline behind. In base 0 the first characters name the base.
pub fn strict(text: &[u8], wanted: u64, bits: u32) -> Option<u64> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let base = if wanted == 0 { base(text) } else { wanted };
    let digits = if base == 16 && has_hex_prefix(text) { &text[2..] } else { text };
    let digits = digits.strip_suffix(b"\n").unwrap_or(digits);
    let number = digits.iter().try_fold(0u64, |number, &byte| {
        number.checked_mul(base)?.checked_add(digit(byte).filter(|digit| *digit < base)?)
    })?;
    (!digits.is_empty() && (bits >= 64 || number >> bits == 0)).then_some(number)
}

/// How sizes with a suffix are read (`memparse()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Modulo 2^64; a suffix without a number belongs to the size, which is then 0.
    Wrap,
    /// At most 2^64 - 1; a suffix without a number is no size.
    Saturate,
}

impl Sizes {
    /// The size at the start of `text`, in bytes, and what follows it.
    pub fn parse(self, text: &[u8]) -> (u64, &[u8]) {
        let (number, rest) = guessed(text);
        let steps = match rest.first() {
            Some(b'K' | b'k') => 1,
            Some(b'M' | b'm') => 2,
            Some(b'G' | b'g') => 3,
            Some(b'T' | b't') => 4,
            Some(b'P' | b'p') => 5,
            Some(b'E' | b'e') => 6,
            _ => return (number, rest),
        };
        match self {
            Sizes::Wrap => (number << (10 * steps), &rest[1..]),
            Sizes::Saturate if rest.len() == text.len() => (number, rest),
            Sizes::Saturate => {
                let fits = number <= u64::MAX >> (10 * steps);
                (if fits { number << (10 * steps) } else { u64::MAX }, &rest[1..])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_characters_name_the_base() {
        for (text, number, rest) in [
            ("123abc", 123, "abc"),
            ("0x1fG", 0x1f, "G"),
            ("0XfF", 0xff, ""),
            ("0x", 0, "x"),
            ("0xg", 0, "xg"),
            ("0778", 0o77, "8"),
            ("08", 0, "8"),
            ("-1", 0, "-1"),
            ("", 0, ""),
            ("18446744073709551617", 1, ""),
        ] {
            assert_eq!(guessed(text.as_bytes()), (number, rest.as_bytes()), "{text}");
        }
    }

    #[test]
    fn suffixes_multiply() {
        for (text, number, rest) in [
            ("1K", 1 << 10, ""),
            ("64m@", 64 << 20, "@"),
            ("0x10G$", 16 << 30, "$"),
            ("2T", 2 << 40, ""),
            ("1p", 1 << 50, ""),
            ("1E!", 1 << 60, "!"),
            ("1KK", 1 << 10, "K"),
            ("0x1e", 0x1e, ""),
            ("0x1eM", 0x1e << 20, ""),
        ] {
            for sizes in [Sizes::Wrap, Sizes::Saturate] {
                assert_eq!(sizes.parse(text.as_bytes()), (number, rest.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn overflow_and_lone_suffixes_are_read_in_two_ways() {
        assert_eq!(Sizes::Wrap.parse(b"17E"), (1 << 60, &b""[..]));
        assert_eq!(Sizes::Saturate.parse(b"17E"), (u64::MAX, &b""[..]));
        assert_eq!(Sizes::Wrap.parse(b"G"), (0, &b""[..]));
        assert_eq!(Sizes::Saturate.parse(b"G"), (0, &b"G"[..]));
    }

    #[test]
    fn strict_numbers_are_the_whole_text() {
        for (text, base, number) in [
            ("7f000", 16, Some(0x7f000)),
            ("0x7f000", 16, Some(0x7f000)),
            ("+10\n", 16, Some(16)),
            ("12", 0, Some(12)),
            ("012", 0, Some(10)),
            ("0x", 16, None),
            ("", 16, None),
            ("12 ", 0, None),
            ("-1", 0, None),
            ("1g", 16, None),
            ("9", 8, None),
            ("8", 8, None),
            ("1a", 10, None),
            ("10000000000000000", 16, None),
        ] {
            assert_eq!(strict(text.as_bytes(), base, 64), number, "{text}");
        }
        assert_eq!(strict(b"100000000", 16, 32), None);
        assert_eq!(strict(b"ffffffff", 16, 32), Some(0xffff_ffff));
    }
}
