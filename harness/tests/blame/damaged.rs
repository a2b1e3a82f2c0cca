// SPDX-License-Identifier: GPL-2.0-only
//! The instruction that was damaged is blamed, by the right name, for the right place in the kernel.

use relocheck::case::Case;
use relocheck::image::{RelocKind, WordSize};
use relocheck::mutate::rebuild::{edit_kernel, write_stub};
use relocheck::oracle::{Rule, Subject};
use relocheck::record::{Blame, Site};
use relocheck::reference::fields;

use crate::built::{Built, Test, labels, names, section};
use crate::common::blame::{By, blamed};
use crate::common::rebuild::{find_in_stub, make_room, pattern};

pub const TESTS: &[Test] = &[
    ("a_subtraction_is_blamed_by_name", subtraction),
    ("an_addition_that_is_left_out_is_missed", left_out),
    ("an_invalid_instruction_is_blamed_by_name", invalid),
    ("a_byte_of_the_kernel_is_told_by_its_symbol", wrong_byte),
    ("a_stray_byte_is_blamed_on_its_instruction", stray_byte),
    ("a_choice_is_blamed_on_the_function_that_makes_it", choice),
    ("an_entry_that_is_missing_is_named", missing_entry),
];

const ADD: u8 = 0x01;
const SUB: u8 = 0x29;
const NOP: u8 = 0x90;

fn subtraction(built: &Built) {
    let at = built.first_addition();
    assert_eq!(built.open().protected_mode()[at], ADD);
    let blamed = blamed(&built.patched(at, &[SUB]), &built.case(), &built.files);
    blamed.names_change(0, By::Store("sub %"), &built.open());
    let last = blamed.blame[0].stores.last().unwrap();
    assert_eq!(last.site.offset, Some(at as u64));
    assert_named(built, &last.site);
    assert_place(built, &blamed.blame[0]);
    // What was there before is what was decompressed, and moved to its place.
    assert!(last.times == 1 && blamed.blame[0].stores.len() > 1, "{:#?}", blamed.blame[0]);
}

fn left_out(built: &Built) {
    let at = built.first_addition();
    let blamed = blamed(&built.patched(at, &[NOP, NOP]), &built.case(), &built.files);
    let finding = blamed.judgement.findings.iter().position(|f| f.place.contains("32-bit entry"));
    let finding = finding.expect("a field that was not relocated");
    blamed.names(finding, By::Nobody);
    assert_place(built, &blamed.blame[finding]);
}

/// `ud2` for the jump to the kernel.
fn invalid(built: &Built) {
    let at = find_in_stub(&built.open(), &pattern(hand_off(built))).unwrap();
    let blamed = blamed(&built.patched(at, &[0x0f, 0x0b]), &built.case(), &built.files);
    blamed.names_change(0, By::Instruction("ud2"), &built.open());
    assert_named(built, blamed.blame[0].instruction.as_ref().unwrap());
}

/// The stub's last instructions; the jump to the kernel is among them. i386: `add ..., %esp; xor %ebx, %ebx; jmp *%eax`,
/// x86_64: `mov %r15, %rsi; jmp *%rax`, and a loop behind it.
fn hand_off(built: &Built) -> &'static str {
    match built.word() {
        WordSize::Bits32 => "83 c4 ?? 31 db ff e0",
        WordSize::Bits64 => "4c 89 fe ff e0 f4 eb fd",
    }
}

/// The image with `code` run before the jump to the kernel. It goes where the stub has a text that is not needed.
fn at_hand_off(built: &Built, code: &[u8]) -> Vec<u8> {
    const TEXT: &str = "Destination address too large";
    let image = built.open();
    let site = find_in_stub(&image, &pattern(hand_off(built))).unwrap();
    let text: Vec<Option<u8>> = TEXT.bytes().map(Some).collect();
    let cave = find_in_stub(&image, &text).unwrap();
    let taken = match built.word() {
        WordSize::Bits32 => 7,
        WordSize::Bits64 => 5,
    };
    // The jump to the kernel goes along.
    let code = [code, &image.protected_mode()[site..site + taken]].concat();
    assert!(code.len() <= TEXT.len());
    let distance = (cave as i32 - (site as i32 + 5)).to_le_bytes();
    let mut file = built.patched(site, &[&[0xe9], &distance[..]].concat());
    write_stub(&image, &mut file, cave, &code);
    file
}

