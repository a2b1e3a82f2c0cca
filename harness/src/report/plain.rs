// SPDX-License-Identifier: GPL-2.0-only
//! Text that formats made of lines can hold: names, places and messages come from files that anyone may have written.

/// `text` in one line, with a space for each line break and each other control character.
pub fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    text.chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

/// `count` of something, with an s unless it is one.
pub fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left() {
        assert_eq!(one_line("a\n\x1b[31mb\u{9b}c\u{2028}é"), "a  [31mb c é");
    }
}
