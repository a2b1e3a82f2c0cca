// SPDX-License-Identifier: GPL-2.0-only
//! Text from outside, made fit for a page: names and values in a report may be anything.

/// More characters of a value are left out.
const LONGEST: usize = 240;

/// `text`, cut where it is longer than a reader wants to see.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A page in which nothing but line breaks is invisible: neither XML nor HTML can hold most control characters, and those
/// that turn the direction of writing make a name look like another.
pub fn printable(page: String) -> String {
    let hidden = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    match page.contains(hidden) {
        true => page.replace(hidden, "\u{fffd}"),
        false => page,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown_as_such() {
        let page = "a\u{1b}[31m\u{202e}b\0c\r\td\n\u{85}\u{ffff}é✗";
        assert_eq!(
            printable(page.into()),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}d\n\u{fffd}\u{fffd}é✗"
        );
        assert_eq!(printable("as it is\n".into()), "as it is\n");
    }

    #[test]
    fn long_values_end_at_a_character() {
        let long = "é".repeat(LONGEST + 1);
        assert_eq!(shown(&long).chars().count(), LONGEST + 1);
        assert!(shown(&long).ends_with("é…"));
        assert_eq!(shown(&long[2..]), long[2..]);
    }
}