/// `xorb $0x5a, ...(%eax)`, where EAX is the kernel's entry point: in its code, beside all fields.
fn wrong_byte(built: &Built) {
    let image = built.open();
    let subject = Subject::new(image).unwrap();
    let entry = subject.entry_offset();
    let field =
        |at: u64| fields(&subject.table, subject.link).any(|field| field.1.abs_diff(at) < 9);
    let offset = (entry + 0x1234..).find(|at| !field(*at)).unwrap();
    let distance = ((offset - entry) as u32).to_le_bytes();
    let file = at_hand_off(built, &[&[0x80, 0xb0], &distance[..], &[0x5a]].concat());
    let blamed = blamed(&file, &built.case(), &built.files);
    assert_eq!(blamed.judgement.findings.len(), 1, "{:#?}", blamed.judgement.findings);
    blamed.names_change(0, By::Store("xorb $0x5a,"), &built.open());
    let place = blamed.blame[0].place.as_ref().unwrap();
    let linked = subject.link.map.wrapping_add(subject.link.physical);
    assert_eq!((place.address, &place.entry), (linked + offset, &None));
    let known = names(built.vmlinux(), place.address);
    assert!(known.contains(place.symbol.as_ref().unwrap()), "{place:?} is not in {known:?}");
    assert_eq!(place.section, section(built.vmlinux(), place.address));
    assert_eq!(place.section.as_deref(), Some(".text"));
}

/// `movb $0x5a, 0x9008`.
fn stray_byte(built: &Built) {
    let store: &[u8] = match built.word() {
        WordSize::Bits32 => &[0xc6, 0x05, 8, 0x90, 0, 0, 0x5a],
        WordSize::Bits64 => &[0xc6, 0x04, 0x25, 8, 0x90, 0, 0, 0x5a],
    };
    let file = at_hand_off(built, store);
    let blamed = blamed(&file, &built.case(), &built.files);
    let [finding] = &blamed.judgement.findings[..] else { panic!("{:#?}", blamed.judgement) };
    assert_eq!((finding.rule, finding.address), (Rule::Footprint, Some(0x9008)));
    blamed.names_change(0, By::Store("movb $0x5a,0x9008"), &built.open());
    assert_eq!(blamed.blame[0].place, None);
}

/// Another factor in the mixing of random numbers (arch/x86/lib/kaslr.c).
fn choice(built: &Built) {
    let (factor, words) = match built.word() {
        WordSize::Bits32 => ("93 e5 39 3f", "earlyprintk=ttyS0"),
        WordSize::Bits64 => ("d3 8d 84 f3 cb 08 60 5d", "earlyprintk=ttyS0"),
    };
    let at = find_in_stub(&built.open(), &pattern(factor)).unwrap();
    let case = Case { command_line: Some(words.to_owned()), ..built.case() };
    let blamed = blamed(&built.patched(at, &[0x95]), &case, &built.files);
    assert!(!blamed.judgement.findings.is_empty());
    for (number, finding) in blamed.judgement.findings.iter().enumerate() {
        assert_eq!(finding.rule, Rule::Kaslr, "{finding}");
        let site = blamed.names(number, By::Chosen("")).unwrap();
        assert_named(built, site);
        let function = site.function.as_deref().unwrap();
        assert!(function.starts_with("choose_random_location+"), "{site:#?}");
    }
}

