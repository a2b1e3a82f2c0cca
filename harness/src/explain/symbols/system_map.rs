// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's symbols as `nm -n` prints them into System.map: address, a letter for the kind, name.

use std::path::Path;

use super::table::{Symbol, SymbolKind, SymbolTable};

/// The largest file that is read, in bytes; those of distributions have some megabytes.
const MAX_FILE: u64 = 256 << 20;

/// Reads the file at `path`.
///
/// # Errors
/// It cannot be read, or a line is not of this form.
pub fn read(path: &Path) -> Result<SymbolTable, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err("expected a System.map, a text of at most 256 MiB".into());
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    parse(&text)
}

fn parse(text: &[u8]) -> Result<SymbolTable, String> {
    let mut symbols = Vec::new();
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let parsed = std::str::from_utf8(line).ok().and_then(parse_line);
        let why = || format!("line {}: expected address, letter and name of a symbol", number + 1);
        symbols.push(parsed.ok_or_else(why)?);
    }
    if symbols.is_empty() {
        return Err("it is empty, expected the symbols of a kernel".into());
    }
    // An absolute symbol is a number and no place.
    let places = symbols.into_iter().filter(|(letter, _)| !letter.eq_ignore_ascii_case(&'A'));
    Ok(SymbolTable::new(places.map(|(_, symbol)| symbol).collect(), Vec::new()))
}

fn parse_line(line: &str) -> Option<(char, Symbol)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let mut letter = words.next()?.chars();
    let (letter, rest) = (letter.next()?, letter.next());
    let name = words.next().filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic()))?;
    let whole = rest.is_none() && letter.is_ascii_graphic() && words.next().is_none();
    let name = name.chars().take(super::LONGEST_NAME).collect();
    whole.then(|| (letter, symbol(address, letter, name)))
}

/// The symbol that `nm` calls one of this `letter`.
pub fn symbol(address: u64, letter: char, name: String) -> Symbol {
    let kind = match letter.to_ascii_lowercase() {
        't' | 'w' | 'i' => SymbolKind::Function,
        'b' | 'd' | 'g' | 'r' | 's' | 'v' => SymbolKind::Object,
        _ => SymbolKind::Label,
    };
    Symbol { address, size: 0, name, kind, global: letter.is_ascii_uppercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_symbols() {
        let text =
            b"0000000000000000 A zero\nffffffff81000000 T _text\nffffffff81000000 T startup_64\n\
            ffffffff81000040 t local\nffffffff82000000 D data\n";
        let table = parse(text).unwrap();
        let named = |address| table.lookup(address).map(|named| named.to_string());
        assert_eq!(named(0x10), None);
        assert_eq!(named(0xffff_ffff_8100_0000).as_deref(), Some("_text"));
        assert_eq!(named(0xffff_ffff_8100_0044).as_deref(), Some("local+0x4"));
        assert_eq!(table.by_name("data").unwrap().kind, SymbolKind::Object);
    }

    #[test]
    fn another_text_is_told_by_its_line() {
        for (text, line) in
            [("c1000000 T _text\nhello\n", "line 2: "), ("\n\nc1000000 TT _text", "line 3: ")]
        {
            let why = parse(text.as_bytes()).unwrap_err();
            assert!(why.starts_with(line), "{why}");
        }
        assert!(parse(b"\n").unwrap_err().starts_with("it is empty"));
        assert!(parse(b"c1000000 T \xff").is_err());
    }
}
