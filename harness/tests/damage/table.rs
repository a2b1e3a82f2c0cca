// SPDX-License-Identifier: GPL-2.0-only
//! Kernels whose relocation table is damaged; the payload is compressed anew.

use relocheck::image::{Group, RelocKind, WordSize};
use relocheck::oracle::{Rule, Verdict};

use crate::bench::{
    By, CLOUD, Kernel, LOAD, Misled, Trials, Who, assert_says, explained, kaslr, plain, said,
    unpredictable,
};
use crate::common::rebuild::make_room;
use relocheck::mutate::rebuild::edit_kernel;

const STOPS: &str = "the jump into the kernel";
const IMAGE: Who = Misled(By::Image);

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("table::packing_the_kernel_again_changes_nothing", repacked);
    cloud("table::an_entry_given_twice_is_found", duplicate);
    cloud("table::entries_out_of_order_are_found", disorder);
    cloud("table::an_entry_outside_the_kernel_is_found_and_halts_the_stub", outside);
    cloud("table::a_terminator_inside_a_group_is_found", early_terminator);
    cloud("table::a_missing_terminator_is_found", missing_terminator);
    cloud("table::fields_that_overlap_are_found", overlap);
    cloud("table::a_table_that_is_not_whole_words_is_found", odd_length);
}

/// A real table is large: damage goes where both neighbours are entries, and apart from other fields.
fn somewhere(group: &Group) -> usize {
    let apart = |window: &[u32]| window.windows(2).all(|pair| pair[1] - pair[0] >= 16);
    let found = group.entries.windows(6).skip(group.entries.len() / 2).position(apart);
    group.entries.len() / 2 + found.expect("six lonely entries") + 2
}

/// The image with `edit` made to the words of its table; `edit` is told where the first entry of a group stands.
fn with_words(
    kernel: &Kernel,
    kind: RelocKind,
    edit: impl FnOnce(&mut [u32], usize, usize),
) -> Vec<u8> {
    let table = &kernel.subject().table;
    let group = table.groups.iter().find(|group| group.kind == kind).expect("the group");
    let mut words = table.words.clone();
    edit(&mut words, group.first_word, somewhere(group));
    packed(kernel, |payload| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        payload[table.offset..].copy_from_slice(&bytes);
    })
}

/// The image with `edit` made to its decompressed payload.
pub fn packed(kernel: &Kernel, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    edit_kernel(&kernel.image, |payload| {
        make_room(payload, WordSize::Bits64);
        edit(payload);
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

fn repacked(kernel: &Kernel) {
    let file = packed(kernel, |_| ());
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD)] {
        assert_says(&kernel.damaged(file.clone(), &case, &[]), &[]);
    }
}

fn duplicate(kernel: &Kernel) {
    let mut entry = 0;
    let file = with_words(kernel, RelocKind::Abs32, |words, first, at| {
        entry = words[first + at];
        words[first + at + 1] = entry;
    });
    // The stub relocates the field twice, and so must the reference.
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD)] {
        let again = format!("{entry:#x} again");
        let judgement = kernel.damaged(file.clone(), &case, &[IMAGE]);
        assert_says(
            &judgement,
            &[(Rule::Table, "32-bit group, word ", "entries that ascend", &again)],
        );
    }
}

fn disorder(kernel: &Kernel) {
    let mut place = String::new();
    let file = with_words(kernel, RelocKind::Abs64, |words, first, at| {
        words.swap(first + at, first + at + 1);
        place = format!("64-bit group, word {} of {}", first + at + 1, words.len());
    });
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD)] {
        let judgement = kernel.damaged(file.clone(), &case, &[IMAGE]);
        assert_says(&judgement, &[(Rule::Table, &place, "entries that ascend", " behind 0x")]);
        assert_eq!(judgement.findings[0].ranges, 1);
    }
}