/// An entry is replaced by one for a place beside it, where there is no field: the first is missing, the second too many.
fn missing_entry(built: &Built) {
    let image = built.open();
    let kernel = image.kernel().unwrap();
    let entries = kernel.table.entries(RelocKind::Abs32);
    let alone = |three: &[u32]| three[1] - three[0] >= 0x20 && three[2] - three[1] >= 0x20;
    let at = 1 + entries.windows(3).position(alone).expect("an entry far from others");
    let (entry, other) = (entries[at], entries[at] + 8);
    let file = edit_kernel(&image, |payload| {
        make_room(payload, kernel.word);
        let table = &mut payload[kernel.table.offset..];
        let place = table.chunks_exact(4).position(|word| word == entry.to_le_bytes()).unwrap();
        table[place * 4..][..4].copy_from_slice(&other.to_le_bytes());
    });
    let blamed = blamed(&file.unwrap(), &built.case(), &built.files);
    let findings = &blamed.judgement.findings;
    assert_eq!(findings.len(), 2, "{findings:#?}");
    for (number, (entry, actual)) in
        [(entry, "no such entry"), (other, "an entry")].iter().enumerate()
    {
        assert_eq!((findings[number].rule, &findings[number].actual[..]), (Rule::Table, *actual));
        blamed.names(number, By::Image);
        let place = blamed.blame[number].place.as_ref().unwrap();
        assert_eq!(place.address as u32, *entry);
        let known = names(built.vmlinux(), place.address);
        match &place.symbol {
            Some(symbol) => assert!(known.contains(symbol), "{symbol} is not among {known:?}"),
            None => assert!(known.is_empty(), "{known:?}"),
        }
        assert_eq!(place.section, section(built.vmlinux(), place.address));
    }
    assert_eq!(blamed.blame[0].place.as_ref().unwrap().entry, None);
    let index = blamed.blame[1].place.as_ref().unwrap().entry.as_ref().unwrap();
    assert_eq!((index.value, index.of), (other.into(), entries.len()));
}

/// The function is one that the stub's ELF file has there, and the source line, if it has any, what binutils say.
fn assert_named(built: &Built, site: &Site) {
    let known = names(built.stub(), site.offset.unwrap());
    let function = site.function.as_ref().expect("the stub has symbols");
    // What assembly code begins with has no size.
    let begins = || labels(built.stub(), site.offset.unwrap()).contains(function);
    assert!(known.contains(function) || known.is_empty() && begins(), "{function}: {known:?}");
    match built.source_line(site.offset.unwrap()) {
        Some(line) => {
            let told = site.line.as_ref().expect("the stub has source lines");
            assert!(line.ends_with(told), "{told} is not {line}");
        }
        None => assert_eq!(site.line, None),
    }
}

/// The place in the kernel is called as vmlinux does, and its entry is where the table has it.
fn assert_place(built: &Built, blame: &Blame) {
    let place = blame.place.as_ref().expect("a place in the kernel");
    let known = names(built.vmlinux(), place.address);
    match &place.symbol {
        Some(symbol) if !known.is_empty() => {
            assert!(known.contains(symbol), "{symbol} is not among {known:?}");
        }
        symbol => assert!(known.is_empty(), "{symbol:?}, but {known:?} reach {:#x}", place.address),
    }
    assert_eq!(place.section, section(built.vmlinux(), place.address));
    let entry = place.entry.as_ref().expect("a field");
    let kinds = [RelocKind::Abs32, RelocKind::Inverse32, RelocKind::Abs64];
    let kind = kinds.into_iter().find(|kind| kind.to_string() == entry.kind).unwrap();
    let table = built.open().kernel().unwrap().table;
    assert_eq!(u64::from(table.entries(kind)[entry.index]), entry.value);
    assert_eq!(table.entries(kind).len(), entry.of);
    let distance = place.address.wrapping_sub(entry.value) as u32;
    assert!((distance as usize) < kind.width(), "{place:?}");
}
