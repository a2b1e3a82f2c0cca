// SPDX-License-Identifier: GPL-2.0-only
//! The addresses of the symbols: `kallsyms_offsets` from `kallsyms_relative_base`, before the names or behind the tokens.

use super::names::Names;
use super::tokens::Tokens;
use super::word;
use crate::reference::Link;

/// How offsets are meant (scripts/kallsyms.c, `write_src()`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// From the base up.
    FromBase,
    /// Negative ones are one less than the distance below the base, negated; others are no places but per-CPU offsets:
    /// KALLSYMS_ABSOLUTE_PERCPU.
    Percpu,
    /// From the place of the offset itself, and there is no base (x86_64 of 7.x).
    FromSelf,
    /// The address itself, and there is no base (i386 of 7.x).
    Itself,
}

const WITH_BASE: [Meaning; 2] = [Meaning::FromBase, Meaning::Percpu];
const WITHOUT_BASE: [Meaning; 2] = [Meaning::FromSelf, Meaning::Itself];

/// Finds the addresses of `names`, in their order: those that ascend, and by which `_text` lies where the kernel begins.
pub fn find(
    kernel: &[u8],
    tokens: &Tokens,
    names: &Names,
    align: usize,
    link: Link,
) -> Option<Vec<u64>> {
    let count = names.names.len();
    let bytes = (4 * count).next_multiple_of(align);
    let base = |at: usize| {
        let low = u64::from(word(kernel, at)?);
        Some(if align == 8 { u64::from(word(kernel, at + 4)?) << 32 | low } else { low })
    };
    let behind = tokens.end.next_multiple_of(align);
    let before = names.start.checked_sub(bytes + align);
    let with_base = [Some(behind), before].into_iter().flatten();
    let with_base = with_base.filter_map(|start| Some((start, base(start + bytes)?, WITH_BASE)));
    // Without a base nothing but the offsets asks for an alignment.
    let next = tokens.end.next_multiple_of(4);
    let without = [Some(next), Some(behind), names.start.checked_sub(bytes)].into_iter().flatten();
    let without = without.map(|start| (start, 0, WITHOUT_BASE));
    with_base.chain(without).find_map(|(start, base, meanings)| {
        meanings.into_iter().find_map(|meaning| {
            let addresses: Option<Vec<u64>> = (0..count)
                .map(|number| {
                    let at = start + 4 * number;
                    let offset = word(kernel, at)?;
                    Some(address(meaning, offset, base, at, link))
                })
                .collect();
            addresses.filter(|addresses| fits(addresses, &names.names, link))
        })
    })
}

fn address(meaning: Meaning, offset: u32, base: u64, at: usize, link: Link) -> u64 {
    let signed = i64::from(offset as i32) as u64;
    match meaning {
        Meaning::FromBase => base.wrapping_add(offset.into()),
        Meaning::Percpu if signed as i64 >= 0 => offset.into(),
        Meaning::Percpu => base.wrapping_sub(1).wrapping_sub(signed),
        Meaning::FromSelf => {
            let own = link.map.wrapping_add(link.physical).wrapping_add(at as u64);
            own.wrapping_add(signed)
        }
        Meaning::Itself => offset.into(),
    }
}

/// Whether these are the addresses: sorted, and the kernel's first is that of its first byte.
fn fits(addresses: &[u64], names: &[String], link: Link) -> bool {
    const FIRST: [&str; 4] = ["_text", "_stext", "startup_64", "startup_32"];
    let text = link.map.wrapping_add(link.physical);
    let first = names.iter().zip(addresses).any(|(name, address)| {
        *address == text && name.get(1..).is_some_and(|name| FIRST.contains(&name))
    });
    first && addresses.is_sorted()
}
