// SPDX-License-Identifier: GPL-2.0-only
//! Lines of at most 80 columns.

use textwrap::core::display_width;
use textwrap::{Options, wrap};

use crate::report::plain::one_line;

/// No line is longer, in columns of a terminal.
pub const WIDTH: usize = 80;

/// A text while it is made.
#[derive(Default)]
pub struct Layout {
    /// What there is of it.
    pub text: String,
}

impl Layout {
    /// A line that is known to be short enough.
    pub fn line(&mut self, line: &str) {
        self.text += line;
        self.text += "\n";
    }

    /// The head of a part.
    pub fn heading(&mut self, heading: &str) {
        self.text += "\n";
        self.text += heading;
        self.text += ":\n";
    }

    /// A paragraph, `indent` columns in, and deeper from its second line on.
    pub fn paragraph(&mut self, indent: usize, text: &str) {
        let (first, rest) = (" ".repeat(indent), " ".repeat(indent + 2));
        let options = Options::new(WIDTH).initial_indent(&first).subsequent_indent(&rest);
        for line in wrap(one_line(text).trim(), options) {
            self.line(line.trim_end());
        }
    }

    /// A command that can be copied: a shell joins what a backslash at the end of a line continues, and a word stays whole
    /// if the next line is not indented.
    pub fn command(&mut self, indent: usize, command: &str) {
        let mut used = indent;
        self.text += &" ".repeat(indent);
        let mut quoted = false;
        for c in command.chars() {
            let needed = display_width(c.encode_utf8(&mut [0; 4]));
            // A backslash stays with what it quotes, and one column is left for the one at the end.
            if !quoted && used + needed + usize::from(c == '\\') >= WIDTH - 1 {
                self.text += "\\\n";
                used = 0;
            }
            self.text.push(c);
            used += needed;
            quoted = c == '\\' && !quoted;
        }
        self.text += "\n";
    }
}

/// At most `width` columns of `text`: what is too long loses its middle, as names differ at their ends.
pub fn elide(text: &str, width: usize) -> String {
    const GAP: &str = "...";
    let text = one_line(text);
    if display_width(&text) <= width {
        return text;
    }
    let room = width.saturating_sub(GAP.len());
    let start = fitting(text.chars(), room.div_ceil(2));
    let end = fitting(text.chars().rev(), room / 2);
    start + GAP + &end.chars().rev().collect::<String>()
}

fn fitting(chars: impl Iterator<Item = char>, room: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += display_width(c.encode_utf8(&mut [0; 4]));
        used <= room
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(elide("abcdefghij", 10), "abcdefghij");
        assert_eq!(elide("abcdefghijk", 10), "abcd...ijk");
        assert_eq!(elide("日本語日本語", 9), "日...語");
    }

    #[test]
    fn a_continued_command_is_the_same_for_the_shell() {
        let mut layout = Layout::default();
        layout.command(6, &format!("printf %s {}", "a\\ b\\'c".repeat(60)));
        assert!(layout.text.lines().count() > 5);
        let output = std::process::Command::new("sh").args(["-c", &layout.text]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "a b'c".repeat(60));
    }
}
