// SPDX-License-Identifier: GPL-2.0-only
//! Command lines: what a stub looks for in them, and what it must not take for it.

use super::dice::Dice;
use super::{GIB, MIB, Space};
use crate::range::Range;

/// The longest command line, in bytes.
const LONGEST: usize = 2047;

/// What a command line is drawn for.
pub struct About<'a> {
    pub space: &'a Space,
    /// Words that it has to have.
    pub base: &'a str,
    /// Where the stub would choose from; ranges that must be avoided lie there.
    pub usable: &'a [Range],
    /// Some of that is for the kernel's pages of 1 GiB.
    pub large_pages: bool,
}

/// Words that a stub looks at, with the numbers drawn; the others must make no difference. Every second `turn` has
/// chosen words, others each time.
pub fn command_line(about: &About, turn: usize, dice: &mut Dice) -> String {
    let words =
        if turn.is_multiple_of(2) { chosen(about, turn / 2, dice) } else { drawn(about, dice) };
    let mut line = words.join(dice.of(&[" ", "  ", "\t"]));
    if dice.once_in(8) {
        let rest = LONGEST - line.len().min(LONGEST);
        line.extend(std::iter::repeat_n('x', rest.saturating_sub(1)).chain([' ']).take(rest));
    }
    line.truncate(LONGEST);
    line
}

/// Words that change nothing, one that takes room away, and one behind which nothing counts any more: it would leave no
/// room at all.
fn chosen(about: &About, turn: usize, dice: &mut Dice) -> Vec<String> {
    let About { space, base, usable, large_pages } = *about;
    let everywhere = Range { start: space.pref_address, end: space.randomized_end() };
    let largest = usable.iter().max_by_key(|range| range.len()).unwrap_or(&everywhere);
    let half = (largest.len() / 2 / MIB).max(1);
    let middle = largest.start.div_ceil(MIB) + half;
    let start = dice.of(&[largest.start, largest.start + half * MIB]);
    let idle = [
        format!("memmap=exactmap,{half}M${start:#x}"),
        format!("memmap={half}M@{start:#x}"),
        "nokaslrx".into(),
        "mem_encrypt=on mem_encrypt=off".into(),
        "mem_encrypt=off mem_encrypt=on".into(),
    ];
    let lower = [
        format!("memmap=1M${middle}M memmap={half}M${start:#x}"),
        format!("mem=nopentium mem={middle}M"),
        format!("memmap={half}M!{start:#x}"),
        format!("mem={middle}M mem={}M", middle + half),
        format!("memmap={half}M#{start:#x}"),
    ];
    const LAST: [&str; 3] = ["-- mem=1M", "", "mem=0 mem=1M"];
    let mut words = vec![
        idle[turn % idle.len()].clone(),
        idle[(turn + 2) % idle.len()].clone(),
        lower[turn % lower.len()].clone(),
        LAST[turn % LAST.len()].to_owned(),
    ];
    if large_pages {
        // The default size selects no pages by itself.
        words.insert(0, format!("default_hugepagesz=1G hugepages={}", 1 + dice.below(4)));
    }
    words.insert(dice.of(&[0, words.len()]), base.to_owned());
    words
}

fn drawn(about: &About, dice: &mut Dice) -> Vec<String> {
    let About { space, base, usable, large_pages } = *about;
    let mut words = vec![base.to_owned()];
    if dice.once_in(3) {
        for _ in 0..dice.below(7) {
            words.push(word(space, dice));
        }
    } else {
        // Nothing but what takes room away, and leaves some: so it is seen what counts.
        let within = |dice: &mut Dice| {
            let everywhere = [Range { start: space.pref_address, end: space.randomized_end() }];
            let range = dice.of(if usable.is_empty() { &everywhere } else { usable });
            range.start + dice.below((range.len() / MIB).max(1)) * MIB
        };
        if dice.once_in(3) {
            words.push(format!("mem={}M", within(dice).div_ceil(MIB)));
        } else {
            let size = |dice: &mut Dice| 1 + dice.below(64);
            words.extend((0..2).map(|_| format!("memmap={}M${:#x}", size(dice), within(dice))));
        }
    }
    if large_pages {
        words.push(format!("hugepagesz=1G hugepages={}", 1 + dice.below(4)));
    }
    let turn = dice.below(words.len() as u64) as usize;
    words.rotate_left(turn);
    words
}

fn word(space: &Space, dice: &mut Dice) -> String {
    match dice.below(12) {
        0 => "quiet".into(),
        1 => format!("mem={}", size(space, dice)),
        2..=4 => memmap(space, dice),
        5 => format!("hugepagesz=1G hugepages={}", dice.below(5)),
        6 => format!("hugepagesz=2M hugepages={}", dice.below(5)),
        7 => "root=\"a b nokaslr c\"".into(),
        8 => dice.of(&["nokaslrx", "xnokaslr", "nokaslr=0", "no5lvl"]).into(),
        9 => dice.of(&["--", "memmap", "mem=nopentium", "mem=0", "memmap=exactmap"]).into(),
        10 => "debug foo=\"mem=16M\"".into(),
        _ => format!("\"memmap={}$0x20000000\"", size(space, dice)),
    }
}

fn memmap(space: &Space, dice: &mut Dice) -> String {
    let mut items = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let sign = dice.of(&["$", "#", "!", "@", ""]);
        let at = match sign {
            "" => String::new(),
            _ => format!("{:#x}", space.pref_address + dice.below(256) * step(space)),
        };
        items.push(format!("{}{sign}{at}", size(space, dice)));
    }
    format!("memmap={}", items.join(","))
}

/// Between the places that are named: 256 of them reach as far as KASLR may put a small kernel.
fn step(space: &Space) -> u64 {
    if space.randomized_end() < GIB { 2 * MIB } else { 4 * MIB }
}

/// A size as people write them.
fn size(space: &Space, dice: &mut Dice) -> String {
    let enough = space.pref_address + 4 * space.init_size;
    match dice.below(6) {
        0 => format!("{}M", enough.div_ceil(MIB) + dice.below(512)),
        1 => format!("{}M", 1 + dice.below(64)),
        2 => format!("{}K", 4 << dice.below(16)),
        3 => format!("{:#x}", enough + dice.below(GIB)),
        4 => format!("{}G", 1 + dice.below(6)),
        _ => format!("0{:o}", dice.below(enough)),
    }
}
