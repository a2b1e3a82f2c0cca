// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own parser of command lines (`next_arg()`, lib/cmdline.c): arguments end at spaces that are not between
//! double quotes.

/// The arguments of a command line, taken one by one.
pub struct Arguments {
    /// The text with a NUL behind it. The parser ends the pieces that it returns by further NULs.
    buffer: Vec<u8>,
    next: usize,
}

/// One argument. The texts end at the first NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What is before the first equals sign.
    pub name: Vec<u8>,
    /// What is behind it, without quotes around it; `None` without an equals sign.
    pub value: Option<Vec<u8>>,
}

impl Arguments {
    /// Starts at the first argument of `text`, which has no NUL.
    pub fn new(text: &[u8]) -> Arguments {
        let mut buffer = text.to_vec();
        buffer.push(0);
        let mut arguments = Arguments { buffer, next: 0 };
        arguments.skip_spaces();
        arguments
    }

    fn skip_spaces(&mut self) {
        while is_space(self.buffer[self.next]) {
            self.next += 1;
        }
    }

    fn text(&self, at: usize) -> Vec<u8> {
        self.buffer[at..].iter().copied().take_while(|&byte| byte != 0).collect()
    }
}

impl Iterator for Arguments {
    type Item = Argument;

    fn next(&mut self) -> Option<Argument> {
        if self.buffer[self.next] == 0 {
            return None;
        }
        let quoted = self.buffer[self.next] == b'"';
        let start = self.next + usize::from(quoted);
        let mut in_quote = quoted;
        let mut equals = None;
        let mut end = start;
        while self.buffer[end] != 0 && (in_quote || !is_space(self.buffer[end])) {
            match self.buffer[end] {
                b'"' => in_quote = !in_quote,
                // An equals sign at the very start is a part of the name.
                b'=' if equals.is_none() && end > start => equals = Some(end),
                _ => {}
            }
            end += 1;
        }
        let ends_in_quote = |buffer: &[u8]| end > start && buffer[end - 1] == b'"';
        let value = equals.map(|equals| {
            self.buffer[equals] = 0;
            let mut value = equals + 1;
            if self.buffer[value] == b'"' {
                value += 1;
                if ends_in_quote(&self.buffer) {
                    self.buffer[end - 1] = 0;
                }
            }
            value
        });
        if quoted && ends_in_quote(&self.buffer) {
            self.buffer[end - 1] = 0;
        }
        self.next = end;
        if self.buffer[end] != 0 {
            self.buffer[end] = 0;
            self.next += 1;
        }
        self.skip_spaces();
        Some(Argument { name: self.text(start), value: value.map(|value| self.text(value)) })
    }
}

/// `isspace()` of lib/ctype.c, which knows Latin-1's space that does not break.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Vec<(String, Option<String>)> {
        let string = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Arguments::new(text).map(|a| (string(a.name), a.value.map(string))).collect()
    }

    #[test]
    fn table() {
        let none = |name: &str| (name.to_owned(), None);
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        for (text, expected) in [
            ("", vec![]),
            (" \t\n", vec![]),
            (" a b=1  c=", vec![none("a"), some("b", "1"), some("c", "")]),
            ("a=b=c", vec![some("a", "b=c")]),
            ("=a", vec![none("=a")]),
            ("=a=b", vec![some("=a", "b")]),
            ("a=\"b c\" d", vec![some("a", "b c"), none("d")]),
            ("\"a=b c\" d", vec![some("a", "b c"), none("d")]),
            ("\"a b\"", vec![none("a b")]),
            ("a=\"b c", vec![some("a", "b c")]),
            ("a=b\" \"c d", vec![some("a", "b\" \"c"), none("d")]),
            ("a=\"b\"c d", vec![some("a", "b\"c"), none("d")]),
            ("x=a\"b c\" d", vec![some("x", "a\"b c\""), none("d")]),
            ("\"a b\"c d", vec![none("a b\"c"), none("d")]),
            ("a=\"", vec![some("a", "")]),
            ("\"", vec![none("")]),
            ("\"\" a", vec![none(""), none("a")]),
            ("a\x01b", vec![none("a\x01b")]),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_latin_1_space_ends_an_argument() {
        assert_eq!(parse(b"a\xa0b"), [("a".to_owned(), None), ("b".to_owned(), None)]);
    }
}
