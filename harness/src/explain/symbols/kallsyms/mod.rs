// SPDX-License-Identifier: GPL-2.0-only
//! The symbols that a kernel carries in itself (CONFIG_KALLSYMS), found in its bytes without any name for where they are.
//!
//! scripts/kallsyms.c writes them as a few arrays, one behind the other:
//!
//! ```text
//! to 6.3    offsets, relative_base, num_syms, names, markers, (6.2: seqs_of_names,) token_table, token_index
//! from 6.4  num_syms, names, markers, token_table, token_index, offsets, (until 7.x: relative_base,) seqs_of_names
//! ```
//!
//! The table of tokens has a form that nothing else has, and is found by it ([`tokens`]); the names are found from there
//! ([`names`]) and, with their number known, the addresses ([`addresses`]). Each step is checked against the others: what
//! cannot be read to the last byte is not read at all.

mod addresses;
mod names;
mod tokens;

use super::system_map::symbol;
use super::table::SymbolTable;
use crate::image::WordSize;
use crate::reference::Link;

/// Reads the symbols from the kernel's bytes as they lie in memory before relocation.
///
/// # Errors
/// The kernel has none, or has them in a form that is not known.
pub fn read(kernel: &[u8], link: Link) -> Result<SymbolTable, String> {
    let tokens = tokens::find(kernel).ok_or("the kernel has no table of tokens (kallsyms)")?;
    // The arrays are aligned to a word of the kernel, and from 7.x on to 4 bytes.
    let aligns: &[usize] = match link.word {
        WordSize::Bits32 => &[4],
        WordSize::Bits64 => &[8, 4],
    };
    let mut why = "the kernel has tokens of kallsyms, but no names that fit them";
    let found = aligns.iter().find_map(|align| {
        let names = names::find(kernel, &tokens, *align)?;
        why = "the kernel has names of kallsyms, but no addresses that fit them";
        let addresses = addresses::find(kernel, &tokens, &names, *align, link)?;
        Some((names, addresses))
    });
    let (names, addresses) = found.ok_or(why)?;
    let symbols = names.names.into_iter().zip(addresses).filter_map(|(name, address)| {
        let mut letters = name.chars();
        let letter = letters.next()?;
        // Those that are called absolute are per-CPU data, whose segment was linked near zero.
        Some(symbol(address, letter, letters.as_str().to_owned()))
    });
    Ok(SymbolTable::new(symbols.collect(), Vec::new()))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link =
        Link { physical: 0x100_0000, map: 0xffff_ffff_8000_0000, word: WordSize::Bits64 };
    const TEXT: u64 = LINK.map + LINK.physical;
    const COUNT: usize = 700;

    #[derive(Clone, Copy, PartialEq)]
    enum Form {
        /// 5.10 to 6.3, per-CPU symbols absolute.
        Old,
        /// From 6.4 on.
        New,
        /// 7.x: no base, and what is between is not padded.
        FromSelf,
    }

    fn align(form: Form, bytes: &mut Vec<u8>) {
        let to = if form == Form::FromSelf { 4 } else { 8 };
        bytes.resize(bytes.len().next_multiple_of(to), 0);
    }

    /// A kernel that holds nothing but its symbols, and their addresses.
    fn kernel(form: Form) -> (Vec<u8>, Vec<u64>) {
        let tokens: Vec<String> = (0..256u32)
            .map(|code| match u8::try_from(code).unwrap() {
                letter if letter.is_ascii_alphanumeric() || letter == b'_' => {
                    char::from(letter).to_string()
                }
                _ => format!("tok{code}_"),
            })
            .collect();
        let addresses: Vec<u64> = (0..COUNT as u64).map(|number| TEXT + number * 0x30).collect();
        let mut names = Vec::new();
        let mut markers = Vec::new();
        for number in 0..COUNT {
            if number % 256 == 0 {
                markers.extend((names.len() as u32).to_le_bytes());
            }
            let text = if number == 0 { "T_text".to_owned() } else { format!("tf_{number}") };
            let codes: Vec<u8> = text.bytes().chain((number % 7 == 1).then_some(0x80)).collect();
            names.push(codes.len() as u8);
            names.extend(codes);
        }
        let mut offsets = Vec::new();
        for address in &addresses {
            let offset = match form {
                Form::Old => TEXT.wrapping_sub(address + 1) as u32,
                Form::New => (address - TEXT) as u32,
                // Their own places are put in below.
                Form::FromSelf => (address - TEXT) as u32,
            };
            offsets.extend(offset.to_le_bytes());
        }
        align(form, &mut offsets);
        if form != Form::FromSelf {
            offsets.extend(TEXT.to_le_bytes());
        }

        let mut bytes = vec![0x90; 0x1000];
        if form == Form::Old {
            bytes.extend(&offsets);
        }
        match form {
            Form::FromSelf => bytes.extend((COUNT as u32).to_le_bytes()),
            Form::Old | Form::New => bytes.extend((COUNT as u64).to_le_bytes()),
        }
        bytes.extend(names);
        align(form, &mut bytes);
        bytes.extend(markers);
        align(form, &mut bytes);
        let mut index = Vec::new();
        let start = bytes.len();
        for token in &tokens {
            index.extend(((bytes.len() - start) as u16).to_le_bytes());
            bytes.extend(token.bytes());
            bytes.push(0);
        }
        align(form, &mut bytes);
        bytes.extend(index);
        if form == Form::FromSelf {
            for (offset, own) in offsets.chunks_exact_mut(4).zip((bytes.len() as u32..).step_by(4))
            {
                let from_text = u32::from_le_bytes(offset.try_into().unwrap());
                offset.copy_from_slice(&from_text.wrapping_sub(own).to_le_bytes());
            }
        }
        if form != Form::Old {
            bytes.extend(&offsets);
        }
        bytes.extend([0xcc; 0x800]);
        (bytes, addresses)
    }

    #[test]
    fn all_forms_are_read() {
        for form in [Form::Old, Form::New, Form::FromSelf] {
            let (bytes, addresses) = kernel(form);
            let table = read(&bytes, LINK).unwrap();
            assert_eq!(table.symbols().len(), COUNT);
            let named = |at: usize| table.lookup(addresses[at] + 4).unwrap().to_string();
            assert_eq!(named(0), "_text+0x4");
            assert_eq!(named(1), "f_1tok128_+0x4");
            assert_eq!(named(699), "f_699+0x4");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_guessed() {
        let (bytes, _) = kernel(Form::New);
        let refusal = |bytes: &[u8], link| read(bytes, link).map(drop).unwrap_err();
        assert!(refusal(&bytes[..0x1000], LINK).contains("no table of tokens"));
        // The length of the first name.
        let mut damaged = bytes.clone();
        damaged[0x1008] = 0x7f;
        assert!(refusal(&damaged, LINK).contains("no names"));
        let other = Link { physical: 0x200_0000, ..LINK };
        assert!(refusal(&bytes, other).contains("no addresses"));
    }

    #[test]
    fn damage_anywhere_is_no_panic() {
        let (bytes, _) = kernel(Form::Old);
        for at in (0..bytes.len()).step_by(61) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let _ = read(&damaged, LINK);
            let _ = read(&bytes[..at], LINK);
        }
    }
}
