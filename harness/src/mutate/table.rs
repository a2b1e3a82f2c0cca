// SPDX-License-Identifier: GPL-2.0-only
//! Mistakes in the relocation table, as a broken `relocs` would make them: the table's length changes with them.

use std::collections::BTreeSet;

use super::dice::Dice;
use super::mutant::{Class, Edit, Mutant, Splice};
use super::twin::Twin;
use crate::image::Group;
use crate::oracle::Subject;

/// The kinds of mistake.
pub const KINDS: &[&str] =
    &["dropped", "added", "duplicated", "shifted", "other group", "terminator lost"];

const WORD: usize = 4;
/// Draws of a kind that bring nothing new, after which there is nothing new to be had.
const PATIENCE: usize = 64;

/// Draws `count` different mutants, of each kind as many.
pub fn draw(twin: &Twin, count: usize, dice: &mut Dice) -> Vec<Mutant> {
    let table = &twin.subject().table;
    let groups: Vec<&Group> = table.groups.iter().filter(|group| group.entries.len() > 2).collect();
    let mut mutants = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<&'static str> = KINDS.to_vec();
    while mutants.len() < count && !open.is_empty() && !groups.is_empty() {
        open.retain(|kind| {
            if mutants.len() >= count {
                return true;
            }
            let fresh = (0..PATIENCE).find_map(|_| {
                let mutant = one(twin, &groups, kind, dice)?;
                seen.insert((mutant.kind, mutant.place.clone(), mutant.after.clone()))
                    .then_some(mutant)
            });
            mutants.extend(fresh.iter().cloned());
            fresh.is_some()
        });
    }
    mutants
}

fn one(twin: &Twin, groups: &[&Group], kind: &'static str, dice: &mut Dice) -> Option<Mutant> {
    let subject = twin.subject();
    let table = &subject.table;
    let group = *dice.pick(groups)?;
    let index = dice.below(group.entries.len());
    let entry = group.entries[index];
    let word = |number: usize| table.offset + WORD * number;
    let here = word(group.first_word + index);
    let mutant = |place: String, before: String, after: String, splices| Mutant {
        class: Class::Table,
        kind,
        place,
        before,
        after,
        edit: Edit::Payload(splices),
        reached: u64::MAX,
    };
    let place =
        format!("{} group, word {} of {}", group.kind, group.first_word + index, table.words.len());
    let entry_text = format!("{entry:#x}");
    let splice = |at, taken, put: &[u32]| Splice {
        at,
        taken: taken * WORD,
        put: put.iter().flat_map(|word| word.to_le_bytes()).collect(),
    };
    Some(match kind {
        "dropped" => mutant(place, entry_text, "no entry".into(), vec![splice(here, 1, &[])]),
        "duplicated" => {
            let after = format!("{entry:#x} twice");
            mutant(place, entry_text, after, vec![splice(here, 0, &[entry])])
        }
        "added" => {
            let new = stray(subject, group, dice)?;
            let index = group.entries.partition_point(|entry| *entry < new);
            let at = word(group.first_word + index);
            let place = format!(
                "{} group, word {} of {}",
                group.kind,
                group.first_word + index,
                table.words.len()
            );
            mutant(place, "no entry".into(), format!("{new:#x}"), vec![splice(at, 0, &[new])])
        }
        "shifted" => {
            let by = *dice.pick(&[1i32, 2, 4, -1, -2, -4])?;
            let new = entry.wrapping_add_signed(by);
            let after = format!("{new:#x}, {by:+}");
            mutant(place, entry_text, after, vec![splice(here, 1, &[new])])
        }
        "other group" => {
            let other = *dice.pick(groups)?;
            if other.kind == group.kind {
                return None;
            }
            let target = other.entries.partition_point(|known| *known < entry);
            let there = word(other.first_word + target);
            // The later one first, so that the earlier place stays where it is.
            let mut splices = vec![splice(here, 1, &[]), splice(there, 0, &[entry])];
            splices.sort_by_key(|splice| std::cmp::Reverse(splice.at));
            mutant(place, entry_text, format!("{entry:#x} in the {} group", other.kind), splices)
        }
        _ => {
            let at = word(group.first_word.checked_sub(1)?);
            let place = format!("terminator of the {} group", group.kind);
            // Left out, or overwritten by an entry that would fit there.
            let put = if dice.below(2) == 0 { vec![] } else { vec![group.entries[0] - 1] };
            let after = put.first().map_or("no word".into(), |word| format!("{word:#x}"));
            mutant(place, "0".into(), after, vec![splice(at, 1, &put)])
        }
    })
}

/// An entry that nobody needs: for a place in a segment that no entry of the group names, or, now and then, for one
/// behind the kernel.
fn stray(subject: &Subject, group: &Group, dice: &mut Dice) -> Option<u32> {
    let link = subject.link;
    let named = |offset: u64| link.map.wrapping_add(link.physical).wrapping_add(offset) as u32;
    if dice.below(8) == 0 {
        let behind = subject.total_size().max(subject.moved.len() as u64) + (1 << 20);
        return Some(named(behind + 4 * dice.below(1 << 16) as u64));
    }
    let segment = dice.pick(&subject.segments)?;
    let room = usize::try_from(segment.filesz).ok()?.checked_sub(group.kind.width())?;
    let start = segment.paddr.wrapping_sub(link.physical);
    let entry = named(start + dice.below(room) as u64);
    (!group.entries.contains(&entry)).then_some(entry)
}
