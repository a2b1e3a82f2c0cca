// SPDX-License-Identifier: GPL-2.0-only
//! The 256 pieces that names are put together from: `kallsyms_token_table`, and `kallsyms_token_index` behind it.

/// How many there are: one for each byte.
const COUNT: usize = 256;
/// The longest token that is believed.
const LONGEST: usize = 64;

/// The tokens, and where they stand.
pub struct Tokens {
    /// The text of each.
    pub texts: Vec<String>,
    /// Offset of the first one.
    pub start: usize,
    /// Offset behind the index.
    pub end: usize,
}

/// Finds the only place where 256 ascending offsets stand behind 256 strings that begin at just these.
pub fn find(kernel: &[u8]) -> Option<Tokens> {
    let bytes = 2 * COUNT;
    let mut places = (0..kernel.len().saturating_sub(bytes)).step_by(4);
    let mut found = places.by_ref().filter_map(|at| tokens(kernel, at));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The tokens whose index is at `at`.
fn tokens(kernel: &[u8], at: usize) -> Option<Tokens> {
    let offset = |number: usize| {
        usize::from(u16::from_le_bytes([kernel[at + 2 * number], kernel[at + 2 * number + 1]]))
    };
    // Nearly every place is refused by its first words.
    if offset(0) != 0 || !(2..=LONGEST).contains(&offset(1)) {
        return None;
    }
    let ascends =
        |number: usize| (2..=LONGEST).contains(&offset(number).wrapping_sub(offset(number - 1)));
    if !(1..COUNT).all(ascends) {
        return None;
    }
    let last = offset(COUNT - 1);
    // The last token's length is not in the index, nor is the padding behind it.
    (2..=LONGEST + 8).find_map(|length| {
        let start = at.checked_sub(last + length).filter(|start| start % 4 == 0)?;
        let texts = (0..COUNT).map(|number| {
            let first = start + offset(number);
            let end = if number + 1 < COUNT { start + offset(number + 1) } else { at };
            text(&kernel[first..end], number + 1 == COUNT)
        });
        let texts = texts.collect::<Option<Vec<String>>>()?;
        Some(Tokens { texts, start, end: at + 2 * COUNT })
    })
}

/// The printable text in `bytes`, which end in a zero; the last one has more zeroes behind it.
fn text(bytes: &[u8], padded: bool) -> Option<String> {
    let length = bytes.iter().position(|byte| *byte == 0)?;
    let (text, zeroes) = bytes.split_at(length);
    let ends = zeroes.len() == 1 || padded && zeroes.len() <= 8 && zeroes.iter().all(|b| *b == 0);
    let fits = ends && !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    fits.then(|| text.iter().map(|byte| char::from(*byte)).collect())
}