fn outside(kernel: &Kernel) {
    let link = kernel.subject().link;
    let offset = kernel.subject().moved.len() as u64 + 0x10_0000;
    let entry = (link.map + link.physical + offset) as u32;
    let file = with_words(kernel, RelocKind::Abs32, |words, _, _| {
        *words.last_mut().unwrap() = entry;
    });
    let group = format!("32-bit group, entry {entry:#x}");
    let output = format!("output+{offset:#x}");
    let found =
        (Rule::Table, &group[..], "the address of a field inside a loaded segment", &output[..]);
    assert_says(&kernel.damaged(file.clone(), &plain(kernel, LOAD), &[IMAGE]), &[found]);

    let halt = (Rule::Halt, "stub+0x", STOPS, "stopped: 32-bit relocation outside of kernel!");
    for case in [kaslr(kernel, LOAD), unpredictable(kernel, LOAD)] {
        let who = [IMAGE, Misled(By::Instruction("hlt"))];
        assert_says(&kernel.damaged(file.clone(), &case, &who), &[found, halt]);
    }
}

/// The loops shift: each takes what the next one should have, and the 64-bit entries are never read. That 32-bit fields
/// are taken for 64-bit fields makes neighbours overlap.
fn early_terminator(kernel: &Kernel) {
    let unread = kernel.subject().table.entries(RelocKind::Abs64).len() + 1;
    let file = with_words(kernel, RelocKind::Abs32, |words, first, at| words[first + at] = 0);
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &[IMAGE, IMAGE]);
    let place = format!("word {unread} of the table");
    let never = format!("a terminator too many: {unread} words are never read");
    assert_says(
        &judgement,
        &[
            (Rule::Table, &place, "last group (3 groups)", &never),
            (Rule::Table, "64-bit entry", "fields that do not overlap", "reaches into it"),
        ],
    );
}

fn missing_terminator(kernel: &Kernel) {
    let text = (kernel.subject().link.map + kernel.subject().link.physical) as u32;
    let file = with_words(kernel, RelocKind::Abs32, |words, _, _| words[0] = text);
    let found =
        (Rule::Table, "table", "a zero word before each group", "1 missing: the stub reads on");
    assert_says(&kernel.damaged(file.clone(), &plain(kernel, LOAD), &[IMAGE]), &[found]);

    // What the stub takes for entries then is not the reference's to say.
    let judgement = explained(file, &kaslr(kernel, LOAD), kernel, &[IMAGE]);
    assert_eq!(judgement.verdict(), Verdict::Diverges);
    assert_eq!(judgement.findings.len(), 1, "{}", said(&judgement));
    let [why] = &judgement.not_judged[..] else { panic!("{}", said(&judgement)) };
    assert!(why.contains("the stub finds no terminator"), "{why}");
}

fn overlap(kernel: &Kernel) {
    let mut entry = 0;
    let file = with_words(kernel, RelocKind::Abs32, |words, first, at| {
        entry = words[first + at];
        words[first + at + 1] = entry + 2;
    });
    let next = format!("32-bit entry {:#x}", entry + 2);
    let reaches = format!("the field of the 32-bit entry {entry:#x} reaches into it");
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD)] {
        let judgement = kernel.damaged(file.clone(), &case, &[IMAGE]);
        assert_says(&judgement, &[(Rule::Table, &next, "fields that do not overlap", &reaches)]);
    }
}

/// The ELF file claims to end one byte earlier: the table has a byte too many, which the stub never reads.
fn odd_length(kernel: &Kernel) {
    let file = packed(kernel, |payload| {
        let sections = u64::from_le_bytes(payload[0x28..0x30].try_into().unwrap());
        payload[0x28..0x30].copy_from_slice(&(sections - 1).to_le_bytes());
    });
    for case in [plain(kernel, LOAD), kaslr(kernel, LOAD)] {
        let judgement = kernel.damaged(file.clone(), &case, &[IMAGE]);
        assert_says(
            &judgement,
            &[(Rule::Table, "table", "whole 32-bit words", "1 bytes too many")],
        );
    }
}
