// SPDX-License-Identifier: GPL-2.0-only
//! The compressed names: `kallsyms_num_syms`, `kallsyms_names`, `kallsyms_markers`, in this order before the tokens.

use super::tokens::Tokens;
use super::word;
use crate::explain::symbols::LONGEST_NAME;

/// A marker for each so many names.
const PER_MARKER: usize = 256;
/// The most symbols that are believed.
const MOST: usize = 4 << 20;
/// `kallsyms_seqs_of_names` lies between markers and tokens in 6.2 and 6.3: three or four bytes for each name.
const MOST_BETWEEN: usize = 4 * MOST;

/// The names, and where they stand.
pub struct Names {
    /// Each with the letter of its kind in front.
    pub names: Vec<String>,
    /// Offset of `kallsyms_num_syms`.
    pub start: usize,
}

/// Finds the names that use `tokens`.
pub fn find(kernel: &[u8], tokens: &Tokens, align: usize) -> Option<Names> {
    let lowest = tokens.start.saturating_sub(MOST_BETWEEN);
    let mut at = tokens.start;
    while at > lowest {
        at = at.checked_sub(4)?;
        // The first marker is zero, the second tells how long 256 names are.
        let second = word(kernel, at + 4)? as usize;
        let first = word(kernel, at)? == 0 && at.is_multiple_of(align);
        if !first || !(2 * PER_MARKER..PER_MARKER * LONGEST_NAME).contains(&second) {
            continue;
        }
        let markers = markers(&kernel[..tokens.start], at);
        if let Some(names) = before(kernel, tokens, at, &markers, align) {
            return Some(names);
        }
    }
    None
}

/// The markers at `at`: as many words as ascend by what 256 names can take.
fn markers(kernel: &[u8], at: usize) -> Vec<usize> {
    let mut markers = vec![0];
    while let Some(next) = word(kernel, at + 4 * markers.len()) {
        let step = (next as usize).wrapping_sub(markers[markers.len() - 1]);
        if !(2 * PER_MARKER..PER_MARKER * LONGEST_NAME).contains(&step) {
            break;
        }
        markers.push(next as usize);
    }
    markers
}

/// The names that end where the markers begin, if there are as many as these can be for.
fn before(
    kernel: &[u8],
    tokens: &Tokens,
    end: usize,
    markers: &[usize],
    align: usize,
) -> Option<Names> {
    // What stands behind the markers may look like one more.
    (2..=markers.len()).rev().take(3).find_map(|count| {
        let markers = &markers[..count];
        let last = markers[count - 1];
        let highest = end.checked_sub(last + 1)?;
        let lowest = highest.saturating_sub(PER_MARKER * LONGEST_NAME);
        let least = (count - 1) * PER_MARKER;
        (lowest..=highest).rev().filter(|start| start % align == 0).find_map(|start| {
            let number = word(kernel, start.checked_sub(align)?)? as usize;
            let plausible = (least + 1..=least + PER_MARKER).contains(&number) && number <= MOST;
            let names =
                if plausible { names(kernel, tokens, start, end, number, markers) } else { None };
            Some(Names { names: names?, start: start - align })
        })
    })
}

/// Reads `number` names from `start` on, which end before `end`, up to padding, and agree with the markers.
fn names(
    kernel: &[u8],
    tokens: &Tokens,
    start: usize,
    end: usize,
    number: usize,
    markers: &[usize],
) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = start;
    for index in 0..number {
        if index % PER_MARKER == 0 && markers[index / PER_MARKER] != at - start {
            return None;
        }
        let mut length = usize::from(*kernel.get(at)?);
        at += 1;
        // ULEB128, from 6.1 on.
        if length & 0x80 != 0 {
            length = length & 0x7f | usize::from(*kernel.get(at)?) << 7;
            at += 1;
        }
        let codes = kernel.get(at..at.checked_add(length)?).filter(|codes| !codes.is_empty())?;
        at += length;
        if at > end {
            return None;
        }
        let text: String = codes.iter().map(|code| &*tokens.texts[usize::from(*code)]).collect();
        let fits =
            text.len() <= LONGEST_NAME && text.starts_with(|c: char| c.is_ascii_alphabetic());
        names.push(fits.then_some(text)?);
    }
    (end - at < 8).then_some(names)
}
