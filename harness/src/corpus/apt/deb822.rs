// SPDX-License-Identifier: GPL-2.0-only
//! Debian's stanza format (deb822(5)), which package records and `.sources` files share.

use std::io::{self, BufRead};

/// One stanza: fields in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanza {
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// The value of a field, whose name matches in any case. Lines after the first keep the blank
    /// that they begin with.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// The words of a field that is a list; none where the field is absent.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.get(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}

/// Reads stanza after stanza. Comment lines are dropped, lines that are neither field nor
/// continuation are ignored.
pub struct Stanzas<R> {
    reader: R,
    line: String,
}

impl<R: BufRead> Stanzas<R> {
    /// Stanzas of `reader`.
    pub fn new(reader: R) -> Stanzas<R> {
        Stanzas { reader, line: String::new() }
    }
}

impl<R: BufRead> Iterator for Stanzas<R> {
    type Item = io::Result<Stanza>;

    fn next(&mut self) -> Option<io::Result<Stanza>> {
        let mut stanza = Stanza::default();
        loop {
            self.line.clear();
            match self.reader.read_line(&mut self.line) {
                Err(error) => return Some(Err(error)),
                Ok(0) => return (!stanza.fields.is_empty()).then_some(Ok(stanza)),
                Ok(_) => {}
            }
            let line = self.line.trim_end();
            if line.is_empty() {
                if stanza.fields.is_empty() {
                    continue;
                }
                return Some(Ok(stanza));
            }
            if line.starts_with('#') {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = stanza.fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                stanza.fields.push((name.to_owned(), value.trim_start().to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanzas(text: &str) -> Vec<Stanza> {
        Stanzas::new(text.as_bytes()).map(Result::unwrap).collect()
    }

    #[test]
    fn stanzas_are_separated_by_blank_lines_and_fields_match_in_any_case() {
        let all = stanzas("\n\nPackage: a\nSize: 1\n\n\nPackage: b\n");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("size"), Some("1"));
        assert_eq!(all[1].get("Package"), Some("b"));
        assert_eq!(all[1].get("Size"), None);
    }

    #[test]
    fn comments_inside_a_stanza_do_not_end_it() {
        let all = stanzas("Types: deb\n# a note\nSuites: x\n y\n");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].words("suites"), ["x", "y"]);
    }

    #[test]
    fn continuation_lines_keep_their_blank() {
        let all = stanzas("Signed-By:\n -----BEGIN-----\n .\n abc\n");
        assert_eq!(all[0].get("Signed-By"), Some("\n -----BEGIN-----\n .\n abc"));
    }
}
