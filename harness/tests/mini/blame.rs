// SPDX-License-Identifier: GPL-2.0-only
//! The line of the stub that makes the mistake is the one that is blamed.

use relocheck::explain::symbols::SymbolFiles;

use crate::Test;
use crate::bench::{ALIGNED, Bug, MIB, MISALIGNED};
use crate::common::blame::{Blamed, By, blamed};
use crate::image::{Generation, with_elf};

pub const TESTS: &[Test] = &[
    ("blame::each_mistake_is_blamed_on_its_instruction", mistakes),
    ("blame::entries_that_are_not_applied_are_told_by_their_number", missing),
    ("blame::a_field_that_is_moved_twice_was_written_by_two_instructions", twice),
    ("blame::an_instruction_is_told_by_its_source_line", lines),
    ("blame::a_stub_that_halts_is_told_by_its_calls", halts),
];

/// Explains it with the symbols and source lines of the stub's ELF file.
fn explain(bug: &Bug) -> Blamed {
    let (file, elf) = with_elf(bug.generation, bug.bugs, bug.packing);
    let folder = tempfile::tempdir().unwrap();
    let stub = folder.path().join("stub.elf");
    std::fs::write(&stub, elf).unwrap();
    blamed(&file, &bug.case, &SymbolFiles { stub: Some(stub), ..SymbolFiles::default() })
}

fn mistakes() {
    for (mistake, load, by) in [
        ("BUG_SUBTRACTS", ALIGNED, By::Store("sub %ebx,")),
        ("BUG_STRAY", ALIGNED, By::Store("movb $0x5a,")),
        ("BUG_PARAMS", ALIGNED, By::Store("orb $2,0x211(%esi)")),
        ("BUG_NO_DISTANCE", MIB, By::Store("add %ebx,")),
        ("BUG_PORT", ALIGNED, By::Instruction("out %al,$0x80")),
        ("BUG_INTERRUPTS", ALIGNED, By::Origin("interrupt flag", "sti")),
        ("BUG_DIRECTION", ALIGNED, By::Origin("direction flag", "std")),
        ("BUG_SEGMENT", ALIGNED, By::Origin("es", "mov %eax,%es")),
        ("BUG_EBX", ALIGNED, By::Origin("ebx", "sub $0x100000,%ebx")),
        ("BUG_TARGET", ALIGNED, By::Origin("ebp", "mov $0x100000,%ebp")),
        ("BUG_ESI", ALIGNED, By::Origin("esi", "lods")),
        ("BUG_CLEARS", ALIGNED, By::Nobody),
    ] {
        let bugs = [mistake];
        let generation = match mistake {
            "BUG_CLEARS" => Generation::V2_6_26,
            _ => Generation::V2_6_20,
        };
        let bug = Bug { generation, ..Bug::new(&bugs, load) };
        let blamed = explain(&bug);
        // Where a whole kernel is wrong, its first field tells.
        let field = |finding: &relocheck::oracle::Finding| finding.place.contains("field of the");
        let first = blamed.judgement.findings.iter().position(field).unwrap_or(0);
        blamed.names(first, by);
    }
}

fn missing() {
    for generation in Generation::ALL {
        let entries = generation.kernel().entries;
        let last = entries.len() - 1;
        for (mistake, load, index, neighbour) in
            [("BUG_STOPS_EARLY", ALIGNED, 0, 1), ("BUG_FORGETS_LAST", MISALIGNED, last, last - 1)]
        {
            let bugs = [mistake];
            let blamed = explain(&Bug { generation, ..Bug::new(&bugs, load) });
            blamed.names(0, By::Neighbour("add %ebx,"));
            let missing = blamed.blame[0].missing.as_ref().unwrap();
            assert_eq!((missing.entry.index, missing.entry.of), (index, entries.len()));
            assert_eq!(missing.entry.value, u64::from(entries[index]));
            assert_eq!(missing.relocated, last);
            assert_eq!(missing.neighbour.as_ref().unwrap().index, neighbour);
        }
    }
}

fn twice() {
    let blamed = explain(&Bug::new(&["BUG_TWICE"], ALIGNED));
    blamed.names(0, By::Store("add %ebx,"));
    let stores = &blamed.blame[0].stores;
    let [.., first, second] = &stores[..] else { panic!("{stores:#?}") };
    assert!(first.site.text.starts_with("add %ebx,"), "{first:#?}");
    assert_ne!(first.site.address, second.site.address);
    assert_eq!(first.after, second.before);
}

fn lines() {
    for (mistake, source) in
        [("BUG_STRAY", "movb\t$0x5a, -1(%ebp)"), ("BUG_PARAMS", "orb\t$2, 0x211(%esi)")]
    {
        let number = include_str!("stub/head.S").lines().position(|line| line.contains(source));
        let place = format!("head.S:{}", number.expect("the line") + 1);
        let bugs = [mistake];
        let blamed = explain(&Bug::new(&bugs, ALIGNED));
        let site = &blamed.blame[0].stores.last().unwrap().site;
        assert!(site.line.as_ref().is_some_and(|line| line.ends_with(&place)), "{site:#?}");
        assert!(site.function.as_ref().is_some_and(|name| name.starts_with("relocated")));
    }
}

fn halts() {
    let blamed = explain(&Bug::new(&["BUG_REFUSES"], 100 * MIB));
    let site = blamed.names(0, By::Instruction("hlt"));
    let function = site.and_then(|site| site.function.clone()).unwrap_or_default();
    assert!(function.starts_with("error+"), "{function}");
    let calls = &blamed.blame[0].calls;
    assert!(
        calls.len() >= 2 && calls.iter().all(|site| site.text.starts_with("call")),
        "{calls:#?}"
    );
}
